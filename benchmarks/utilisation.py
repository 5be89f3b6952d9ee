"""The share of time in which a GPU is at work, from nvidia-smi."""

from __future__ import annotations

import csv
import shutil
import statistics
import subprocess
from collections.abc import Iterator
from contextlib import contextmanager
from datetime import datetime
from pathlib import Path

import torch

EVERY = 200  # milliseconds


@contextmanager
def follow_gpu(file: Path) -> Iterator[None]:
    """Write down when and how much the GPU was at work while the block runs; without a GPU, the file is empty."""
    file.touch()
    if not torch.cuda.is_available() or shutil.which("nvidia-smi") is None:
        yield
        return
    which = f"--id=GPU-{torch.cuda.get_device_properties(torch.cuda.current_device()).uuid}"
    words = ["nvidia-smi", which, "--query-gpu=timestamp,utilization.gpu", "--format=csv,noheader,nounits"]
    with file.open("w") as stream:
        process = subprocess.Popen([*words, f"--loop-ms={EVERY}"], stdout=stream, stderr=subprocess.DEVNULL)
        try:
            yield
        finally:
            process.terminate()
            process.wait()


def read_utilisation(file: Path, since: float, until: float) -> dict[str, float]:
    """Return ``gpu_utilisation``, the mean share between two wall times; nothing if it is unknown.

    Args:
        file: that ``follow_gpu`` wrote.
        since: seconds since the epoch.
        until: likewise.
    """
    shares = []
    with file.open(newline="") as table:
        for row in csv.reader(table, skipinitialspace=True):
            try:
                when, percent = datetime.strptime(row[0], "%Y/%m/%d %H:%M:%S.%f").timestamp(), float(row[1])
            except (ValueError, IndexError):  # "[N/A]", a message of nvidia-smi's, a line that was not finished
                continue
            if since <= when <= until:
                shares.append(percent / 100)
    return {"gpu_utilisation": statistics.mean(shares)} if shares else {}
