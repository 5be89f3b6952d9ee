"""Memory that a process frees and soon takes again."""

from __future__ import annotations

import ctypes
import platform

# Options of glibc's mallopt, by the numbers of its malloc.h.
_TRIM_THRESHOLD, _TOP_PAD, _MMAP_THRESHOLD = -1, -2, -3
_LARGEST = 32 * 2**20  # bytes; glibc takes no higher threshold
_NEVER = 2**31 - 1


def keep_freed_memory() -> bool:
    """Let this process keep the memory that it frees, and return whether that can be asked for here.

    Each layer of a network on a CPU takes megabytes and frees them. glibc fetches memory of that size from the system
    each time, which clears its pages: about a seventh of a training step of 16 slices of 128x128 (docs/results.md).
    Other C libraries are left as they are.
    """
    if platform.libc_ver()[0] != "glibc":
        return False
    library = ctypes.CDLL(None)
    options = {_MMAP_THRESHOLD: _LARGEST, _TRIM_THRESHOLD: _NEVER, _TOP_PAD: _LARGEST}
    return all(library.mallopt(option, value) == 1 for option, value in options.items())
