"""What is lost in the middle of a training ends it in one line, with the last whole epoch kept."""

from __future__ import annotations

import subprocess
import time
from pathlib import Path

import pytest
import torch
from support.bundle_runs import QUICK, command, run

pytestmark = pytest.mark.slow

LONG = QUICK | {"epochs": 300, "patience": 1000}


def start(dataset: Path, output: Path, **options: object) -> subprocess.Popen[str]:
    words = command("training", "train.yaml", dataset, output, **(LONG | options))
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while not (output / "last.pt").is_file():
        assert process.poll() is None
        time.sleep(0.05)
    return process


def test_output_that_can_no_longer_be_written_is_one_line(prepared_phantoms: Path, tmp_path: Path) -> None:
    """A file in the place of the folder stands for one that turns read-only, which root does not notice."""
    output = tmp_path / "run"
    process = start(prepared_phantoms, output)
    output.rename(tmp_path / "moved")
    output.write_text("in the way")
    _, said = process.communicate(timeout=60)
    assert process.returncode == 1
    assert str(output) in said.strip().splitlines()[-1]
    assert "Traceback" not in said
    assert torch.load(tmp_path / "moved" / "last.pt", weights_only=True)["epoch"] >= 1


@pytest.mark.parametrize("damage", ["cut", "flip"])
def test_damaged_checkpoint_is_not_resumed_from(damage: str, prepared_phantoms: Path, tmp_path: Path) -> None:
    torch.save({"epoch": 1, "network": {"weight": torch.rand(1000)}}, tmp_path / "last.pt")
    data = bytearray((tmp_path / "last.pt").read_bytes())
    data[len(data) // 2] ^= 16
    wanted = {"cut": bytes(data[:2000]), "flip": bytes(data)}[damage]
    (tmp_path / "last.pt").write_bytes(wanted)
    done = run("training", "train.yaml", prepared_phantoms, tmp_path, resume=True, **QUICK)
    assert done.returncode == 1
    assert "last.pt: cannot be read; --overwrite True" in done.stderr.strip().splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert (tmp_path / "last.pt").read_bytes() == wanted
