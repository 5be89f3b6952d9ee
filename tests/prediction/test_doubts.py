"""What makes a mask doubtful: heads that are none, lie the wrong way or are of another size, and masks beside them."""

from __future__ import annotations

from functools import cache

import numpy as np
import pytest
from support.fixed_bundles import draw_phantom, make_affine

from monai_brainseg.errors import InputError
from monai_brainseg.images.volumes import Volume
from monai_brainseg.prediction.doubts import USUAL_DIAMETER, look_at_images, look_at_mask

LPS = np.diag([-1.0, -1.0, 1.0, 1.0])


@cache
def draw_flair(size: int = 128, slices: int = 24) -> np.ndarray:
    return draw_phantom(size, slices, seed=3).images[..., 1]


def say(voxels: np.ndarray, affine: np.ndarray = LPS, known: bool = True) -> str:
    return "; ".join(look_at_images({"flair": Volume(voxels, affine, known)}).warnings)


def spread(spacing: float, thickness: float = 5.0) -> np.ndarray:
    return LPS @ np.diag([spacing, spacing, thickness, 1.0])


def test_a_head_as_it_should_be_raises_no_doubt() -> None:
    phantom = draw_phantom(128, 24, seed=3)
    assert say(phantom.images[..., 1], make_affine(phantom)) == ""


def test_a_head_turned_by_90_degrees_is_doubted() -> None:
    assert "wider than it is long" in say(draw_flair().swapaxes(0, 1), spread(1.75))


def test_slices_in_reverse_order_are_doubted() -> None:
    assert "smaller downwards" in say(draw_flair()[..., ::-1], spread(1.75))


def test_few_slices_are_doubted() -> None:
    assert "few slices (3)" in say(draw_flair()[..., 10:13], spread(1.75))


def test_slices_in_another_direction_are_doubted() -> None:
    sagittal = np.array([[0, 0, 5.0, 0], [-1, 0, 0, 0], [0, 1, 0, 0], [0, 0, 0, 1]])
    assert "scanned in sagittal slices" in say(np.moveaxis(draw_flair(), 0, 2), sagittal)


def test_an_impossible_spacing_is_doubted() -> None:
    assert "wrong spacing? the head is" in say(draw_flair(), spread(17.5))


def test_a_spacing_without_a_unit_is_doubted_and_slices_that_have_none_are_not() -> None:
    assert "no unit for voxels of 1.75x1.75x5, so volumes are unknown" in say(draw_flair(), spread(1.75), known=False)
    assert "no unit" not in say(draw_flair(), known=False)


def test_noise_and_specks_are_no_head() -> None:
    rng = np.random.default_rng(0)
    assert "no head was found" in say(rng.normal(500, 100, (64, 64, 12)), spread(3.5))
    speck = rng.normal(1, 0.01, (64, 64, 12))
    speck[30:37, 30:37] = 100
    assert "no head was found" in say(speck, spread(3.5))


@pytest.mark.parametrize("factor", [0.5, 2, 4])
def test_a_head_of_another_size_without_spacing_is_brought_to_the_usual_one(factor: float) -> None:
    voxels = draw_flair(128)
    usual = look_at_images({"flair": Volume(voxels, LPS, False)})
    step = {0.5: voxels[::2, ::2], 2: voxels.repeat(2, 0).repeat(2, 1), 4: voxels.repeat(4, 0).repeat(4, 1)}
    look = look_at_images({"flair": Volume(step[factor], LPS, False)})
    diameter = USUAL_DIAMETER / usual.scale
    expected = USUAL_DIAMETER / (diameter * factor)
    if 1 / 1.4 < expected < 1.4:
        expected = 1.0
    assert look.scale == pytest.approx(expected, rel=0.1)
    assert bool(look.warnings) == (look.scale != 1)
    kept = look_at_images({"flair": Volume(step[factor], LPS, False)}, keep_scale=True)
    assert kept.scale == 1
    assert not kept.warnings


def test_a_known_spacing_is_never_changed() -> None:
    assert look_at_images({"flair": Volume(draw_flair(), spread(3.0), True)}).scale == 1


@pytest.mark.parametrize(
    ("voxels", "said"),
    [
        (np.zeros((8, 8, 4), np.int16), "the value 0 everywhere"),
        (np.random.default_rng(0).integers(0, 5, (8, 8, 4)), "only 5 different values"),
    ],
)
def test_what_is_no_image_is_refused(voxels: np.ndarray, said: str) -> None:
    with pytest.raises(InputError, match=said):
        say(voxels)


def test_masks_outside_the_head_or_as_large_as_it_are_doubted() -> None:
    flair = Volume(draw_flair(), spread(1.75), True)
    look = look_at_images({"flair": flair})
    mask = np.zeros(flair.voxels.shape, bool)
    assert look_at_mask(mask, flair, look) == []
    inside = mask.copy()
    inside[60:70, 60:70, 10:14] = True
    assert look_at_mask(inside, flair, look) == []
    corner = mask.copy()
    corner[:20, :20, :5] = True
    assert "outside the head" in look_at_mask(corner, flair, look)[0]
    assert "% of the head" in look_at_mask(flair.voxels > 20, flair, look)[-1]
