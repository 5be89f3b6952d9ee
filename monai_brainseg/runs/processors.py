"""How a run uses processor and memory: which cores, how many threads, and whether freed memory is kept."""

from __future__ import annotations

import ctypes
import logging
import os
import platform
import re
import sys
from pathlib import Path

import psutil
import torch

logger = logging.getLogger(__name__)

_LOOK = 0.5  # seconds for which the load of the cores is measured

# Options of glibc's mallopt, by the numbers of its malloc.h.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
_LARGEST = 32 * 2**20  # bytes; glibc takes no higher threshold
_NEVER = 2**31 - 1


def keep_freed_memory() -> bool:
    """Let this process keep the memory that it frees, and return whether that can be asked for here.

    Each layer of a network on a CPU takes megabytes and frees them. glibc fetches memory of that size from the system
    each time, which clears its pages: about a seventh of a training step of 16 slices of 128x128 (docs/experiments.md).
    Other C libraries are left as they are.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    library = ctypes.CDLL(None)
    options = {_MMAP_THRESHOLD: _LARGEST, _TRIM_THRESHOLD: _NEVER, _TOP_PAD: _LARGEST}
    return all(library.mallopt(option, value) == 1 for option, value in options.items())


def choose_threads(recorded: int | None = None) -> int:
    """Set how many threads torch computes with, log it if cores are left out, and return it.

    Threads wait for each other at every layer. If other programs keep the cores busy, one thread is up to five times as
    fast as one for each core (docs/experiments.md). So there are as many threads as cores are idle now, at least one.
    ``OMP_NUM_THREADS`` in the environment overrides this.

    Args:
        recorded: threads of the run that is resumed: with as many, sums are in the same order.
    """
    most = torch.get_num_threads()
    if "OMP_NUM_THREADS" not in os.environ:
        threads = min(most, recorded or _count_idle_cores())
        torch.set_num_threads(threads)
        if threads < most:
            why = "other programs keep cores busy" if recorded is None else "this run began with as many"
            logger.info("threads: %d instead of %d, because %s; OMP_NUM_THREADS overrides this", threads, most, why)
    return torch.get_num_threads()


def _count_idle_cores() -> int:
    """Measure the load for a moment; return how many cores nothing else uses, at least one."""
    loads = psutil.cpu_percent(interval=_LOOK, percpu=True)
    return max(1, round(sum(1 - loads[core] / 100 for core in list_cores() if core < len(loads))))


def list_cores() -> list[int]:
    """Return the numbers of the cores that this process may use; of all if the system does not tell, as on macOS."""
    process = psutil.Process()
    return process.cpu_affinity() if hasattr(process, "cpu_affinity") else list(range(psutil.cpu_count() or 1))


def read_peak_memory() -> int:
    """Return the most bytes of memory that this process has held at a time, its largest resident set."""
    now = psutil.Process().memory_info()
    if hasattr(now, "peak_wset"):  # Windows
        return int(now.peak_wset)
    status = Path("/proc/self/status")  # on Linux, getrusage would count that of the parent as well
    if status.is_file() and (peak := re.search(r"VmHWM:\s*(\d+) kB", status.read_text())):
        return int(peak[1]) * 1024
    import resource

    largest = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    return largest if sys.platform == "darwin" else largest * 1024
