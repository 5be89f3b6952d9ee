"""Checks before a run starts, and the last line of one that cannot."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path

import pytest
import torch

from monai_brainseg.errors import InputError
from monai_brainseg.runs.starts import check_checkpoint

CONFIGS = Path("bundles/brainseg_unet/configs")


def test_checkpoint_of_another_network_is_refused_by_parameter(tmp_path: Path) -> None:
    file = tmp_path / "model.pt"
    torch.save({"model": torch.nn.Conv2d(3, 2, 3).state_dict()}, file)
    check_checkpoint(file, torch.nn.Conv2d(3, 2, 3))
    with pytest.raises(InputError, match=r"weight should be \(4, 3, 3, 3\)"):
        check_checkpoint(file, torch.nn.Conv2d(3, 4, 3))


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut off", b"no checkpoint at all"])
def test_broken_checkpoint_is_refused_by_name(tmp_path: Path, content: bytes) -> None:
    file = tmp_path / "model.pt"
    file.write_bytes(content)
    with pytest.raises(InputError, match="model.pt"):
        check_checkpoint(file, torch.nn.Conv2d(3, 2, 3))


@pytest.mark.slow
@pytest.mark.parametrize(
    ("run_id", "config", "words", "said"),
    [
        ("training", "train.yaml", "--learning_rte 3", "did you mean 'learning_rate'"),
        ("training", "train.yaml", "--dataset_dir nowhere", "brainseg prepare"),
        ("evaluating", "evaluate.yaml", "--prt test", "did you mean 'part'"),
        ("inferring", "inference.yaml", "--dataset_dir nowhere", "no such folder"),
        ("inferring", "inference.yaml", "--amp false", "--amp false: must be auto, True or False"),
        ("evaluating", "evaluate.yaml", "--amp 1", "--amp 1: must be auto, True or False"),
        ("inferring", "inference.yaml", "--dataset_dir tests", "holds no .nii"),
    ],
)
def test_the_last_line_says_what_is_wrong_and_the_run_fails(
    run_id: str, config: str, words: str, said: str, tmp_path: Path
) -> None:
    command = [sys.executable, "-m", "monai.bundle", "run", run_id, "--config_file", str(CONFIGS / config)]
    command += [*words.split(), "--output_dir", str(tmp_path / "run")]
    done = subprocess.run(command, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert said in done.stderr.strip().splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()
