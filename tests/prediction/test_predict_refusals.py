"""`brainseg predict` where it cannot: one line that says why, the exit code, and no mask."""

from __future__ import annotations

import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import tifffile
from support.fixed_bundles import draw_phantom, save_flair, save_slices

from monai_brainseg.cli.main import main


def test_one_bad_study_is_listed_and_the_rest_goes_on(
    predict: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    for name in ("a", "b", "c"):
        save_flair(draw_phantom(), tmp_path / "in" / f"{name}.nii.gz")
    broken = tmp_path / "in" / "b.nii.gz"
    broken.write_bytes(broken.read_bytes()[:400])
    record = predict(tmp_path / "in", code=1)
    assert [case["case"] for case in record["cases"]] == ["a", "c"]
    assert [one["case"] for one in record["failed"]] == ["b"]
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("brainseg predict: 1 of 3 studies failed: b: ")
    assert "b.nii.gz: cannot be read" in said
    assert "--skip-bad" not in said
    assert not list((tmp_path / "masks").glob("b*"))
    save_flair(draw_phantom(), broken)
    assert predict(tmp_path / "in")["failed"] == []


def test_of_many_bad_studies_the_last_line_names_a_few(
    predict: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_flair(draw_phantom(), tmp_path / "in" / "whole.nii.gz")
    for number in range(7):
        (tmp_path / "in" / f"b{number}.nii.gz").write_bytes(b"damaged")
    record = predict(tmp_path / "in", code=1)
    assert len(record["failed"]) == 7
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert said.startswith("brainseg predict: 7 of 8 studies failed: b0: ")
    assert said.endswith(f"; and 2 more, in {tmp_path / 'masks' / 'run.json'}")
    assert said.count("cannot be read") == 5


FAULTS: dict[str, tuple[Callable[[Path], Any], str]] = {
    "truncated NIfTI": (lambda f: _cut(save_flair(draw_phantom(), f / "x.nii.gz")), "cannot be read"),
    "truncated slice": (lambda f: _cut(save_slices(f, grey=True) / "p_3.tif"), "p_3.tif: cannot be read"),
    "text called NIfTI": (lambda f: (f / "x.nii").write_text("scan"), "cannot be read"),
    "mask as image": (lambda f: _save(f / "x.nii.gz", draw_phantom().mask.astype(np.uint8)), "like a mask"),
    "NaN": (lambda f: _save(f / "x.nii.gz", np.full((9, 9, 9), np.nan)), "NaN or infinite"),
    "constant": (lambda f: _save(f / "x.nii.gz", np.full((9, 9, 9), 7.0)), "has the value 7 everywhere"),
    "no slices": (lambda f: _save(f / "x.nii.gz", np.zeros((9, 9, 0))), "not a 3D or 4D volume"),
    "two dimensions": (lambda f: _save(f / "x.nii.gz", np.zeros((9, 9))), "not a 3D or 4D volume"),
    "two channels": (lambda f: _save(f / "x.nii.gz", np.random.default_rng(0).random((9, 9, 9, 2))), "2 channels"),
    "mixed slices": (lambda f: tifffile.imwrite(save_slices(f) / "p_3.tif", np.ones((5, 5), "u1")), "slices of a"),
    "five bands": (lambda f: _write_bands(f), "holds 5 channels"),
    "text called DICOM": (lambda f: (f / "x.dcm").write_text("scan"), "holds no DICOM image"),
}


def _cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[: file.stat().st_size // 2])


def _save(file: Path, voxels: np.ndarray) -> None:
    nib.save(nib.Nifti1Image(voxels, np.diag([-1.0, -1.0, 1.0, 1.0])), file)


def _write_bands(folder: Path) -> None:
    for number in range(3):
        bands = np.random.default_rng(0).integers(0, 255, (9, 9, 5), np.uint8)
        tifffile.imwrite(folder / f"p_{number}.tif", bands, photometric="rgb")


@pytest.mark.parametrize("fault", FAULTS)
def test_a_bad_input_is_one_line_and_leaves_no_mask(
    predict: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str], fault: str
) -> None:
    folder = tmp_path / "in"
    folder.mkdir()
    make, said = FAULTS[fault]
    make(folder)
    predict(folder, code=1)
    errors = capsys.readouterr().err.strip().splitlines()
    assert said in errors[-1]
    assert errors[-1].startswith("brainseg predict: 1 of 1 studies failed")
    left = {path.name for path in (tmp_path / "masks").iterdir()} - {"run.json", ".run.json.lock", "records"}
    assert not left


def test_an_output_that_cannot_be_written_is_one_line(
    bright_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = save_flair(draw_phantom(), tmp_path / "scan.nii.gz")
    (tmp_path / "file").write_text("here")
    words = ["predict", str(source), "--bundle", str(bright_bundle), "--output"]
    assert main([*words, str(tmp_path / "file")]) == 1
    assert "file: cannot be written" in capsys.readouterr().err


def test_a_full_disk_is_one_line_and_leaves_no_mask(bright_bundle: Path, tmp_path: Path) -> None:
    """A limit on the size of files stands for the disk: run.json fits, the probability map does not."""
    source = save_flair(draw_phantom(), tmp_path / "in" / "scan.nii.gz")
    words = [
        sys.executable,
        "-m",
        "monai_brainseg",
        "predict",
        str(source),
        "--bundle",
        str(bright_bundle),
        "--probability",
    ]
    limited = ["bash", "-c", 'ulimit -f 24; exec "$@"', "limited", *words, "--output", str(tmp_path / "masks")]
    done = subprocess.run(limited, capture_output=True, text=True, check=False)
    assert done.returncode == 1
    assert "cannot be written" in done.stderr.strip().splitlines()[-1]
    assert "Traceback" not in done.stderr
    assert not list((tmp_path / "masks").glob("scan*"))
    assert not list((tmp_path / "masks").glob(".unfinished*"))


def test_without_weights_a_line_tells_how_to_get_some(
    bright_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = save_flair(draw_phantom(), tmp_path / "scan.nii.gz")
    words = ["predict", str(source), "--bundle", str(bright_bundle), "--output", str(tmp_path / "masks")]
    assert main([*words, "--checkpoint", "gone.pt"]) == 1
    said = capsys.readouterr().err
    assert "gone.pt: no weights there" in said
    assert "run training" in said
    assert not (tmp_path / "masks").exists()


def test_what_was_asked_for_must_make_sense(
    bright_bundle: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    base = ["predict", "--output", str(tmp_path / "masks"), "--bundle", str(bright_bundle)]
    for words in ([], ["x.nii", "--flair", "y.nii"], ["x.nii", "--pre", "y.nii"], ["--post", "x.nii"]):
        assert main([*base, *words]) == 1
        assert "give one of them" in capsys.readouterr().err
    source = save_flair(draw_phantom(), tmp_path / "scan.nii.gz")
    assert main([*base, str(source), "--device", "cuda:99"]) == 1
    assert "--device cuda:99: there is no such device here" in capsys.readouterr().err
