"""What `python -m monai.bundle run` was asked: read as MONAI reads it, refused where it is mistyped."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml

from monai_brainseg.errors import InputError
from monai_brainseg.runs import Command, check_checkpoint, check_command, read_command

CONFIGS = Path("bundles/brainseg_unet/configs")
TRAIN = str(CONFIGS / "train.yaml")


def ask(*overlays: str, **overrides: Any) -> Command:
    return Command("training", (TRAIN, *overlays), overrides)


def test_command_line_is_read_as_fire_reads_it() -> None:
    words = (
        "python -m monai.bundle run training --config_file ['a.yaml','b.yaml'] --fold 2 --learning-rate=1e-3 --resume"
    )
    command = read_command(words.split())
    assert command == Command("training", ("a.yaml", "b.yaml"), {"fold": 2, "learning_rate": 0.001, "resume": True})


@pytest.mark.parametrize(
    "words", ["python -m pytest run training", "monailabel start_server", "python -m monai.bundle download"]
)
def test_other_programs_are_left_alone(words: str) -> None:
    assert read_command(words.split()) is None


def test_every_top_level_number_of_the_bundle_can_be_overridden() -> None:
    config = yaml.safe_load(Path(TRAIN).read_text())
    plain = {name: value for name, value in config.items() if isinstance(value, (int, float, bool))}
    assert len(plain) >= 15
    check_command(ask(**plain))


@pytest.mark.parametrize(
    ("overrides", "said"),
    [
        ({"learning_rte": 3}, "did you mean 'learning_rate'"),
        ({"epoch": 3}, "did you mean 'epochs'"),
        ({"qqqqq": 3}, "no such id"),
        ({"resume": "true"}, "write True"),
        ({"amp": "false"}, "write False"),
        ({"amp": 1}, "must be bool"),
        ({"epochs": "ten"}, "must be int"),
        ({"epochs": 2.5}, "must be int"),
        ({"epochs": True}, "must be int"),
        ({"learning_rate": "fast"}, "must be float"),
        ({"patch_size": 128}, "must be list"),
        ({"train::trainr::max_epochs": 2}, "no such id"),
    ],
)
def test_mistyped_overrides_are_refused_with_what_is_right(overrides: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        check_command(ask(**overrides))


@pytest.mark.parametrize(
    "overrides",
    [{"learning_rate": 1}, {"device": "$torch.device('cpu')"}, {"train::trainer::max_epochs": 2}, {"fold": "@seed"}],
)
def test_right_overrides_pass(overrides: dict[str, Any]) -> None:
    check_command(ask(**overrides))


def test_overlays_of_the_repository_pass() -> None:
    check_command(ask(str(CONFIGS / "multi_gpu_train.yaml")))
    check_command(ask("configs/demo.yaml"))


@pytest.mark.parametrize("line", ["epoch: 3", "train::trainr::max_epochs: 3", "lerning_rate: 0.1"])
def test_overlay_with_an_unknown_id_is_refused_by_file_and_id(tmp_path: Path, line: str) -> None:
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text(line)
    with pytest.raises(InputError, match=f"overlay.yaml: '{line.split(': ')[0]}'"):
        check_command(ask(str(overlay)))


def test_missing_overlay_is_named() -> None:
    with pytest.raises(InputError, match=r"nowhere.yaml: no such config"):
        check_command(ask("nowhere.yaml"))


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
