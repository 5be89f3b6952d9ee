"""Fine-tuning: trained weights, three labelled studies of another kind, and better masks of others of that kind."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from bundle_runs import run

from monai_brainseg.evaluation import evaluate
from monai_brainseg.phantom import STYLES, write_phantoms
from monai_brainseg.prepare import prepare

pytestmark = pytest.mark.slow

SIZE = {"network_def::channels": [8, 16, 32, 64, 128], "patch_size": [64, 64]}
STUDIES = 3


def make_data(folder: Path, patients: int, style: str, seed: int, **split: float | int) -> Path:
    write_phantoms(folder / "slices", patients, seed=seed, style=STYLES[style])
    prepare(folder / "slices", folder / "data", say=lambda line: None, **split)  # type: ignore[arg-type]
    return folder / "data"


def score(weights: Path, dataset: Path, output: Path) -> float:
    done = run("evaluating", "evaluate.yaml", dataset, output, checkpoint=weights, **SIZE)
    assert done.returncode == 0, done.stderr[-2000:]
    return float(evaluate(dataset, output, output / "scores")["headline"]["value"])


def test_three_labelled_studies_lift_the_dice_on_others_of_their_kind(tmp_path: Path) -> None:
    usual = make_data(tmp_path / "usual", 14, "usual", 5, test_share=0.15, folds=2)
    done = run("training", "train.yaml", usual, tmp_path / "first", fold=-1, epochs=14, **SIZE)
    assert done.returncode == 0, done.stderr[-2000:]
    weights = tmp_path / "first/models/model.pt"
    other = make_data(tmp_path / "other", STUDIES + 5, "other", 6, test_share=5 / 8, folds=2)
    before = score(weights, other, tmp_path / "before")
    options = SIZE | {"pretrained": weights, "epochs": 10}
    done = run("training", "train.yaml", other, tmp_path / "tuned", "configs/finetune.yaml", **options)
    assert done.returncode == 0, done.stderr[-2000:]
    tuned = tmp_path / "tuned/models/model.pt"
    assert score(tuned, other, tmp_path / "after") > before + 0.1
    seen = [set(torch.load(file, weights_only=True)["seen"]) for file in (weights, tuned)]
    assert seen[0] < seen[1]
    assert sum(found.startswith("images:") for found in seen[1] - seen[0]) == STUDIES


def test_weights_that_do_not_fit_or_are_not_there_are_refused(prepared_phantoms: Path, tmp_path: Path) -> None:
    torch.save({"model": {"x": torch.zeros(1)}, "seen": []}, tmp_path / "other.pt")
    for name, said in (("other.pt", "weights of another network"), ("nowhere.pt", "no weights there")):
        options = {"pretrained": tmp_path / name}
        done = run("training", "train.yaml", prepared_phantoms, tmp_path / "run", "configs/finetune.yaml", **options)
        assert done.returncode == 1
        assert said in done.stderr.splitlines()[-1]
