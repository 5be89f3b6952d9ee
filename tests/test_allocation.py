"""Memory that is freed stays with the process, where the C library can be asked for that."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

# Counts the pages that the system hands out while features of several layers are made and then freed together.
COUNT = """
import resource, torch
from monai_brainseg.allocation import keep_freed_memory
if {keep}: assert keep_freed_memory()
for number in range(10):
    if number == 5: before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    features = [torch.zeros(5 * 2**20) for layer in range(4)]
    del features
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def count_pages(keep: bool) -> int:
    words = [sys.executable, "-c", COUNT.format(keep=keep)]
    return int(subprocess.run(words, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be asked")
def test_freed_tensors_are_made_again_without_new_pages() -> None:
    assert count_pages(keep=False) > 20 * count_pages(keep=True) + 1000
