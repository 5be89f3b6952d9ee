"""Pictures of slices show the image, the outlines of masks where they lie, and high probabilities in colour."""

from __future__ import annotations

import io

import numpy as np
import pytest
from matplotlib.figure import Figure
from PIL import Image

from monai_brainseg.reporting.slice_pictures import Slice, draw_slices


def render(figure: Figure) -> np.ndarray:
    """Return the pixels [row, column, 3] of a figure."""
    file = io.BytesIO()
    figure.savefig(file, format="png")
    return np.asarray(Image.open(file).convert("RGB")).astype(int)


def find_colour(pixels: np.ndarray) -> np.ndarray:
    """Return where a picture is not grey."""
    return np.ptp(pixels, axis=-1) > 60


def test_a_picture_shows_the_slice_and_the_outline_of_its_mask() -> None:
    image = np.zeros((40, 60))
    image[10:20, 30:50] = 1000
    plain = render(draw_slices([Slice(image)], 1.0, longest=60))
    np.testing.assert_array_equal(plain[..., 0], np.where(image > 0, 255, 0))
    outlined = render(draw_slices([Slice(image, {"truth": image > 0})], 1.0, longest=240))
    rows, columns = np.nonzero(find_colour(outlined))
    np.testing.assert_allclose([rows.min(), rows.max(), columns.min(), columns.max()], [40, 80, 120, 200], atol=3)
    assert not find_colour(outlined)[46:74, 126:194].any()


def test_the_outline_of_a_mask_at_the_border_is_closed() -> None:
    mask = np.ones((20, 20), bool)
    coloured = find_colour(render(draw_slices([Slice(np.zeros((20, 20)), {"prediction": mask})], 1.0, longest=100)))
    assert all(edge.any() for edge in (coloured[0], coloured[-1], coloured[:, 0], coloured[:, -1]))


@pytest.mark.parametrize(("shape", "aspect"), [((512, 512), 1.0), ((301, 640), 1.0), ((20, 512), 6.0), ((2, 900), 9.0)])
def test_pictures_keep_their_proportions(shape: tuple[int, int], aspect: float) -> None:
    image = np.random.default_rng(0).normal(size=shape)
    pixels = render(draw_slices([Slice(image)], aspect, longest=160))
    assert max(pixels.shape) == 160
    assert pixels.shape[0] / pixels.shape[1] == pytest.approx(shape[0] * aspect / shape[1], abs=0.01)
    assert np.ptp(pixels) > 50


def test_a_blank_slice_without_tumour_is_a_picture_too() -> None:
    pixels = render(draw_slices([Slice(np.full((9, 7), 3), {"tumour": np.zeros((9, 7), bool)})], 1.0, longest=9))
    assert pixels.shape == (9, 7, 3)
    assert not find_colour(pixels).any()


def test_a_heat_map_is_clear_at_0_and_solid_at_1() -> None:
    heat = np.zeros((8, 8))
    heat[:, 4:] = 1
    pixels = render(draw_slices([Slice(np.eye(8), heat=heat)], 1.0, longest=8))
    np.testing.assert_array_equal(pixels[:, :4], np.eye(8)[:, :4, None].repeat(3, -1) * 255)
    assert (pixels[:, 4:, 0] >= 200).all()
    assert (pixels[:, 4:, 1] > pixels[:, 4:, 2]).all()


def test_slices_lie_row_by_row_and_what_is_left_over_is_black() -> None:
    shades = (40.0, 80.0, 120.0)
    images = [np.full((6, 6), shade) for shade in shades]
    pixels = render(draw_slices([Slice(image) for image in images], 1.0, columns=2, longest=6))
    assert pixels.shape == (12, 12, 3)
    first, second, third, rest = (pixels[r : r + 6, c : c + 6] for r in (0, 6) for c in (0, 6))
    assert first.max() < second.min() <= second.max() < third.min()
    assert rest.max() == 0
