"""What `python -m monai.bundle run` was asked: read as MONAI reads it, refused where it is mistyped."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import yaml

from monai_brainseg.errors import InputError
from monai_brainseg.runs.commands import Command, load_config, read_command
from monai_brainseg.runs.config_checks import check_command, count_given

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
        ({"amp": 1}, "--amp 1: must be auto, True or False"),
        ({"amp": "yes"}, "--amp yes: must be auto, True or False"),
        ({"epochs": "ten"}, "must be int"),
        ({"epochs": 2.5}, "must be int"),
        ({"epochs": True}, "must be int"),
        ({"learning_rate": "fast"}, "must be float"),
        ({"patch_size": 128}, "must be list"),
        ({"train::trainr::max_epochs": 2}, "no such id"),
        ({"optimizer::lrr": 0.1}, "no such id"),
        ({"losses::dice_ce::softmaxx": True}, "no such id"),
        ({"loss_name": "hinge"}, "one of bce, cross_entropy, dice, dice_bce, dice_ce, dice_iou, focal, iou"),
        ({"device": "cpu"}, "torch.device"),
        ({"epochs": 0}, "1 or more"),
        ({"seed": -1}, "0 or more"),
        ({"tumor_share": 2.0}, "from 0 to 1"),
        ({"patch_size": [33, 33]}, "multiples of 16"),
    ],
)
def test_mistyped_overrides_are_refused_with_what_is_right(overrides: dict[str, Any], said: str) -> None:
    with pytest.raises(InputError, match=said):
        check_command(ask(**overrides))


@pytest.mark.parametrize(
    "overrides",
    [
        {"learning_rate": 1},
        {"device": "$torch.device('cpu')"},
        {"train::trainer::max_epochs": 2},
        {"fold": "@seed"},
        {"slice_memory": 0.4},
        {"slice_memory": 8},
        {"amp": "auto"},
        {"amp": True},
        {"amp": False},
        {"optimizer::eps": 1e-6},
    ],
)
def test_right_overrides_pass(overrides: dict[str, Any]) -> None:
    check_command(ask(**overrides))


def test_overlays_of_the_repository_pass() -> None:
    check_command(ask(str(CONFIGS / "multi_gpu_train.yaml")))
    check_command(ask("configs/residual_unet.yaml", "configs/demo.yaml"))


@pytest.mark.parametrize("line", ["epochs: ten", "amp: 'false'", "device: cpu", "tumor_share: 7"])
def test_overlay_with_a_value_that_cannot_be_is_refused_by_file_and_id(tmp_path: Path, line: str) -> None:
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text(line)
    with pytest.raises(InputError, match=f"overlay.yaml: {line.split(': ')[0]}"):
        check_command(ask(str(overlay)))


@pytest.mark.parametrize("line", ["epoch: 3", "train::trainr::max_epochs: 3", "lerning_rate: 0.1"])
def test_overlay_with_an_unknown_id_is_refused_by_file_and_id(tmp_path: Path, line: str) -> None:
    overlay = tmp_path / "overlay.yaml"
    overlay.write_text(line)
    with pytest.raises(InputError, match=f"overlay.yaml: '{line.split(': ')[0]}'"):
        check_command(ask(str(overlay)))


def test_missing_overlay_is_named() -> None:
    with pytest.raises(InputError, match=r"nowhere.yaml: no such config"):
        check_command(ask("nowhere.yaml"))


def test_patients_that_a_label_server_lists_in_the_config_itself_are_counted(tmp_path: Path) -> None:
    file = tmp_path / "listed.yaml"
    pair = "{image: a.nii.gz, label: b.nii.gz}"
    file.write_text(f"train::dataset::data: [{pair}, {pair}]\nvalidate::dataset::data: []\n")
    assert count_given(check_command(ask(str(file)))) == (2, 0)
    assert count_given(check_command(ask())) is None
    file.write_text(f"train::dataset::data: [{pair}]\n")  # validation is the bundle's own
    assert count_given(check_command(ask(str(file)))) is None


@pytest.mark.parametrize(
    ("text", "said"), [("a: [1", "is not a config"), ("# nothing yet\n", "holds no ids"), ("- 1", "holds no ids")]
)
def test_overlay_that_is_no_config_is_refused_by_name(tmp_path: Path, text: str, said: str) -> None:
    (tmp_path / "overlay.yaml").write_text(text)
    with pytest.raises(InputError, match=f"overlay.yaml: {said}"):
        load_config(tmp_path / "overlay.yaml")


def test_overlay_of_a_training_may_lie_over_evaluating_and_a_mistyped_one_may_not(tmp_path: Path) -> None:
    overlay, files = tmp_path / "overlay.yaml", (str(CONFIGS / "inference.yaml"), str(CONFIGS / "evaluate.yaml"))
    overlay.write_text("epochs: 10\npatch_size: [64, 64]\n")
    check_command(Command("evaluating", (*files, str(overlay)), {}))
    overlay.write_text("epoch: 10\n")
    with pytest.raises(InputError, match=r"overlay.yaml: 'epoch' is not an id of the configs before it"):
        check_command(Command("evaluating", (*files, str(overlay)), {}))
