"""What is wrong with files and folders is said in the last line, for trainings as for our own commands."""

from __future__ import annotations

import gzip
import json
import shutil
import subprocess
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from support.bundle_runs import NARROW, QUICK, command, run

pytestmark = pytest.mark.slow


@pytest.fixture
def dataset(prepared_phantoms: Path, tmp_path: Path) -> Path:
    """A copy of the prepared phantoms that a test may damage."""
    return Path(shutil.copytree(prepared_phantoms, tmp_path / "data"))


def last_line(done: subprocess.CompletedProcess[str]) -> str:
    assert done.returncode != 0
    return done.stderr.strip().splitlines()[-1]


def test_truncated_volume_is_named_after_monai_has_failed_on_it(dataset: Path, tmp_path: Path) -> None:
    broken = sorted((dataset / "imagesTr").iterdir())[4]
    broken.write_bytes(broken.read_bytes()[:200])
    said = last_line(run("training", "train.yaml", dataset, tmp_path / "run", **QUICK))
    assert str(broken) in said
    assert not (tmp_path / "run" / "last.pt").exists()


def test_vanished_volume_is_named_before_any_work(dataset: Path, tmp_path: Path) -> None:
    gone = sorted((dataset / "labelsTr").iterdir())[0]
    gone.unlink()
    done = run("training", "train.yaml", dataset, tmp_path / "run", **QUICK)
    assert str(gone) in last_line(done)
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()


@pytest.mark.parametrize("content", ["", "{}", '{"training": []}', "[1, 2]"])
def test_datalist_that_is_none_is_named_with_the_remedy(dataset: Path, tmp_path: Path, content: str) -> None:
    (dataset / "datalist.json").write_text(content)
    said = last_line(run("training", "train.yaml", dataset, tmp_path / "run", **QUICK))
    assert "datalist.json" in said
    assert "brainseg prepare" in said


def test_fold_that_is_not_there_is_refused_with_those_that_are(dataset: Path, tmp_path: Path) -> None:
    said = last_line(run("training", "train.yaml", dataset, tmp_path / "run", **(QUICK | {"fold": 7})))
    assert "fold 7" in said
    assert "[0, 1]" in said


def test_checkpoint_of_another_network_is_refused_for_evaluating_and_inferring(dataset: Path, tmp_path: Path) -> None:
    torch.save({"model": torch.nn.Conv2d(3, 2, 3).state_dict()}, tmp_path / "other.pt")
    for run_id, config in (("evaluating", "evaluate.yaml"), ("inferring", "inference.yaml")):
        done = run(run_id, config, dataset, tmp_path / "run", checkpoint=tmp_path / "other.pt", **NARROW)
        assert "other.pt" in last_line(done)
        assert "another network" in last_line(done)
        assert "Traceback" not in done.stderr


def test_full_disk_ends_in_a_line_and_leaves_no_half_checkpoint(dataset: Path, tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk: config and dashboard fit, the optimizer's state does not."""
    for overlays, wanted in (
        (0, ".pt: cannot be written"),
        (3, "File too large"),
    ):  # with pictures the dashboard is first
        options = QUICK | {"overlay_fixed": overlays, "overlay_worst": overlays}
        words = command("training", "train.yaml", dataset, tmp_path / "run", **options)
        done = subprocess.run(
            ["bash", "-c", 'ulimit -f 24; exec "$@"', "limited", *words], capture_output=True, text=True, check=False
        )
        said = last_line(done)
        assert wanted in said
        assert "--output_dir" in said
    assert not list((tmp_path / "run").rglob("*.pt"))


def test_output_that_is_a_file_is_named(dataset: Path, tmp_path: Path) -> None:
    (tmp_path / "file").write_text("here")
    said = last_line(run("training", "train.yaml", dataset, tmp_path / "file" / "run", **QUICK))
    assert "file/run" in said


def test_nan_voxels_end_a_training_without_weights(dataset: Path, tmp_path: Path) -> None:
    file = sorted((dataset / "imagesTr").glob("*.nii.gz"))[0]
    image = nib.load(file)
    voxels = np.asarray(image.dataobj).astype(np.float32)
    voxels[10:50] = np.nan
    nib.save(nib.Nifti1Image(voxels, image.affine), file)
    options = QUICK | {"fold": 1 - json.loads((dataset / "datalist.json").read_text())["training"][0]["fold"]}
    said = last_line(run("training", "train.yaml", dataset, tmp_path / "run", **options))
    assert f"{file}: holds NaN or infinite voxels" in said
    assert not list((tmp_path / "run").rglob("*.pt"))


def test_case_that_cannot_be_segmented_is_named_and_gets_no_mask(dataset: Path, tmp_path: Path) -> None:
    done = run("training", "train.yaml", dataset, tmp_path / "run", **(QUICK | {"epochs": 1}))
    assert done.returncode == 0, done.stderr
    folder = tmp_path / "scans"
    folder.mkdir()
    whole = sorted((dataset / "imagesTs").glob("*.nii.gz"))[0]
    shutil.copy(whole, folder / "a.nii.gz")
    (folder / "b.nii.gz").write_bytes(whole.read_bytes()[:300])
    options = NARROW | {"checkpoint": tmp_path / "run/models/model.pt"}
    assert "b.nii.gz" in last_line(run("inferring", "inference.yaml", folder, tmp_path / "masks", **options))
    voxels = np.asarray(nib.load(whole).dataobj).astype(np.float32)
    voxels[20:40] = np.nan
    nib.save(nib.Nifti1Image(voxels, np.eye(4)), folder / "b.nii.gz")
    said = last_line(run("inferring", "inference.yaml", folder, tmp_path / "masks", **options))
    assert "b.nii.gz" in said
    assert "NaN" in said
    assert [file.name for file in (tmp_path / "masks").glob("*.nii.gz")] == ["a.nii.gz"]


def test_more_files_of_a_case_than_sequences_are_not_taken_for_one_case(dataset: Path, tmp_path: Path) -> None:
    folder = tmp_path / "scans"
    folder.mkdir()
    source = sorted((dataset / "imagesTs").glob("*.nii.gz"))[0]
    for number in range(4):
        shutil.copy(source, folder / f"scan_000{number}.nii.gz")
    torch.save({"model": {}}, tmp_path / "any.pt")
    done = run("inferring", "inference.yaml", folder, tmp_path / "run", checkpoint=tmp_path / "any.pt")
    assert "scan_0000.nii.gz: may be a" in last_line(done)


def test_a_patient_without_tumour_is_trained_on(dataset: Path, tmp_path: Path) -> None:
    items = json.loads((dataset / "datalist.json").read_text())["training"]
    label = dataset / next(item["label"] for item in items if item["fold"] == 1)
    image = nib.load(label)
    empty = nib.Nifti1Image(np.zeros(image.shape, np.uint8), image.affine)
    label.write_bytes(gzip.compress(empty.to_bytes()))
    done = run("training", "train.yaml", dataset, tmp_path / "run", **QUICK)
    assert done.returncode == 0, done.stderr
