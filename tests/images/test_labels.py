"""Which voxels of a mask are tumour: labels, grey levels, colours, and how far it may be from its image."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import imagecodecs
import nibabel as nib
import numpy as np
import pytest
from PIL import Image

from monai_brainseg.data.case_voxels import examine_case, read_images, read_label
from monai_brainseg.data.cases import Case
from monai_brainseg.errors import InputError
from monai_brainseg.images.labels import round_labels
from monai_brainseg.images.volumes import Volume, read_nifti
from monai_brainseg.scoring.patients import score_patient

VOXELS = np.random.default_rng(0).integers(1, 999, (6, 7, 4)).astype(np.int16)
AFFINE = np.array([[-2.0, 0, 0, 30], [0, -2.5, 0, 40], [0, 0, 3, -20], [0, 0, 0, 1]])
GREY = np.random.default_rng(1).integers(0, 255, (8, 7), dtype=np.uint8)


def save(path: Path, voxels: np.ndarray = VOXELS, affine: np.ndarray = AFFINE, kind: Any = nib.Nifti1Image) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = kind(voxels, affine)
    if hasattr(image.header, "set_xyzt_units"):
        image.header.set_xyzt_units("mm")
    nib.save(image, path)
    return path


def make_case(flair: Path | Sequence[Path], label: Path | Sequence[Path] = ()) -> Case:
    files, labels = ((each,) if isinstance(each, Path) else tuple(each) for each in (flair, label))
    return Case("a", "a", "unknown", {"flair": files}, labels)


def make_mask() -> np.ndarray:
    """Two hundred rows of a mask, 0 and 255, ``[z, row, column]``."""
    z, row, column = np.mgrid[:5, :64, :48]
    return np.where((row - 30) ** 2 + (column - 20) ** 2 + 9 * (z - 2) ** 2 < 100, 255, 0).astype(np.uint8)


def label_case(folder: Path, masks: np.ndarray, **labels: Any) -> Volume:
    """Write masks as png beside grey images, and read them as a case's label."""
    files = []
    for number, mask in enumerate(masks):
        (folder / f"m_{number}.png").write_bytes(imagecodecs.png_encode(np.ascontiguousarray(mask)))
        (folder / f"i_{number}.png").write_bytes(imagecodecs.png_encode(np.zeros(mask.shape[:2], np.uint8) + 7))
        files.append(number)
    case = make_case([folder / f"i_{number}.png" for number in files], [folder / f"m_{number}.png" for number in files])
    return read_label(case, read_images(case)["flair"], **labels)


@pytest.mark.parametrize("quality", [50, 75, 95])
def test_masks_after_jpeg_are_split_at_half_and_it_is_said(quality: int, tmp_path: Path) -> None:
    masks, files = make_mask(), []
    for number, mask in enumerate(masks):
        Image.fromarray(mask).save(tmp_path / f"m_{number}.jpg", quality=quality)
        Image.fromarray(mask).save(tmp_path / f"i_{number}.png")
        files.append(number)
    case = make_case([tmp_path / f"i_{n}.png" for n in files], [tmp_path / f"m_{n}.jpg" for n in files])
    label = read_label(case, read_images(case)["flair"])
    np.testing.assert_array_equal(label.voxels > 0, masks.transpose(2, 1, 0) > 0)
    assert any("half the highest" in note for note in label.notes)
    assert any("the mask" in note for note in examine_case(case).notes)


@pytest.mark.parametrize("method", [Image.Resampling.BICUBIC, Image.Resampling.BILINEAR, Image.Resampling.LANCZOS])
def test_resized_masks_are_split_at_half(method: Image.Resampling, tmp_path: Path) -> None:
    resized = np.stack([np.asarray(Image.fromarray(mask).resize((72, 96), method)) for mask in make_mask()])
    label = label_case(tmp_path, resized)
    assert abs(label.voxels.sum() / (make_mask() > 0).sum() / 2.25 - 1) < 0.04
    assert (resized > 0).sum() / 2.25 > (make_mask() > 0).sum() * 1.08, "what every value above 0 would give"
    assert "half the highest" in label.notes[0]


@pytest.mark.parametrize(
    ("values", "named"),
    [([0, 128, 255], "0, 128, 255"), ([0, 85, 170, 255], "0, 85, 170, 255"), (list(range(0, 250, 5)), "0, 5, 10")],
)
def test_levels_that_are_neither_two_nor_labels_are_refused_by_name(
    values: list[int], named: str, tmp_path: Path
) -> None:
    masks = np.random.default_rng(0).choice(values, (3, 30, 20)).astype(np.uint8)
    with pytest.raises(InputError, match=f"has the levels {named}.*--tumor-labels"):
        label_case(tmp_path, masks)
    given = label_case(tmp_path, masks, tumor_labels=[values[1]])
    np.testing.assert_array_equal(given.voxels > 0, masks.transpose(2, 1, 0) == values[1])


@pytest.mark.parametrize("values", [[0, 1, 2, 4], [0, 255], [0, 1], [0, 200], [0], list(range(12))])
def test_labels_are_taken_as_they_are_and_in_silence(values: list[int], tmp_path: Path) -> None:
    masks = np.random.default_rng(0).choice(values, (3, 30, 20)).astype(np.uint8)
    label = label_case(tmp_path, masks)
    np.testing.assert_array_equal(label.voxels > 0, masks.transpose(2, 1, 0) > 0)
    assert label.notes == ()


