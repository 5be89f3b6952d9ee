"""The head is told from the air around it at any scale."""

from __future__ import annotations

import numpy as np
import pytest
from brainseg_unet_scripts.heads import find_head
from hypothesis import given, settings
from hypothesis import strategies as st

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
