"""configs/fcn.yaml as a user runs it: from published weights, with an auxiliary head, scored."""

from __future__ import annotations

from pathlib import Path

import pytest
import torch
from support.bundle_runs import run

from monai_brainseg.training.networks import FCNResNet50

pytestmark = pytest.mark.slow
QUICK = {
    "patch_size": [32, 32], "epochs": 1, "val_interval": 1, "cache_num": 20,
    "batch_size": 16, "slices_per_volume": 4,
}  # fmt: skip
OVERLAY = "configs/fcn.yaml"


def test_training_begins_from_published_weights_and_its_own_are_scored(prepared_phantoms: Path, tmp_path: Path) -> None:
    torch.manual_seed(0)
    published = FCNResNet50(out_channels=21, auxiliary=True).state_dict()
    torch.save(published, tmp_path / "coco.pth")
    options = QUICK | {"start_from": tmp_path / "coco.pth", "auxiliary": True, "learning_rate": 1e-9}
    done = run("training", "train.yaml", prepared_phantoms, tmp_path / "run", OVERLAY, **options)
    assert done.returncode == 0, done.stderr[-2000:]
    said = done.stdout + done.stderr
    assert "its classifier of 21 classes was replaced by an untrained one of 2" in said
    assert "its aux_classifier of 21 classes was replaced by an untrained one of 2" in said
    weights = torch.load(tmp_path / "run/models/model.pt", weights_only=True)["model"]
    # at next to no learning rate the weights stay those that it began from
    for name in ("backbone.conv1.weight", "classifier.0.weight", "aux_classifier.0.weight"):
        assert torch.allclose(weights[name], published[name], atol=1e-5), name
    assert weights["aux_classifier.4.weight"].shape == (2, 256, 1, 1)

    options = {"checkpoint": tmp_path / "run/models/model.pt", "patch_size": [32, 32], "auxiliary": True}
    done = run("evaluating", "evaluate.yaml", prepared_phantoms, tmp_path / "masks", OVERLAY, **options)
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(list((tmp_path / "masks").glob("*.nii.gz"))) == 2


def test_checkpoint_of_another_architecture_ends_a_training_in_one_line(
    prepared_phantoms: Path, tmp_path: Path
) -> None:
    torch.save({"conv1.weight": torch.zeros(64, 3, 7, 7)}, tmp_path / "resnet.pth")
    options = QUICK | {"start_from": tmp_path / "resnet.pth"}
    done = run("training", "train.yaml", prepared_phantoms, tmp_path / "run", OVERLAY, **options)
    assert done.returncode == 1
    line = done.stderr.strip().splitlines()[-1]
    assert "resnet.pth: has another architecture; backbone.conv1.weight should be (64, 3, 7, 7), but is missing" in line
    assert "Traceback" not in done.stderr
