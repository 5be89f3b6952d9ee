"""The head is told from the air around it at any scale."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from brainseg_unet_scripts.heads import fill_outside, find_head
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from monai_brainseg.phantoms.patients import Phantom, make_phantom


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return make_phantom(np.random.default_rng(3), size=96, slices=20)


@settings(max_examples=20, deadline=None)
@given(gain=st.floats(1e-3, 1e3), offset=st.floats(-1e3, 1e3), spike=st.booleans())
def test_the_head_is_the_same_at_any_scale(phantom: Phantom, gain: float, offset: float, spike: bool) -> None:
    flair = phantom.images[..., 1].astype(np.float64)
    tissue, head = find_head(flair)
    scaled = flair * gain + offset
    if spike:
        scaled[0, 0, 0] = 1e6 * gain + offset
    again = find_head(scaled)
    assert np.mean(again[0] != tissue) < 0.02
    assert np.mean(again[1] != head) < 0.02


def test_the_head_holds_the_brain_and_leaves_out_the_air(phantom: Phantom) -> None:
    tissue, head = find_head(phantom.images[..., 1])
    assert (tissue <= head).all()
    assert head[phantom.mask].all()
    assert 0.2 < head.mean() < 0.7
    rim = np.ones(head.shape, dtype=bool)
    rim[2:-2, 2:-2] = False
    assert not head[rim].any()


def test_a_volume_of_one_value_is_all_head() -> None:
    for value in (0, 7, -1.5):
        tissue, head = find_head(np.full((9, 8, 3), value))
        assert tissue.all()
        assert head.all()


@pytest.mark.parametrize("seed", range(3))
@pytest.mark.parametrize("value", [np.nan, np.inf, -np.inf])
def test_values_that_are_missing_outside_any_mask_of_the_head_or_brain_are_filled(seed: int, value: float) -> None:
    flair = make_phantom(np.random.default_rng(seed), size=96, slices=20).images[..., 1].astype(np.float32)
    head = find_head(flair)[1]
    near = ndimage.binary_fill_holes(ndimage.binary_dilation(flair > np.percentile(flair[~head], 99), iterations=2))
    for mask in (near, head, *(ndimage.binary_erosion(head, iterations=steps) for steps in (2, 5, 8))):
        mask = ndimage.binary_fill_holes(mask)
        for scaled in (flair, (flair - flair[mask].mean()) / flair[mask].std()):
            filled = fill_outside(np.where(mask, scaled, value))
            assert filled is not None
            assert np.array_equal(filled[mask], scaled[mask])
            assert (filled[~mask] == min(0, scaled[mask].min())).all()


def test_values_that_are_missing_inside_the_head_are_not_filled(phantom: Phantom) -> None:
    flair = phantom.images[..., 1].astype(np.float32)
    holes: dict[str, Any] = {
        "a voxel": np.s_[48, 48, 10],
        "a patch": np.s_[46:50, 46:50, 9:11],
        "half a slice": np.s_[:48, :, 10],
        "a slice": np.s_[:, :, 10],
        "all": np.s_[:],
    }
    for name, hole in holes.items():
        holed = flair.copy()
        holed[hole] = np.nan
        assert fill_outside(holed) is None, name
