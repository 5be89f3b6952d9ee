"""Learning curves of a run's folder, as TensorBoard's own writer leaves it."""

from __future__ import annotations

from pathlib import Path

import pytest
from support.training_runs import write_run

from monai_brainseg.errors import InputError
from monai_brainseg.reporting.learning_curves import read_training_run


def test_curves_go_by_epoch_and_what_was_run_again_counts_once(tmp_path: Path) -> None:
    run = read_training_run(write_run(tmp_path))
    assert list(run.curves) == ["train_loss", "val_mean_dice", "learning_rate"]
    assert run.curves["train_loss"] == [(1, 1.0), (2, 0.5), (3, pytest.approx(0.5 / 3)), (4, 0.125)]
    assert [epoch for epoch, _ in run.curves["val_mean_dice"]] == [2, 3, 4]
    assert (run.record["seed"], run.config) == (3, "epochs: 4 # <b>\n")


def test_a_run_may_lack_its_record(tmp_path: Path) -> None:
    write_run(tmp_path)
    for name in ("run.json", "config.yaml"):
        (tmp_path / name).unlink()
    run = read_training_run(tmp_path)
    assert (run.record, run.config) == ({}, "")


def test_a_folder_that_is_no_training_run_is_refused_in_one_line(tmp_path: Path) -> None:
    for folder in (tmp_path / "nowhere", tmp_path):
        with pytest.raises(InputError, match="holds no TensorBoard events of a training"):
            read_training_run(folder)
    (tmp_path / "tensorboard").mkdir()
    with pytest.raises(InputError, match="holds no TensorBoard events of a training"):
        read_training_run(tmp_path)
