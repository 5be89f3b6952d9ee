"""`brainseg predict` on inputs of every kind: each gets a mask on its own grid, in its own form."""

from __future__ import annotations

import gzip
import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import tifffile
from support.fixed_bundles import dice, draw_phantom, read_mask, save_flair, save_slices

from monai_brainseg.cli.main import main
from monai_brainseg.images.slices import decode_slices
from monai_brainseg.images.volumes import write_slices


def test_nifti_gives_a_mask_with_its_header(predict: Callable[..., Any], tmp_path: Path) -> None:
    source = save_flair(draw_phantom(), tmp_path / "in" / "scan.nii.gz")
    image = nib.load(source)
    image.set_sform(image.affine + np.array([[0, 0.1, 0, 5], [0] * 4, [0] * 4, [0] * 4]), 2)
    image.set_qform(np.diag([-3.5, -3.5, 15.0, 1.0]), 1)
    image.header["descrip"] = b"Jane Doe, born 1966"
    image.header["intent_name"] = b"Jane Doe"
    image.header.extensions.append(nib.nifti1.Nifti1Extension("comment", b"Jane Doe"))
    nib.save(image, source)
    record = predict(source, "--probability", "--uncertainty")
    for kind, dtype in (("", np.uint8), ("_probability", np.float32), ("_entropy", np.float32)):
        file = tmp_path / "masks" / f"scan{kind}.nii.gz"
        mask = nib.load(file)
        assert mask.shape == image.shape
        assert mask.get_data_dtype() == dtype
        for kind_of in ("sform", "qform"):
            (one, code), (other, other_code) = (getattr(each, f"get_{kind_of}")(coded=True) for each in (mask, image))
            np.testing.assert_allclose(one, other, atol=1e-6)
            assert code == other_code
        assert mask.header.get_xyzt_units()[0] == "mm"
        assert b"Jane" not in gzip.decompress(file.read_bytes())
    (case,) = record["cases"]
    assert case["tumor_voxels"] == read_mask(tmp_path / "masks" / "scan.nii.gz").sum() > 0
    volume = abs(np.linalg.det(image.affine[:3, :3]))
    assert case["tumor_ml"] == pytest.approx(case["tumor_voxels"] * volume / 1000)


@pytest.mark.parametrize("kind", ["uncompressed", "big endian", "nifti 2", "scaled", "4D", "short name"])
def test_nifti_of_every_kind_gets_the_same_mask(predict: Callable[..., Any], tmp_path: Path, kind: str) -> None:
    phantom = draw_phantom()
    source = save_flair(phantom, tmp_path / "in" / "plain.nii.gz", dtype="int16")
    image = nib.load(source)
    voxels, name = np.asarray(image.dataobj), "x.nii.gz"
    if kind == "big endian":
        header = image.header.as_byteswapped(">")
        other = nib.Nifti1Image(voxels.astype(">i2"), image.affine, header)
    elif kind == "nifti 2":
        other = nib.Nifti2Image(voxels, image.affine, nib.Nifti2Header.from_header(image.header))
    elif kind == "scaled":
        other = nib.Nifti1Image(voxels, image.affine, image.header)
        other.header.set_slope_inter(0.01, -3)
    elif kind == "4D":
        other = nib.Nifti1Image(np.stack([voxels] * 3, -1), image.affine, image.header)
    else:
        other, name = image, "x.nii" if kind == "uncompressed" else "x.y.nii.gz"
    nib.save(other, tmp_path / "in" / name)
    predict(tmp_path / "in" / "plain.nii.gz", tmp_path / "in" / name)
    made = nib.load(tmp_path / "masks" / f"{name.split('.nii')[0]}.nii.gz")
    assert type(made) is (nib.Nifti2Image if kind == "nifti 2" else nib.Nifti1Image)
    assert made.shape == image.shape
    assert np.allclose(made.affine, image.affine)
    mask = np.asarray(made.dataobj)
    assert mask.any()
    assert dice(mask > 0, read_mask(tmp_path / "masks" / "plain.nii.gz") > 0) >= 0.99


@pytest.mark.parametrize("grey", [True, False])
@pytest.mark.parametrize("ending", [".tif", ".png"])
def test_slices_give_a_mask_file_each(predict: Callable[..., Any], tmp_path: Path, grey: bool, ending: str) -> None:
    folder = save_slices(tmp_path / "p", ending, grey, slices=12)
    record = predict(folder)
    files = sorted((tmp_path / "masks" / "p").iterdir())
    assert {file.name for file in files} == {f"p_{number}_mask.tif" for number in range(1, 13)}
    masks = [tifffile.imread(tmp_path / "masks" / "p" / f"p_{number}_mask.tif") for number in range(1, 13)]
    assert all(mask.shape == (64, 64) and mask.dtype == np.uint8 for mask in masks)
    assert {0, 255} == set(np.unique(masks))
    # The same voxels as NIfTI of unknown spacing, by nibabel: [column, row, slice], LPS.
    voxels = np.stack([decode_slices(folder / f"p_{number}{ending}").pixels[0] for number in range(1, 13)])
    volume = np.moveaxis(voxels if grey else voxels[..., 1], 0, -1).swapaxes(0, 1)
    (tmp_path / "in").mkdir()
    nib.save(nib.Nifti1Image(volume, np.diag([-1.0, -1.0, 1.0, 1.0])), tmp_path / "in" / "v.nii.gz")
    predict(tmp_path / "in" / "v.nii.gz")
    assert np.array_equal(read_mask(tmp_path / "masks" / "v.nii.gz") * 255, np.stack(masks).transpose(2, 1, 0))
    assert record["cases"][0]["tumor_ml"] is None


