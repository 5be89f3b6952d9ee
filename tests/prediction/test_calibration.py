"""`brainseg calibrate` and what `predict` then says, with the bundle's network on synthetic patients."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from support.bundle_runs import BUNDLE

from monai_brainseg.cli.main import main
from monai_brainseg.data.prepare import prepare
from monai_brainseg.data.splits import read_datalist
from monai_brainseg.phantoms.patients import write_phantoms
from monai_brainseg.weights.checkpoints import read_checkpoint, write_checkpoint
from monai_brainseg.weights.provenance import list_hashes

WARNING = "do not rely on this mask"


@pytest.fixture(scope="module")
def dataset(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("calibrated")
    write_phantoms(folder / "published", 14, seed=3, slices=8, size=96, layout="nifti")
    prepare(folder / "published", folder / "data", test_share=0.2, folds=2, say=lambda line: None)
    return folder / "data"


@pytest.fixture(scope="module")
def calibrated(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of the bundle as if they had been trained on the phantoms, calibrated."""
    runs = tmp_path_factory.mktemp("runs")
    model = read_checkpoint(BUNDLE / "models" / "model.pt")["model"]
    items = read_datalist(dataset)["training"]
    for fold in (0, 1):
        seen = list_hashes(item for item in items if item["fold"] != fold)
        write_checkpoint({"model": model, "seen": seen}, runs / f"{fold}.pt")
    write_checkpoint({"model": model, "seen": list_hashes(items)}, runs / "all.pt")
    words = ["calibrate", str(dataset), "--folds", str(runs / "{fold}.pt"), "--checkpoint", str(runs / "all.pt")]
    assert main(words) == 0
    return runs / "all.pt"


def predict(source: Path, weights: Path, output: Path) -> list[dict[str, Any]]:
    assert main(["predict", str(source), "--checkpoint", str(weights), "--output", str(output)]) == 0
    cases: list[dict[str, Any]] = json.loads((output / "run.json").read_text())["cases"]
    return cases


def test_studies_of_the_same_scanner_pass_and_blocks_in_another_order_do_not(
    dataset: Path, calibrated: Path, tmp_path: Path
) -> None:
    flagged = [WARNING in " ".join(case["warnings"]) for case in predict(dataset, calibrated, tmp_path / "usual")]
    assert sum(flagged) <= 1
    images = [nib.load(file) for file in read_datalist(dataset)["test"][0]["image"]]
    (tmp_path / "study").mkdir()
    order = np.random.default_rng(0).permutation(36)
    for number, image in enumerate(images):
        blocks = [b for rows in np.split(image.get_fdata(), 6, 0) for b in np.split(rows, 6, 1)]
        rows = [np.concatenate([blocks[i] for i in order[start : start + 6]], 1) for start in range(0, 36, 6)]
        nib.save(nib.Nifti1Image(np.concatenate(rows), image.affine), tmp_path / "study" / f"odd_{number:04d}.nii.gz")
    (case,) = predict(tmp_path / "study", calibrated, tmp_path / "odd")
    assert WARNING in " ".join(case["warnings"])
    assert case["oddness"] > 2


def test_weights_that_were_not_calibrated_say_nothing(dataset: Path, calibrated: Path, tmp_path: Path) -> None:
    content = read_checkpoint(calibrated)
    write_checkpoint({"model": content["model"], "seen": content["seen"]}, tmp_path / "plain.pt")
    for case in predict(dataset, tmp_path / "plain.pt", tmp_path / "masks"):
        assert case["oddness"] is None
        assert 0 <= case["confidence"] <= 1


def test_calibration_leaves_the_weights_and_their_hashes_as_they_were(calibrated: Path) -> None:
    content, before = read_checkpoint(calibrated), read_checkpoint(BUNDLE / "models" / "model.pt")
    assert set(content) == {"model", "seen", "familiar"}
    for name, value in before["model"].items():
        assert torch.equal(content["model"][name], value)


@pytest.mark.parametrize(
    ("folds", "said"),
    [
        ("nowhere/{fold}.pt", "names no weights of a fold; write {fold} in place of the fold's number"),
        ("{all}", "names the same weights for each fold"),
    ],
)
def test_folds_without_weights_are_refused_in_one_line(
    folds: str, said: str, dataset: Path, calibrated: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    words = ["--folds", folds.replace("{all}", str(calibrated)), "--checkpoint", str(calibrated)]
    assert main(["calibrate", str(dataset), *words]) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert said in line


def test_weights_of_a_fold_that_have_seen_it_are_refused_in_one_line(
    dataset: Path, calibrated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    content = read_checkpoint(calibrated)
    write_checkpoint({"model": content["model"], "seen": content["seen"]}, tmp_path / "0.pt")
    words = ["--folds", str(tmp_path / "{fold}.pt"), "--checkpoint", str(calibrated)]
    assert main(["calibrate", str(dataset), *words]) == 1
    (line,) = capsys.readouterr().err.strip().splitlines()
    assert "0.pt: was trained or selected on" in line
    assert "--fold 0 --keep_best False" in line


def test_weights_of_other_studies_are_refused_in_one_line(
    dataset: Path, calibrated: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_checkpoint({"model": read_checkpoint(calibrated)["model"], "seen": ["images:x"]}, tmp_path / "other.pt")
    words = ["--folds", str(calibrated.parent / "{fold}.pt"), "--checkpoint", str(tmp_path / "other.pt")]
    assert main(["calibrate", str(dataset), *words]) == 1
    assert "was not trained on the studies of" in capsys.readouterr().err.strip().splitlines()[-1]