def test_each_colour_of_a_mask_that_is_not_black_is_tumour_and_said(tmp_path: Path) -> None:
    masks = np.zeros((2, 9, 8, 3), np.uint8)
    masks[0, 2, 3], masks[1, 4, 5] = (200, 0, 0), (0, 0, 200)
    label = label_case(tmp_path, masks)
    assert label.voxels.sum() == 2
    assert label.notes == ("each colour that is not black is tumour",)
    with pytest.raises(InputError, match="has colours, not labels"):
        label_case(tmp_path, masks, tumor_labels=[1])
    grey = label_case(tmp_path, np.repeat(masks.max(-1, keepdims=True), 3, -1))
    assert (grey.voxels.sum(), grey.notes) == (2, ())


@pytest.mark.parametrize("ending", ["png", "tif"])
def test_colours_may_be_in_some_slices_only(ending: str, tmp_path: Path) -> None:
    files = []
    for number, tumor in enumerate((0, 4, 0)):
        picture = Image.fromarray(np.pad(np.ones((1, tumor), np.uint8), ((3, 4), (2, 6 - tumor))), "P")
        picture.putpalette([0, 0, 0, 255, 0, 0])
        (picture.convert("L") if number == 2 else picture).save(tmp_path / f"m_{number}.{ending}")
        Image.fromarray(np.full((8, 8), 9, np.uint8)).save(tmp_path / f"i_{number}.png")
        files.append(number)
    case = make_case([tmp_path / f"i_{n}.png" for n in files], [tmp_path / f"m_{n}.{ending}" for n in files])
    assert read_label(case, read_images(case)["flair"]).voxels.sum(axis=(0, 1)).tolist() == [0, 4, 0]


def test_slices_without_tumour_that_are_wholly_transparent_are_empty(tmp_path: Path) -> None:
    for number, tumor in enumerate((0, 4)):
        alpha = np.pad(np.full((1, tumor), 255, np.uint8), ((3, 4), (2, 6 - tumor)))
        red = np.broadcast_to(np.array([255, 0, 0], np.uint8), (8, 8, 3))
        Image.fromarray(np.dstack([red, alpha])).save(tmp_path / f"m_{number}.png")
        Image.fromarray(np.full((8, 8), 9, np.uint8)).save(tmp_path / f"i_{number}.png")
    case = make_case([tmp_path / f"i_{n}.png" for n in (0, 1)], [tmp_path / f"m_{n}.png" for n in (0, 1)])
    assert read_label(case, read_images(case)["flair"]).voxels.sum(axis=(0, 1)).tolist() == [0, 4]


def test_a_mask_with_a_palette_is_read_by_its_colours(tmp_path: Path) -> None:
    mask = Image.fromarray((GREY > 100).astype(np.uint8), "P")
    mask.putpalette([0, 0, 0, 128, 0, 0])
    mask.save(tmp_path / "m.png")
    Image.fromarray(GREY).save(tmp_path / "i.png")
    case = make_case(tmp_path / "i.png", tmp_path / "m.png")
    np.testing.assert_array_equal(read_label(case, read_images(case)["flair"]).voxels[..., 0] > 0, GREY.T > 100)


def test_labels_that_are_whole_within_a_thousandth_are_rounded(tmp_path: Path) -> None:
    mask = nib.Nifti1Image(np.where(VOXELS > 500, 255, 0).astype(np.uint8), AFFINE)
    mask.header.set_xyzt_units("mm")
    mask.header.set_slope_inter(1 / 255, 0)
    file = tmp_path / "m.nii.gz"
    file.write_bytes(gzip.compress(mask.to_bytes()))
    assert not (np.unique(read_nifti(file).voxels) == [0, 1]).all()
    case = make_case(save(tmp_path / "i.nii.gz"), file)
    label = read_label(case, read_images(case)["flair"])
    np.testing.assert_array_equal(label.voxels > 0, VOXELS > 500)
    save(tmp_path / "truth" / "a.nii.gz", (VOXELS > 500).astype(np.uint8))
    file.rename(tmp_path / "a.nii.gz")
    item: Any = {"image": [], "label": str(tmp_path / "truth" / "a.nii.gz"), "patient": "a"}
    assert score_patient(item, tmp_path, 2.0).overlap("dice") == 1


@pytest.mark.parametrize(("shift", "fits"), [(0.002, True), (0.05, True), (0.3, False)])
def test_grids_may_differ_by_a_twentieth_of_a_voxel(shift: float, fits: bool, tmp_path: Path) -> None:
    moved = AFFINE.copy()
    moved[0, 3] += shift
    mask = (VOXELS > 500).astype(np.uint8)
    case = make_case(save(tmp_path / "i.nii.gz"), save(tmp_path / "masks" / "a.nii.gz", mask, moved))
    item: Any = {"image": [], "label": str(save(tmp_path / "truth" / "a.nii.gz", mask)), "patient": "a"}
    if fits:
        assert read_label(case, read_images(case)["flair"]).voxels.sum() == mask.sum()
        assert score_patient(item, tmp_path / "masks", 2.0).overlap("dice") == 1
    else:
        with pytest.raises(InputError, match="its affine differs"):
            read_label(case, read_images(case)["flair"])
        with pytest.raises(InputError, match="its affine differs.*by up to 0.15 voxels"):
            score_patient(item, tmp_path / "masks", 2.0)


def test_a_mask_of_tiny_values_is_not_taken_as_empty() -> None:
    assert np.array_equal(round_labels(np.array([0.0, 0.9995, 1e-4, 0.4])), [0, 1, 0, 0.4])
    tiny = np.array([0.0, 1e-30])
    assert np.array_equal(round_labels(tiny), tiny)