def test_a_head_of_four_times_the_pixels_gets_the_same_mask(predict: Callable[..., Any], tmp_path: Path) -> None:
    images = draw_phantom(128, 12).images[..., 1]
    for name, factor in (("small", 1), ("large", 4)):
        voxels = images.repeat(factor, 0).repeat(factor, 1)
        write_slices(voxels, [tmp_path / name / f"{name}_{z}.tif" for z in range(images.shape[2])])
    record = predict(tmp_path / "small", tmp_path / "large")
    scales = {case["case"]: case["scale"] for case in record["cases"]}
    assert scales["small"] == pytest.approx(4 * scales["large"], rel=0.05)
    small, large = (
        np.stack([tifffile.imread(tmp_path / "masks" / name / f"{name}_{z}_mask.tif") for z in range(12)]) > 0
        for name in ("small", "large")
    )
    # The finer one has smoother outlines.
    assert dice(small.repeat(4, 1).repeat(4, 2), large) > 0.85
    assert all("taken as" in case["warnings"][0] for case in record["cases"])
    kept = predict(tmp_path / "large", "--keep-scale")
    assert {case["case"]: case["scale"] for case in kept["cases"]}["large"] == 1


def test_a_prepared_folder_is_segmented_and_scored(
    predict: Callable[..., Any], prepared_phantoms: Path, tmp_path: Path
) -> None:
    predict(prepared_phantoms, "--keep-scale")
    patients = {item["patient"] for item in json.loads((prepared_phantoms / "datalist.json").read_text())["test"]}
    assert {file.name for file in (tmp_path / "masks").glob("*.nii.gz")} == {f"{name}.nii.gz" for name in patients}
    words = ["--datalist", prepared_phantoms, "--predictions", tmp_path / "masks", "--output", tmp_path / "scores"]
    assert main(["evaluate", *map(str, words)]) == 0
    assert json.loads((tmp_path / "scores" / "summary.json").read_text())["missing"] == []


@pytest.mark.real_data
def test_slices_of_a_real_patient_get_the_mask_of_their_prepared_volume(
    predict: Callable[..., Any], real_patients: Callable[[int], Path], tmp_path: Path
) -> None:
    source = real_patients(1)
    (folder,) = source.iterdir()
    record = predict(source)
    (case,) = record["cases"]
    count = len(list(folder.glob("*_mask.tif")))
    masks = [
        tifffile.imread(tmp_path / "masks" / case["case"] / f"{case['case']}_{n}_mask.tif") for n in range(1, count + 1)
    ]
    flair = np.stack([tifffile.imread(folder / f"{folder.name}_{n}.tif")[..., 1] for n in range(1, count + 1)])
    nib.save(nib.Nifti1Image(flair.transpose(2, 1, 0), np.diag([-1.0, -1.0, 1.0, 1.0])), tmp_path / "v.nii.gz")
    predict(tmp_path / "v.nii.gz")
    assert case["scale"] == 1
    assert np.any(masks)
    # The network of this test looks at FLAIR alone.
    assert np.array_equal(read_mask(tmp_path / "masks" / "v.nii.gz") * 255, np.stack(masks).transpose(2, 1, 0))


def test_files_that_are_not_used_are_named(
    predict: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    save_flair(draw_phantom(), tmp_path / "in" / "a_flair.nii.gz")
    save_flair(draw_phantom(), tmp_path / "in" / "a_seg.nii.gz")
    assert len(predict(tmp_path / "in")["cases"]) == 1
    assert "left out (1), because they" in (said := capsys.readouterr().out)
    assert "a_seg.nii.gz" in said


def test_masks_among_the_studies_are_no_studies(predict: Callable[..., Any], tmp_path: Path) -> None:
    save_flair(draw_phantom(), tmp_path / "scan.nii.gz")
    assert len(predict(tmp_path)["cases"]) == 1
    assert [case["case"] for case in predict(tmp_path)["cases"]] == ["scan"]


def test_a_fold_is_segmented_alone(predict: Callable[..., Any], prepared_phantoms: Path) -> None:
    record = predict(prepared_phantoms, "--part", "training", "--fold", "1", "--keep-scale")
    items = json.loads((prepared_phantoms / "datalist.json").read_text())["training"]
    assert [case["case"] for case in record["cases"]] == sorted(i["patient"] for i in items if i["fold"] == 1)
