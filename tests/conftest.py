"""What several tests share: small data sets written by other libraries than ours, real patients, runs of commands."""

from __future__ import annotations

import csv
import json
import os
import subprocess
import sys
import tempfile
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import tifffile
from support.evaluated_phantoms import evaluate, write_predictions

from monai_brainseg.cli.main import main
from monai_brainseg.data.prepare import prepare
from monai_brainseg.data.splits import read_datalist
from monai_brainseg.phantoms.patients import write_phantoms

REPOSITORY = Path(__file__).resolve().parent.parent
SHARED = REPOSITORY.parent / "shared"


def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """The longest first, so that processes which share the tests come to an end together."""
    items.sort(key=lambda item: not any(file in item.nodeid for file in ("test_end_to_end", "test_finetune")))


@pytest.fixture(scope="session")
def shared() -> Path:
    """The folder with real data beside the repository; CI must have it, elsewhere the test is skipped."""
    if not SHARED.is_dir():
        message = "the real data are not there: ../shared is missing beside the repository"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return SHARED


@pytest.fixture(scope="session")
def real_patients(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Callable[[int], Path]:
    """``real_patients(n)`` is a folder of the published kaggle_3m layout with n patients, spread over all sites.

    The same n gives the same patients. They are unpacked once, into ``.cache/kaggle_3m`` of the repository, and the
    folder links to them: read it, do not write to it.
    """
    cache = REPOSITORY / ".cache" / "kaggle_3m"

    def provide(count: int) -> Path:
        with (shared / "lgg" / "manifest.csv").open() as manifest:
            patients = sorted(row["patient"] for row in csv.DictReader(manifest))
        wanted = [patients[index] for index in np.linspace(0, len(patients) - 1, count).astype(int)]
        _unpack(shared, cache, [patient for patient in wanted if not (cache / patient).is_dir()])
        folder = tmp_path_factory.mktemp("real") / "kaggle_3m"
        folder.mkdir()
        for patient in wanted:
            (folder / patient).symlink_to(cache / patient, target_is_directory=True)
        return folder

    return provide


def _unpack(shared: Path, cache: Path, patients: list[str]) -> None:
    """Unpack beside and move in, so that test runs side by side find whole patients only."""
    if not patients:
        return
    cache.mkdir(parents=True, exist_ok=True)
    with tempfile.TemporaryDirectory(dir=cache.parent) as beside:
        subprocess.run([sys.executable, shared / "lgg" / "unpack.py", beside, *patients], check=True)
        for patient in patients:
            if not (cache / patient).is_dir():
                (Path(beside) / patient).rename(cache / patient)


@pytest.fixture
def make_slices() -> Callable[..., Path]:
    """``make_slices(folder, patient)`` writes a small patient as published: RGB slices and masks, from number 1."""

    def write(folder: Path, patient: str, count: int = 3, replaced: tuple[int, ...] = (), tumor: int = 4) -> Path:
        rng = np.random.default_rng(list(patient.encode()))
        images = rng.integers(1, 255, (count, 10, 8, 3), dtype=np.uint8)
        for channel in replaced:
            images[..., channel] = images[..., 1]
        masks = np.zeros((count, 10, 8), np.uint8)
        masks[1, 2, :tumor] = 255
        place = folder / patient
        place.mkdir(parents=True)
        for number, (image, mask) in enumerate(zip(images, masks, strict=True), start=1):
            tifffile.imwrite(place / f"{patient}_{number}.tif", image, photometric="rgb")
            tifffile.imwrite(place / f"{patient}_{number}_mask.tif", mask, photometric="minisblack")
        return place

    return write


@pytest.fixture
def make_volume() -> Callable[..., Path]:
    """``make_volume(path, seed)`` writes a small NIfTI file, of noise or of the voxels given, in millimetres."""

    def write(path: Path, seed: int = 0, voxels: np.ndarray | None = None, spacing: float = 2.0) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        noise = np.random.default_rng(seed).integers(1, 999, (6, 7, 4)).astype(np.int16)
        image = nib.Nifti1Image(noise if voxels is None else voxels, np.diag([-spacing, -spacing, spacing, 1]))
        image.header.set_xyzt_units("mm")
        nib.save(image, path)
        return path

    return write


@pytest.fixture(scope="session")
def prepared_phantoms(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A prepared folder of ten small synthetic patients: two folds of four, and two test patients."""
    folder = tmp_path_factory.mktemp("phantoms")
    write_phantoms(folder / "slices", 10, seed=1, size=64, slices=8)
    prepare(folder / "slices", folder / "prepared", test_share=0.2, folds=2, say=lambda line: None)
    return folder / "prepared"


@pytest.fixture(scope="session")
def bright_bundle(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A bundle that marks what is bright in FLAIR."""
    # It needs torch and MONAI, which tests of files alone do not wait for.
    from support.fixed_bundles import BRIGHT, bright_state, make_bundle

    return make_bundle(tmp_path_factory.mktemp("bundles") / "bright", BRIGHT, bright_state())


@pytest.fixture
def predict(bright_bundle: Path, tmp_path: Path) -> Callable[..., dict[str, Any]]:
    """``predict(words...)`` runs the command by that bundle into ``tmp_path / "masks"``, and returns run.json."""

    def run(*words: object, code: int = 0) -> dict[str, Any]:
        output = tmp_path / "masks"
        arguments = ["predict", *map(str, words), "--bundle", str(bright_bundle), "--output", str(output)]
        assert main(arguments) == code
        content: dict[str, Any] = json.loads((output / "run.json").read_text())
        return content

    return run


@pytest.fixture(scope="session")
def phantom_masks(prepared_phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Masks and probability maps of all ten phantoms."""
    folder = tmp_path_factory.mktemp("report") / "masks"
    listed = read_datalist(prepared_phantoms)
    write_predictions([*listed["training"], *listed["test"]], folder)
    return folder


@pytest.fixture(scope="session")
def folds(prepared_phantoms: Path, phantom_masks: Path) -> Path:
    """An evaluation of the folds of those masks, which chose operating points."""
    output = phantom_masks.parent / "folds"
    assert evaluate(prepared_phantoms, phantom_masks, output, "--part", "training") == 0
    return output


@pytest.fixture(scope="session")
def tested(prepared_phantoms: Path, phantom_masks: Path, folds: Path) -> Path:
    """An evaluation of the test part of those masks with everything that a page can show."""
    from support.training_runs import write_run

    run = write_run(phantom_masks.parent / "run")
    options = ["--run", str(run), "--operating-points", str(folds / "summary.json")]
    assert evaluate(prepared_phantoms, phantom_masks, phantom_masks.parent / "tested", *options) == 0
    return phantom_masks.parent / "tested"
