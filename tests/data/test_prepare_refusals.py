"""What cannot be prepared is refused in one line, before anything is written, or left out where that was asked for."""

from __future__ import annotations

import shutil
import time
from collections.abc import Callable, Collection
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import tifffile
from support.published_sets import FEW, Make, cut, list_items, make_brats, make_tree, read_all

from monai_brainseg.cli.main import main
from monai_brainseg.data.case_voxels import Study, examine_case
from monai_brainseg.data.cases import Case
from monai_brainseg.data.prepare import prepare
from monai_brainseg.errors import InputError


def test_patient_named_as_a_part_of_the_prepared_folder_is_refused(tmp_path: Path, make_slices: Make) -> None:
    for patient in ("a", "b", "imagesTr"):
        make_slices(tmp_path / "source", patient)
    with pytest.raises(InputError, match="imagesTr_1_mask.tif: a patient cannot be called imagesTr; rename"):
        prepare(tmp_path / "source", tmp_path / "out", **FEW)


def remove(folder: Path, *patterns: str) -> None:
    for file in (file for pattern in patterns for file in folder.glob(pattern)):
        file.unlink()


def change(file: Path, edit: Callable[[np.ndarray], Any], affine: np.ndarray | None = None) -> None:
    image = nib.load(file)
    voxels = image.get_fdata().astype(np.float32)
    edited = edit(voxels)
    nib.save(nib.Nifti1Image(voxels if edited is None else edited, image.affine if affine is None else affine), file)


BAD_SLICES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "truncated image": (lambda p: cut(p / "b_2.tif"), r"b_2\.tif: cannot be read"),
    "truncated mask": (lambda p: cut(p / "b_2_mask.tif"), r"b_2_mask\.tif: cannot be read"),
    "image gone": (lambda p: remove(p, "b_2.tif"), r"b_2_mask\.tif: has no image"),
    "mask gone": (lambda p: remove(p, "b_2_mask.tif"), r"b_2\.tif: has no mask"),
    "slice gone": (lambda p: remove(p, "b_2*.tif"), "slice 2 of b is missing"),
    "another shape": (
        lambda p: tifffile.imwrite(p / "b_2.tif", np.zeros((9, 8, 3), "u1")),
        r"b_2\.tif: is 9x8x3 uint8",
    ),
    "mask of another shape": (
        lambda p: [tifffile.imwrite(p / f"b_{n}_mask.tif", np.zeros((9, 8), "u1")) for n in (1, 2, 3)],
        r"b_1_mask\.tif: is 8x9x3, but b_1\.tif is 8x10x3",
    ),
    "coloured mask": (
        lambda p: [shutil.copy(p / f"b_{n}.tif", p / f"b_{n}_mask.tif") for n in (1, 2, 3)],
        r"b_1_mask\.tif: has the levels ",
    ),
    "four channels": (
        lambda p: [
            tifffile.imwrite(p / f"b_{n}.tif", np.zeros((10, 8, 4), "u1"), photometric="rgb", extrasamples=[0])
            for n in (1, 2, 3)
        ],
        r"b_1\.tif: holds 4 channels where 3",
    ),
    "NaN": (
        lambda p: [tifffile.imwrite(p / f"b_{n}.tif", np.full((10, 8, 3), np.nan, "f4")) for n in (1, 2, 3)],
        r"b_1\.tif: has NaN or infinite voxels inside the head",
    ),
}
BAD_VOLUMES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "truncated": (lambda p: cut(p / "b_t1.nii.gz"), r"b_t1\.nii\.gz: cannot be read"),
    "no image": (lambda p: remove(p, "*_t*", "*_flair*"), r"b_seg\.nii\.gz: b has no image"),
    "no mask": (lambda p: remove(p, "b_seg*"), r"b_.*nii\.gz: b has no mask; add it"),
    "no FLAIR": (lambda p: remove(p, "b_flair*"), r"b_.*nii\.gz: b has no FLAIR"),
    "NaN": (lambda p: change(p / "b_t1.nii.gz", lambda v: v.__setitem__((..., 1), np.nan)), r"b_t1\.nii\.gz: .* NaN"),
    "infinite": (lambda p: change(p / "b_flair.nii.gz", lambda v: v.__setitem__((3, 3, 1), np.inf)), "flair.*infinite"),
    "fractional": (lambda p: change(p / "b_seg.nii.gz", lambda v: v * 0.5), r"b_seg\.nii\.gz: has the label 0\.5"),
    "negative": (lambda p: change(p / "b_seg.nii.gz", lambda v: -v), r"b_seg\.nii\.gz: has the label -4"),
    "NaN label": (lambda p: change(p / "b_seg.nii.gz", lambda v: v * np.nan), r"b_seg\.nii\.gz: has the label nan"),
    "other shape": (lambda p: change(p / "b_t1.nii.gz", lambda v: v[1:]), r"b_t1\.nii\.gz: is 5x7x4, but b_flair"),
    "other mask": (lambda p: change(p / "b_seg.nii.gz", lambda v: v[:, 1:]), r"b_seg\.nii\.gz: is 6x6x4, but"),
    "other affine": (
        lambda p: change(p / "b_t1.nii.gz", lambda v: v, np.diag([2.0, -2, 2, 1])),
        r"b_t1\.nii\.gz: its affine differs from that of b_flair",
    ),
    "4D": (lambda p: change(p / "b_flair.nii.gz", lambda v: np.stack([v, v], -1)), r"b_flair.*holds 2 channels"),
    "twice": (lambda p: shutil.copy(p / "b_flair.nii.gz", p.parent / "b_t1.nii.gz"), r"b_t1\.nii\.gz: is a second pre"),
}


