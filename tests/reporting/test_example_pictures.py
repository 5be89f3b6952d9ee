"""Pictures of examples: who is chosen, which slice is shown, and what is said where a file is missing."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.html_pages import read_picture

from monai_brainseg.data.splits import Item
from monai_brainseg.images.volumes import Volume, write_nifti
from monai_brainseg.reporting.example_pictures import choose_examples, draw_overlay

AFFINE = np.diag([-1.0, -1.0, 1.0, 1.0])
SHAPE = (20, 16, 6)


def write_case(folder: Path, **volumes: np.ndarray | None) -> Item:
    """Write a case: truth on slices 1 to 3, most on 2; a false alarm on slice 5, larger than any other error."""
    truth, prediction = np.zeros(SHAPE, np.uint8), np.zeros(SHAPE, np.uint8)
    truth[3:6, 4:8, 1:4] = truth[3:9, 4:10, 2] = 1
    prediction[3:9, 4:9, 2] = prediction[10:18, 2:12, 5] = 1
    flair = np.random.default_rng(0).integers(1, 200, SHAPE).astype(np.int16)
    flair[3:9, 4:10, 2] = 400
    probability = np.where(prediction, 0.9, 0.05).astype(np.float32)
    case: dict[str, Any] = {"truth": truth, "p": prediction, "flair": flair, "p_probability": probability, **volumes}
    for name, voxels in case.items():
        if voxels is not None:
            write_nifti(Volume(voxels, AFFINE, False), folder / f"{name}.nii.gz")
    images = [str(folder / f"{name}.nii.gz") for name in ("pre", "flair", "post")]
    return Item(image=images, label=str(folder / "truth.nii.gz"), patient="p", spacing_known=False)


@given(st.integers(1, 40))
def test_examples_are_the_ends_and_the_middle_and_nobody_twice(count: int) -> None:
    groups = choose_examples(range(count))
    chosen = [each for group in groups.values() for each in group]
    assert len(chosen) == len(set(chosen)) == min(count, 9)
    assert groups["worst"] == list(range(min(count, 3)))
    if count >= 9:
        assert groups["best"] == [count - 3, count - 2, count - 1]
        assert abs(groups["median"][1] - (count - 1) / 2) <= 0.5


def test_the_slice_with_most_tumour_is_shown_and_the_one_with_most_error(tmp_path: Path) -> None:
    overlay = draw_overlay(write_case(tmp_path), tmp_path)
    assert list(overlay.figures) == [
        "FLAIR, slice 3 of 6 (most tumour)",
        "truth and prediction",
        "probability and truth",
        "slice 6 (most error)",
    ]
    plain, both, heat, wrong = map(read_picture, overlay.figures.values())
    assert not find_colours(plain)
    assert find_colours(both) == {"green", "red"}
    assert "green" in find_colours(heat)
    assert find_colours(wrong) == {"red"}
    # Pictures are [row, column] where volumes are [column, row], 19.2 pixels a voxel here.
    green, red = (np.argwhere(is_coloured(both, colour)) for colour in ("green", "red"))
    np.testing.assert_allclose(green.min(axis=0), [4 * 19.2, 3 * 19.2], atol=4)
    np.testing.assert_allclose(green.max(axis=0), [10 * 19.2, 9 * 19.2], atol=4)
    np.testing.assert_allclose(red.max(axis=0), [9 * 19.2, 9 * 19.2], atol=4)


def is_coloured(pixels: np.ndarray, colour: str) -> np.ndarray:
    """Return where a picture has the colour of an outline, which WebP blurs a little."""
    red, green, blue = np.moveaxis(pixels.astype(int), -1, 0)
    this, other = (green, red) if colour == "green" else (red, green)
    return (this > 120) & (this - np.maximum(other, blue) > 60)


def find_colours(pixels: np.ndarray) -> set[str]:
    return {colour for colour in ("green", "red") if is_coloured(pixels, colour).any()}


def test_the_heat_map_has_colour_where_probability_is_high_alone(tmp_path: Path) -> None:
    probability = np.zeros(SHAPE, np.float32)
    probability[3:9, 4:10, 2] = 1
    overlay = draw_overlay(write_case(tmp_path, p_probability=probability), tmp_path)
    pixels = read_picture(overlay.figures["probability and truth"]).astype(int)
    yellow = (pixels[..., 0] - pixels[..., 2] > 60) & (pixels[..., 1] - pixels[..., 2] > 60)
    expected = np.zeros(pixels.shape[:2], bool)
    expected[round(4 * 19.2) : round(10 * 19.2), round(3 * 19.2) : round(9 * 19.2)] = True
    assert np.mean(yellow[expected]) > 0.8
    assert np.mean(yellow[~expected]) < 0.02


def test_a_volume_that_is_stored_another_way_looks_the_same(tmp_path: Path) -> None:
    item = write_case(tmp_path)
    first = draw_overlay(item, tmp_path)
    for name in ("truth", "p", "flair", "p_probability"):
        image = nib.load(tmp_path / f"{name}.nii.gz")
        turn = nib.orientations.axcodes2ornt("SAR")
        turned = image.as_reoriented(nib.orientations.ornt_transform(nib.io_orientation(image.affine), turn))
        nib.save(turned, tmp_path / f"{name}.nii.gz")
    assert draw_overlay(item, tmp_path) == first


def test_a_missing_prediction_shows_the_truth_alone(tmp_path: Path) -> None:
    item = write_case(tmp_path)
    (tmp_path / "p.nii.gz").unlink()
    overlay = draw_overlay(item, tmp_path)
    assert list(overlay.figures) == ["FLAIR, slice 3 of 6 (most tumour)", "no prediction; truth"]


def test_two_empty_masks_show_the_middle(tmp_path: Path) -> None:
    empty = np.zeros(SHAPE, np.uint8)
    overlay = draw_overlay(write_case(tmp_path, truth=empty, p=empty), tmp_path)
    assert next(iter(overlay.figures)) == "FLAIR, slice 4 of 6 (the middle)"
    assert len(overlay.figures) == 3


def test_a_single_image_is_flair(tmp_path: Path) -> None:
    item = write_case(tmp_path)
    assert draw_overlay(Item(**{**item, "image": item["image"][1:2]}), tmp_path) == draw_overlay(item, tmp_path)


@pytest.mark.parametrize(
    ("flair", "problem"),
    [
        (None, "flair.nii.gz: no such file"),
        (np.ones((5, 5, 5), np.uint8), "flair.nii.gz: is not on the truth's grid"),
        (np.full(SHAPE, np.nan, np.float32), "holds NaN"),
    ],
)
def test_what_is_wrong_with_the_image_is_said(tmp_path: Path, flair: np.ndarray | None, problem: str) -> None:
    overlay = draw_overlay(write_case(tmp_path, flair=flair), tmp_path)
    assert overlay.figures == {}
    assert problem in overlay.problem
