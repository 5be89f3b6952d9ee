"""Fine-tuning lifts, starts from weights that fit, and carries on whom they had seen."""

from __future__ import annotations

import csv
import hashlib
import json
import statistics
from pathlib import Path

import pytest
import torch
from support.bundle_runs import QUICK, run

from monai_brainseg.data.prepare import prepare
from monai_brainseg.phantoms.patients import STYLES, write_phantoms

pytestmark = pytest.mark.slow


def score(data: Path, output: Path, **options: object) -> list[float]:
    """Return the Dice of each test patient."""
    done = run("evaluating", "evaluate.yaml", data, output, **options)
    assert done.returncode == 0, done.stderr[-2000:]
    with (output / "val_mean_dice_raw.csv").open() as file:
        return [float(row["mean"]) for row in csv.DictReader(file)]


def test_three_labelled_studies_of_another_scanner_lift_the_weights_of_the_bundle(tmp_path: Path) -> None:
    write_phantoms(tmp_path / "studies", 11, seed=7, layout="nifti", style=STYLES["other"])
    prepare(tmp_path / "studies", tmp_path / "data", test_share=0.7, folds=2, say=lambda line: None)
    before = score(tmp_path / "data", tmp_path / "before")
    done = run("training", "train.yaml", tmp_path / "data", tmp_path / "run", "configs/finetune.yaml", epochs=8)
    assert done.returncode == 0, done.stderr[-2000:]
    after = score(tmp_path / "data", tmp_path / "after", checkpoint=tmp_path / "run/models/model.pt")
    assert len(before) == len(after) == 8
    assert statistics.mean(after) > statistics.mean(before) + 0.05


def test_tuned_weights_know_the_patients_of_both_trainings(prepared_phantoms: Path, tmp_path: Path) -> None:
    done = run("training", "train.yaml", prepared_phantoms, tmp_path / "first", **QUICK)
    assert done.returncode == 0, done.stderr[-2000:]
    first = torch.load(tmp_path / "first/models/model.pt", weights_only=True)
    torch.save(first["model"], tmp_path / "start.pt")  # the model zoo's form, with whom it had seen beside it
    digest = hashlib.sha256((tmp_path / "start.pt").read_bytes()).hexdigest()
    (tmp_path / "seen.json").write_text(json.dumps({"sha256": digest, "seen": ["images:earlier"]}))
    options = QUICK | {"start_from": tmp_path / "start.pt", "learning_rate": 1e-9, "pull_back": 0.0}
    done = run("training", "train.yaml", prepared_phantoms, tmp_path / "tuned", "configs/finetune.yaml", **options)
    assert done.returncode == 0, done.stderr[-2000:]
    tuned = torch.load(tmp_path / "tuned/models/model.pt", weights_only=True)
    assert set(tuned["seen"]) == {"images:earlier", *first["seen"]}
    # at next to no learning rate the weights stay those it started from; batch norm's statistics move
    for name, value in tuned["model"].items():
        if name.endswith(("conv.weight", "conv.bias")):
            assert torch.allclose(value, first["model"][name], atol=1e-6), name


def test_weights_that_do_not_fit_or_are_not_there_are_refused(prepared_phantoms: Path, tmp_path: Path) -> None:
    torch.save({"model": {"x": torch.zeros(1)}, "seen": []}, tmp_path / "other.pt")
    for name, said in (("other.pt", "weights of another network"), ("nowhere.pt", "no weights there")):
        options = {"start_from": tmp_path / name}
        done = run("training", "train.yaml", prepared_phantoms, tmp_path / "run", "configs/finetune.yaml", **options)
        assert done.returncode == 1
        assert said in done.stderr.splitlines()[-1]