@pytest.mark.parametrize(
    ("kind", "name"), [("slices", name) for name in BAD_SLICES] + [("volumes", name) for name in BAD_VOLUMES]
)
def test_bad_patient_stops_with_one_line_or_is_left_out(
    kind: str,
    name: str,
    tmp_path: Path,
    make_slices: Make,
    make_volume: Make,
    capsys: pytest.CaptureFixture[str],
) -> None:
    spoil, message = (BAD_SLICES if kind == "slices" else BAD_VOLUMES)[name]
    if kind == "slices":
        for patient in "abcd":
            make_slices(tmp_path / "source", patient)
    else:
        make_brats(tmp_path / "source", make_volume)
    spoil(tmp_path / "source" / "b")
    before = read_all(tmp_path)
    with pytest.raises(InputError, match=message) as caught:
        prepare(tmp_path / "source", tmp_path / "out", **FEW)
    assert "\n" not in str(caught.value)
    assert str(caught.value).endswith("leave bad patients out with --skip-bad")
    assert read_all(tmp_path) == before
    assert [file.name for file in tmp_path.iterdir()] == ["source"]
    capsys.readouterr()
    prepare(tmp_path / "source", tmp_path / "out", skip_bad=True, **FEW)
    assert sorted(list_items(tmp_path / "out")) == ["a", "c", "d"]
    said = str(caught.value).removesuffix(", or leave bad patients out with --skip-bad")
    assert f"left out: b: {said}" in capsys.readouterr().out.splitlines()


def test_nothing_more_is_read_after_the_first_bad_patient(
    tmp_path: Path, make_slices: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut(make_slices(tmp_path / "source", "a") / "a_1.tif")
    for index in range(40):
        make_slices(tmp_path / "source", f"p{index}")
    read: list[str] = []

    def examine(case: Case, tumor_labels: Collection[int]) -> Study:
        read.append(case.patient)
        time.sleep(0.01)
        return examine_case(case, tumor_labels)

    monkeypatch.setattr("monai_brainseg.data.prepare.examine_case", examine)
    with pytest.raises(InputError, match="a_1.tif"):
        prepare(tmp_path / "source", tmp_path / "out")
    at_the_error = len(read)
    time.sleep(1)
    assert 0 < len(read) == at_the_error < 20


def test_all_patients_bad_is_refused_even_when_they_may_be_skipped(tmp_path: Path, make_slices: Make) -> None:
    for patient in "ab":
        cut(make_slices(tmp_path / "source", patient) / f"{patient}_1.tif")
    with pytest.raises(InputError, match=r"a_1\.tif: cannot be read.*none of 2 patients"):
        prepare(tmp_path / "source", tmp_path / "out", skip_bad=True)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layout": "brats20"}, "--layout brats20: is not a known layout; choose auto, kaggle_3m, brats, bids, nnunet"),
        ({"folds": 1}, "--folds 1.*give 2 or more"),
        ({"test_share": 1.0}, "--test-share 1.*below 1"),
        ({"test_share": -0.1}, "--test-share -0.1"),
        ({"seed": -1}, "--seed -1.*0 or more"),
        ({"tumor_labels": (1, 0)}, "--tumor-labels 0: 0 is background"),
        ({"folds": 9}, "8 patients: are too few for 9 folds"),
    ],
)
def test_options_that_cannot_be_are_refused(
    options: dict[str, Any], message: str, tmp_path: Path, make_slices: Make
) -> None:
    with pytest.raises(InputError, match=message):
        prepare(make_tree(tmp_path / "source", make_slices), tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--naming", "flair"], "--naming 'flair': expected"),
        (["--tumor-labels", "1;2"], "--tumor-labels 1;2: expected whole numbers"),
        (["--layout", "kaggle"], "--layout kaggle: is not a known layout"),
        (["--layout", "kaggle_3m"], "source: no patient found in the layout 'kaggle_3m' among "),
    ],
)
def test_command_line_ends_in_one_line(
    options: list[str], message: str, tmp_path: Path, make_volume: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    source = make_brats(tmp_path / "source", make_volume)
    assert main(["prepare", str(source), "--output", str(tmp_path / "out"), *options]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("brainseg prepare: ")
    assert message in printed.err
    assert printed.err.count("\n") == 1
