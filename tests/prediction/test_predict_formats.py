"""`brainseg predict` on other formats than slices and NIfTI, and on files with something odd about them."""

from __future__ import annotations

import gzip
from collections.abc import Callable
from pathlib import Path
from typing import Any

import itk
import nibabel as nib
import numpy as np
import pytest
import tifffile
from support.fixed_bundles import draw_phantom, read_mask, save_flair

Predict = Callable[..., dict[str, Any]]


@pytest.fixture
def expected(predict: Predict, tmp_path: Path) -> np.ndarray:
    """The mask of the phantom as plain NIfTI."""
    predict(save_flair(draw_phantom(), tmp_path / "plain" / "plain.nii.gz"))
    return read_mask(tmp_path / "masks" / "plain.nii.gz")


@pytest.mark.parametrize("name", ["x.mha", "x.nrrd", "x.mgz", "x.hdr", "X.NII.GZ", "x.nii"])
def test_each_format_gets_the_same_mask(name: str, predict: Predict, expected: np.ndarray, tmp_path: Path) -> None:
    plain = tmp_path / "plain" / "plain.nii.gz"
    image = nib.load(plain)
    file = tmp_path / name
    if name.endswith((".mha", ".nrrd")):
        itk.imwrite(itk.imread(str(plain)), str(file))
    elif name == "x.nii":
        file.write_bytes(plain.read_bytes())  # compressed, against its ending
    elif name == "X.NII.GZ":
        file.write_bytes(gzip.decompress(plain.read_bytes()))
    else:
        kind = nib.MGHImage if name.endswith("mgz") else nib.Nifti1Pair
        nib.save(kind(np.asarray(image.dataobj, np.float32), image.affine), file)
    record = predict(file)
    (case,) = [case for case in record["cases"] if case["case"].lower() == "x"]
    mask = nib.load(tmp_path / "masks" / f"{file.stem[0]}.nii.gz")
    np.testing.assert_array_equal(np.asarray(mask.dataobj) > 0, expected)
    np.testing.assert_allclose(mask.affine, image.affine, atol=1e-4)
    said = " ".join(case["warnings"])
    assert ("the mask is NIfTI" in said) == (case["form"] == "volume")
    assert ("against its ending" in said) == ("nii" in name.lower())


def test_an_empty_sform_is_said_and_the_mask_has_the_qform(
    predict: Predict, expected: np.ndarray, tmp_path: Path
) -> None:
    image = nib.load(tmp_path / "plain" / "plain.nii.gz")
    image.set_qform(image.affine, 1)
    header = image.header.copy()
    for row in ("srow_x", "srow_y", "srow_z"):
        header[row] = 0
    nib.save(nib.Nifti1Image(np.asarray(image.dataobj), None, header), tmp_path / "x.nii.gz")
    assert np.linalg.det(nib.load(tmp_path / "x.nii.gz").affine[:3, :3]) == 0
    record = predict(tmp_path / "x.nii.gz")
    assert any("the sform is empty" in line for case in record["cases"] for line in case["warnings"])
    mask = nib.load(tmp_path / "masks" / "x.nii.gz")
    np.testing.assert_allclose(mask.affine, image.affine, atol=1e-4)
    np.testing.assert_array_equal(np.asarray(mask.dataobj) > 0, expected)


def test_pages_give_a_mask_of_pages(predict: Predict, tmp_path: Path) -> None:
    flair = draw_phantom().images[..., 1]
    tifffile.imwrite(tmp_path / "scan.tif", flair.transpose(2, 1, 0), photometric="minisblack")
    predict(tmp_path / "scan.tif")
    mask = tifffile.imread(tmp_path / "masks" / "scan" / "scan_mask.tif")
    assert mask.shape == flair.transpose(2, 1, 0).shape
    assert set(np.unique(mask)) == {0, 255}
    inverted = np.iinfo(flair.dtype).max - flair.transpose(2, 1, 0)
    tifffile.imwrite(tmp_path / "white.tif", inverted, photometric="miniswhite")
    record = predict(tmp_path / "white.tif")
    np.testing.assert_array_equal(tifffile.imread(tmp_path / "masks" / "white" / "white_mask.tif"), mask)
    assert any("white was stored as 0" in line for case in record["cases"] for line in case["warnings"])


def test_channels_decide_and_another_order_is_segmented_again(
    predict: Predict, expected: np.ndarray, tmp_path: Path
) -> None:
    image = nib.load(tmp_path / "plain" / "plain.nii.gz")
    flair = np.asarray(image.dataobj)
    four = nib.Nifti1Image(np.stack([flair, flair // 2, flair // 3, flair[::-1]], -1), image.affine)
    four.header.set_xyzt_units("mm")
    nib.save(four, tmp_path / "x.nii.gz")
    predict(tmp_path / "x.nii.gz", code=1)
    predict(tmp_path / "x.nii.gz", "--channels", "flair,t1,t1ce,t2")
    np.testing.assert_array_equal(read_mask(tmp_path / "masks" / "x.nii.gz"), expected)
    predict(tmp_path / "x.nii.gz", "--channels", "t2,t1,t1ce,flair")
    np.testing.assert_array_equal(read_mask(tmp_path / "masks" / "x.nii.gz"), expected[::-1])
