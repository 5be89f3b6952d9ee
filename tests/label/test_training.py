"""An annotator's corrections train the bundle that the server serves, in place."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import itk
import nibabel as nib
import numpy as np
import pytest
import requests
import torch

from label.servers import NAME, Server, infer, segment, write_study


@pytest.fixture(scope="module")
def server(prepared: Path, start_server: Callable[..., Server], tmp_path_factory: pytest.TempPathFactory) -> Server:
    """Serves studies a to d: FLAIR, FLAIR, all three sequences, and one that stays without a label."""
    studies = tmp_path_factory.mktemp("studies")
    patients = sorted(file.name.removesuffix(".nii.gz") for file in (prepared / "labelsTr").glob("*.nii.gz"))
    for name, patient, sequences in zip("abcd", patients, (1, 1, 3, 1), strict=False):
        write_study(prepared, patient, studies / f"{name}.nii.gz", sequences=sequences)
    return start_server(studies)


@pytest.fixture(scope="module")
def labels(prepared: Path) -> dict[str, Path]:
    files = sorted((prepared / "labelsTr").glob("*.nii.gz"))
    return dict(zip("abc", files, strict=False))


def train(server: Server, **options: Any) -> str:
    """Train to the end, and return the status."""
    request = {"device": "cpu", "multi_gpu": False, "max_epochs": 2, **options}
    assert requests.post(f"{server.url}/train/{NAME}", json=request, timeout=60).ok
    return server.wait("train")


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_batch_leaves_masks_as_labels_to_be_corrected(server: Server) -> None:
    params = {"device": "cpu", "multi_gpu": False, "save_label": True, "label_tag": "original", "max_workers": 1}
    assert requests.post(f"{server.url}/batch/infer/{NAME}?images=unlabeled", json=params, timeout=60).ok
    assert server.wait("batch/infer") == "DONE"
    for image in "abcd":
        label = nib.load(server.studies / "labels" / "original" / f"{image}.nii.gz")
        assert np.array_equal(np.asarray(label.dataobj), infer(server, image))


def test_one_correction_trains_the_served_weights_further_though_none_is_left_to_validate_on(
    server: Server, labels: dict[str, Path]
) -> None:
    server.client.save_label("a", str(labels["a"]), "final")
    saved = requests.get(f"{server.url}/datastore/label?label=a&tag=final", timeout=60)
    assert saved.content == labels["a"].read_bytes()
    assert requests.get(f"{server.url}/datastore/", timeout=60).json()["completed"] == 1
    before = torch.load(server.checkpoint, weights_only=True)["model"]
    assert train(server, max_epochs=1) == "DONE"
    after = torch.load(server.checkpoint, weights_only=True)["model"]
    name = next(name for name, value in before.items() if value.ndim == 4)  # the first convolution
    # After a few steps they are the old ones but for a little, not random ones.
    assert 0 < (after[name] - before[name]).abs().max() < 0.1 * before[name].abs().max()
    assert list(server.folder.iterdir()) == []  # where the server was started
    assert [file.name for file in (server.bundle / "models").glob("*.pt")] == ["model.pt"]
    assert list((server.bundle / "training" / "tensorboard").iterdir())


def test_corrections_train_and_the_new_weights_answer(server: Server, labels: dict[str, Path], tmp_path: Path) -> None:
    """One correction comes as .nrrd, as from 3D Slicer; one study has all sequences and the others FLAIR alone."""
    infer(server, "d")  # so that the server holds the old weights in memory
    itk.imwrite(itk.imread(str(labels["b"])), str(tmp_path / "b.nrrd"))
    for name, file in {**labels, "b": tmp_path / "b.nrrd"}.items():
        server.client.save_label(name, str(file), "final")
    before = server.checkpoint.stat().st_mtime, digest(server.checkpoint)
    assert train(server) == "DONE"
    assert server.checkpoint.stat().st_mtime > before[0]
    assert digest(server.checkpoint) != before[1]
    assert np.array_equal(infer(server, "d"), segment(server.checkpoint, server.studies, tmp_path)["d"])


def test_label_that_cannot_be_read_ends_in_an_error_and_leaves_the_weights(
    server: Server, labels: dict[str, Path], tmp_path: Path
) -> None:
    before = digest(server.checkpoint)
    (tmp_path / "d.nii.gz").write_bytes(labels["a"].read_bytes()[:300])
    server.client.save_label("d", str(tmp_path / "d.nii.gz"), "final")
    try:
        assert train(server) == "ERROR"
    finally:
        requests.delete(f"{server.url}/datastore/label?id=d&tag=final", timeout=60)
    assert digest(server.checkpoint) == before
    assert infer(server, "d").shape
