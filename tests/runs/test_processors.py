"""Threads by the load of the cores, and memory that stays with the process where the C library can be asked."""

from __future__ import annotations

import platform
import subprocess
import sys
from collections.abc import Iterator

import psutil
import pytest
import torch

from monai_brainseg.runs.processors import choose_threads

# Counts the pages that the system hands out during a step of a small network: the median of steps, since the first
# memory of another thread, or a large block for which no free one fits, may come at any of them.
COUNT = """
import resource, statistics, torch
from monai_brainseg.runs.processors import keep_freed_memory
if {keep}: assert keep_freed_memory()
network = torch.nn.Sequential(*(torch.nn.Conv2d(16, 16, 3, padding=1) for layer in range(6)))
images = torch.rand(16, 16, 128, 128)
pages = []
for step in range(9):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    network(images).sum().backward()
    pages.append(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
print(round(statistics.median(pages)))
"""


def count_pages(keep: bool) -> int:
    words = [sys.executable, "-c", COUNT.format(keep=keep)]
    return int(subprocess.run(words, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be asked")
def test_a_training_step_takes_no_new_pages_from_the_system() -> None:
    assert 10 * count_pages(keep=True) < count_pages(keep=False)


@pytest.fixture
def threads() -> Iterator[int]:
    """How many torch has, which a test may change."""
    before = torch.get_num_threads()
    yield before
    torch.set_num_threads(before)


def test_beside_a_busy_program_on_each_core_there_is_one_thread(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    torch.set_num_threads(psutil.cpu_count() or 1)
    busy = [subprocess.Popen([sys.executable, "-c", "while True: pass"]) for core in range(psutil.cpu_count() or 1)]
    try:
        assert choose_threads() == 1
        torch.set_num_threads(4)
        assert choose_threads(recorded=3) == 3
        assert choose_threads(recorded=9) == 3
    finally:
        for process in busy:
            process.kill()
            process.wait()


@pytest.mark.parametrize(("load", "expected"), [([3, 5, 0, 8], 4), ([100, 4, 99, 1], 2), ([100, 100, 100, 90], 1)])
def test_there_are_as_many_threads_as_idle_cores(
    load: list[float], expected: int, threads: int, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.delenv("OMP_NUM_THREADS", raising=False)
    monkeypatch.setattr(psutil, "cpu_percent", lambda interval, percpu: load)
    monkeypatch.setattr(psutil.Process, "cpu_affinity", lambda process: list(range(len(load))), raising=False)
    torch.set_num_threads(4)
    assert choose_threads() == expected


def test_the_environment_overrules(threads: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("OMP_NUM_THREADS", "3")
    torch.set_num_threads(3)
    assert choose_threads() == choose_threads(recorded=1) == 3
