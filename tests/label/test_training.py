"""An annotator's corrections train the bundle that the server serves, in place."""

from __future__ import annotations

import hashlib
from collections.abc import Callable
from pathlib import Path
from typing import Any

import itk
import numpy as np
import pytest
import requests
import torch
from label_servers import NAME, Server, infer, segment, write_study

pytest_plugins = ("label_servers",)


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
    """Train to the end, and return the status and what was said last."""
    request = {"device": "cpu", "multi_gpu": False, "max_epochs": 2, **options}
    assert requests.post(f"{server.url}/train/{NAME}", json=request, timeout=60).ok
    return server.wait("train")


def digest(file: Path) -> str:
    return hashlib.sha256(file.read_bytes()).hexdigest()


def test_one_correction_is_enough_to_train_though_none_is_left_to_validate_on(
    server: Server, labels: dict[str, Path]
) -> None:
    server.client.save_label("a", str(labels["a"]), "final")
    saved = requests.get(f"{server.url}/datastore/label?label=a&tag=final", timeout=60)
    assert saved.content == labels["a"].read_bytes()
    assert server.client.datastore()["completed"] == 1
    before = digest(server.checkpoint)
    assert train(server, max_epochs=1) == "DONE"
    assert digest(server.checkpoint) != before


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


def test_training_goes_on_from_the_served_weights(server: Server, labels: dict[str, Path]) -> None:
    """With hardly any learning, the new weights are the old ones to within that, not random ones."""
    server.client.save_label("a", str(labels["a"]), "final")
    before = torch.load(server.checkpoint, weights_only=True)["model"]
    assert train(server, max_epochs=1) == "DONE"
    after = torch.load(server.checkpoint, weights_only=True)["model"]
    name = "model.0.conv.unit0.conv.weight"
    assert 0 < (after[name] - before[name]).abs().max() < 0.02 < before[name].abs().max()


def test_what_a_training_writes_lies_in_the_copy(server: Server, labels: dict[str, Path]) -> None:
    server.client.save_label("a", str(labels["a"]), "final")
    assert train(server, max_epochs=1) == "DONE"
    assert list(server.folder.iterdir()) == []
    assert [file.name for file in (server.bundle / "models").glob("*.pt")] == ["model.pt"]
    assert list((server.bundle / "training" / "tensorboard").iterdir())


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
