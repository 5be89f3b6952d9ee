"""Memory that is freed stays with the process, where the C library can be asked for that."""

from __future__ import annotations

import platform
import subprocess
import sys

import pytest

# Counts the pages that the system hands out during the last of a few steps of a small network.
COUNT = """
import resource, torch
from monai_brainseg.allocation import keep_freed_memory
if {keep}: assert keep_freed_memory()
network = torch.nn.Sequential(*(torch.nn.Conv2d(16, 16, 3, padding=1) for layer in range(6)))
images = torch.rand(16, 16, 128, 128)
for step in range(4):
    before = resource.getrusage(resource.RUSAGE_SELF).ru_minflt
    network(images).sum().backward()
print(resource.getrusage(resource.RUSAGE_SELF).ru_minflt - before)
"""


def count_pages(keep: bool) -> int:
    words = [sys.executable, "-c", COUNT.format(keep=keep)]
    return int(subprocess.run(words, capture_output=True, text=True, check=True).stdout)


@pytest.mark.skipif(platform.libc_ver()[0] != "glibc", reason="only glibc can be asked")
def test_a_training_step_takes_no_new_pages_from_the_system() -> None:
    assert 10 * count_pages(keep=True) < count_pages(keep=False)
