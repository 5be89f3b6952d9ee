"""Voxels and geometry survive reading and writing; slices that differ make no volume."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import itk
import nibabel as nib
import numpy as np
import pytest
import tifffile
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra import numpy as arrays
from PIL import Image

from monai_brainseg.errors import InputError
from monai_brainseg.images.volumes import (
    Volume,
    hash_images,
    read_nifti,
    read_slices,
    stack_slices,
    write_nifti,
    write_slices,
)

OBLIQUE = np.array([[-0.9, 0.2, 0.1, 90.5], [0.3, 1.1, -0.4, -70.25], [0.05, 0.3, 5.5, 12.0], [0, 0, 0, 1]])


def list_slices(folder: Path, count: int, ending: str) -> list[Path]:
    return [folder / f"patient_{number}{ending}" for number in range(1, count + 1)]


@pytest.mark.parametrize("ending", [".tif", ".png"])
@settings(max_examples=15, deadline=None)
@given(
    voxels=st.sampled_from([np.uint8, np.uint16]).flatmap(
        lambda dtype: arrays.arrays(
            dtype, st.sampled_from([(1, 1, 1), (5, 3, 2), (4, 6, 1, 3), (3, 5, 2, 3)]), elements={}
        )
    )
)
def test_slices_come_back_to_the_pixel(
    ending: str, voxels: np.ndarray, tmp_path_factory: pytest.TempPathFactory
) -> None:
    files = list_slices(tmp_path_factory.mktemp("slices"), voxels.shape[2], ending)
    write_slices(voxels, files)
    read = read_slices(files).voxels
    assert read.dtype == voxels.dtype
    np.testing.assert_array_equal(read, voxels)


def test_written_slices_are_what_another_library_reads(tmp_path: Path) -> None:
    voxels = np.random.default_rng(0).integers(0, 255, (7, 5, 2, 3), dtype=np.uint8)
    for ending in (".tif", ".png"):
        files = list_slices(tmp_path, 2, ending)
        write_slices(voxels, files)
        np.testing.assert_array_equal(np.asarray(Image.open(files[1])), voxels[:, :, 1].swapaxes(0, 1))


def test_slices_lie_as_on_a_reading_screen(tmp_path: Path) -> None:
    # One slice as it is looked at: rows from front to back, columns from the patient's right to left.
    lower = np.array([[10, 20, 30], [40, 50, 60]], np.uint8)
    upper = lower + 100
    files = list_slices(tmp_path, 2, ".tif")
    for file, image in zip(files, (lower, upper), strict=True):
        tifffile.imwrite(file, image)
    volume = read_slices(files)
    assert nib.aff2axcodes(volume.affine) == ("L", "P", "S")
    assert volume.voxels[0, 0, 0] == 10  # right, front, lower
    assert volume.voxels[2, 0, 0] == 30  # left
    assert volume.voxels[0, 1, 0] == 40  # back
    assert volume.voxels[0, 0, 1] == 110  # upper
    file = tmp_path / "volume.nii.gz"
    write_nifti(volume, file)
    canonical = nib.as_closest_canonical(nib.load(file)).get_fdata()  # RAS: from left to right, back to front, upwards
    np.testing.assert_array_equal(canonical[:, :, 0], [[60, 30], [50, 20], [40, 10]])
    np.testing.assert_array_equal(canonical[:, :, 1], [[160, 130], [150, 120], [140, 110]])


@pytest.mark.parametrize("compression", [None, "zlib", "lzw", "packbits", "lzma"])
@pytest.mark.parametrize("dtype", [np.uint8, np.uint16])
@pytest.mark.parametrize("shape", [(70, 50), (70, 50, 3)])
def test_compressed_tif_of_another_writer(
    compression: str | None, dtype: type, shape: tuple[int, ...], tmp_path: Path
) -> None:
    image: np.ndarray = np.random.default_rng(0).integers(0, np.iinfo(dtype).max, shape).astype(dtype)
    kind = "rgb" if len(shape) == 3 else "minisblack"
    layouts: dict[str, dict[str, Any]] = {"plain": {}, "big": {"byteorder": ">"}, "tiled": {"tile": (32, 32)}}
    for name, options in layouts.items():
        file = tmp_path / f"{name}.tif"
        tifffile.imwrite(file, image, photometric=kind, compression=compression, **options)
        np.testing.assert_array_equal(read_slices([file]).voxels[:, :, 0], image.swapaxes(0, 1))


def test_planar_and_one_bit_tif(tmp_path: Path) -> None:
    planes = np.random.default_rng(0).integers(0, 255, (3, 6, 5), dtype=np.uint8)
    tifffile.imwrite(tmp_path / "planar.tif", planes, photometric="rgb", planarconfig="separate")
    np.testing.assert_array_equal(read_slices([tmp_path / "planar.tif"]).voxels[:, :, 0], planes.transpose(2, 1, 0))
    mask = planes[0] > 127
    tifffile.imwrite(tmp_path / "mask.tif", mask)
    np.testing.assert_array_equal(read_slices([tmp_path / "mask.tif"]).voxels[:, :, 0], mask.T.astype(np.uint8))


def test_a_16_bit_coloured_png_is_what_itk_reads(tmp_path: Path) -> None:
    voxels = np.random.default_rng(0).integers(0, 65535, (6, 5, 1, 3), dtype=np.uint16)
    write_slices(voxels, [tmp_path / "a.png"])
    image = itk.array_from_image(itk.imread(str(tmp_path / "a.png"), pixel_type=itk.Vector[itk.F, 3]))
    np.testing.assert_array_equal(image, voxels[:, :, 0].swapaxes(0, 1))


@pytest.mark.parametrize(
    ("mode", "shape"), [("1", ()), ("L", ()), ("I;16", ()), ("P", ()), ("LA", ()), ("RGB", (3,)), ("RGBA", (3,))]
)
def test_png_of_another_writer(mode: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    image = Image.fromarray(np.random.default_rng(0).integers(0, 255, (6, 5), dtype=np.uint8)).convert(mode)
    image.save(tmp_path / "a.png")
    expected = np.asarray(image.convert({"P": "L", "1": "L", "LA": "L", "RGBA": "RGB"}.get(mode, mode)))
    read = read_slices([tmp_path / "a.png"]).voxels
    assert read.shape == (5, 6, 1, *shape)
    np.testing.assert_array_equal(read[:, :, 0], expected.swapaxes(0, 1))


@pytest.mark.parametrize(
    "other", [np.zeros((6, 5), np.uint8), np.zeros((5, 5, 3), np.uint8), np.zeros((6, 5, 3), "u2")]
)
def test_slices_that_differ_are_refused(other: np.ndarray, tmp_path: Path) -> None:
    files = list_slices(tmp_path, 3, ".tif")
    for file, image in zip(files, [np.zeros((6, 5, 3), np.uint8)] * 2 + [other], strict=True):
        tifffile.imwrite(file, image, photometric="rgb" if image.ndim == 3 else "minisblack")
    with pytest.raises(InputError, match=r"patient_3\.tif.*patient_1\.tif is 6x5x3 uint8; .*export them again"):
        read_slices(files)


@pytest.mark.parametrize("name", ["a.nii.gz", "a.nii"])
@pytest.mark.parametrize("dtype", ["uint8", "int16", "uint16", "int32", "float32", "float64"])
@pytest.mark.parametrize("shape", [(4, 5, 3), (4, 5, 3, 2), (1, 1, 1)])
def test_nifti_comes_back(name: str, dtype: str, shape: tuple[int, ...], tmp_path: Path) -> None:
    voxels = np.random.default_rng(0).integers(0, 200, shape).astype(dtype)
    write_nifti(Volume(voxels, OBLIQUE, spacing_known=True), tmp_path / name)
    read = read_nifti(tmp_path / name)
    np.testing.assert_array_equal(read.voxels, voxels)
    assert read.voxels.dtype == dtype
    np.testing.assert_allclose(read.affine, OBLIQUE, rtol=1e-6)
    assert read.spacing_known


def test_affine_that_was_read_is_written_back_exactly(tmp_path: Path) -> None:
    write_nifti(Volume(np.zeros((2, 2, 2), np.uint8), OBLIQUE, spacing_known=True), tmp_path / "a.nii.gz")
    first = read_nifti(tmp_path / "a.nii.gz")
    write_nifti(first, tmp_path / "b.nii.gz")
    np.testing.assert_array_equal(read_nifti(tmp_path / "b.nii.gz").affine, first.affine)


@pytest.mark.parametrize(("known", "unit"), [(True, "mm"), (False, "unknown")])
def test_unit_says_whether_spacing_is_known(known: bool, unit: str, tmp_path: Path) -> None:
    write_nifti(Volume(np.zeros((2, 2, 2), np.uint8), np.eye(4), known), tmp_path / "a.nii.gz")
    assert nib.load(tmp_path / "a.nii.gz").header.get_xyzt_units()[0] == unit
    assert read_nifti(tmp_path / "a.nii.gz").spacing_known is known


def test_voxel_size_is_one_where_spacing_is_unknown() -> None:
    affine = np.diag([-2.0, 3.0, 4.0, 1.0])
    assert Volume(np.zeros((1, 1, 1)), affine, True).voxel_size == pytest.approx(24)
    assert Volume(np.zeros((1, 1, 1)), affine, False).voxel_size == 1


def test_same_volume_gives_the_same_bytes(tmp_path: Path) -> None:
    volume = Volume(np.arange(60, dtype=np.int16).reshape(3, 4, 5), OBLIQUE, spacing_known=True)
    write_nifti(volume, tmp_path / "a.nii.gz")
    write_nifti(volume, tmp_path / "other" / "b.nii.gz")
    data = (tmp_path / "a.nii.gz").read_bytes()
    assert data == (tmp_path / "other" / "b.nii.gz").read_bytes()
    assert data[4:8] == bytes(4)  # the time in gzip's header (RFC 1952)


def test_masks_of_python_types_are_written_small(tmp_path: Path) -> None:
    for dtype, written in {"bool": "uint8", "int64": "int32", "float16": "float32"}.items():
        write_nifti(Volume(np.ones((2, 2, 2), dtype), np.eye(4), True), tmp_path / "a.nii.gz")
        assert nib.load(tmp_path / "a.nii.gz").get_data_dtype() == written


def test_scaled_and_big_endian_nifti(tmp_path: Path) -> None:
    voxels = np.arange(24, dtype=">i2").reshape(2, 3, 4)
    header = nib.Nifti1Header(endianness=">")
    header.set_data_dtype(">i2")
    nib.save(nib.Nifti1Image(voxels, np.eye(4), header), tmp_path / "a.nii")
    read = read_nifti(tmp_path / "a.nii")
    assert read.voxels.dtype.isnative
    np.testing.assert_array_equal(read.voxels, voxels)
    image = nib.Nifti1Image(voxels.astype(np.int16), np.eye(4))
    image.header.set_slope_inter(0.5, 3)
    nib.save(image, tmp_path / "b.nii.gz")
    np.testing.assert_allclose(read_nifti(tmp_path / "b.nii.gz").voxels, 0.5 * voxels + 3)


def test_hash_is_of_the_voxels_alone() -> None:
    voxels = np.random.default_rng(0).integers(0, 255, (4, 5, 3)).astype(np.uint8)
    others = np.flip(voxels).copy()
    one = hash_images([Volume(voxels, np.eye(4), True), Volume(others, np.eye(4), True)])
    assert len(one) == 16
    assert int(one, 16) >= 0
    same = [Volume(v.astype(np.float64), OBLIQUE, False) for v in (np.asfortranarray(voxels), others)]
    assert hash_images(same) == one
    assert hash_images(same[::-1]) != one
    assert hash_images(same[:1]) != one
    reshaped = [Volume(v.reshape(5, 4, 3), np.eye(4), True) for v in (voxels, others)]
    assert hash_images(reshaped) != one
    changed = voxels.copy()
    changed[-1, -1, -1] ^= 1
    assert hash_images([Volume(changed, np.eye(4), True), same[1]]) != one


def test_hash_takes_negative_zero_for_zero() -> None:
    zeros = np.zeros((2, 2, 2), np.float32)
    assert hash_images([Volume(-zeros, np.eye(4), True)]) == hash_images([Volume(zeros, np.eye(4), True)])


def test_hash_does_not_change_when_flair_stands_in() -> None:
    flair, post = (Volume(np.full((2, 2, 2), value), np.eye(4), True) for value in (1, 2))
    assert hash_images([flair, flair, post]) == hash_images([flair, post])


@pytest.mark.real_data
def test_real_patient_comes_back_to_the_pixel(real_patients: Callable[[int], Path], tmp_path: Path) -> None:
    for folder in real_patients(2).iterdir():
        count = len(list(folder.glob("*_mask.tif")))
        for kind in ("", "_mask"):
            files = [folder / f"{folder.name}_{number}{kind}.tif" for number in range(1, count + 1)]
            voxels = read_slices(files).voxels
            write_nifti(stack_slices(voxels), tmp_path / "volume.nii.gz")
            again = [tmp_path / file.name for file in files]
            write_slices(read_nifti(tmp_path / "volume.nii.gz").voxels, again)
            for file, copy in zip(files, again, strict=True):
                np.testing.assert_array_equal(tifffile.imread(copy), tifffile.imread(file))
