"""Heads differ, and hold what a head holds at the place where it is held."""

from __future__ import annotations

import numpy as np
import pytest
from scipy.interpolate import BSpline

from monai_brainseg.phantoms import anatomy
from monai_brainseg.phantoms.anatomy import Head, make_head, smooth_noise


@pytest.fixture(scope="module")
def heads() -> list[Head]:
    return [make_head(np.random.default_rng(seed), (96, 96, 24)) for seed in range(4)]


def test_smooth_noise_is_a_cubic_spline_of_unit_variance() -> None:
    knots = np.random.default_rng(3).standard_normal(8, dtype=np.float32)
    places = (np.arange(40) + 0.5) / 40 * 5
    basis = BSpline(np.arange(-3, 9), np.eye(8), 3)(places)
    expected = basis @ knots / np.linalg.norm(basis, axis=1)
    np.testing.assert_allclose(smooth_noise(np.random.default_rng(3), (40,), (5,)), expected, atol=1e-5)


def test_smooth_noise_varies_alike_at_the_rim_and_in_the_middle() -> None:
    rng = np.random.default_rng(0)
    fields = np.stack([smooth_noise(rng, (9, 8, 4), (3, 3, 2)) for _ in range(2000)])
    np.testing.assert_allclose(fields.std(0), 1, atol=0.1)
    np.testing.assert_allclose(fields.mean(0), 0, atol=0.15)


def test_a_finer_grid_shows_the_same_field() -> None:
    coarse, fine = (smooth_noise(np.random.default_rng(1), (n, n), (4, 4)) for n in (10, 30))
    np.testing.assert_allclose(fine[1::3, 1::3], coarse, atol=1e-5)


@pytest.mark.parametrize("tissue", range(anatomy.LIPOMA))
def test_every_tissue_is_found_in_some_head(heads: list[Head], tissue: int) -> None:
    assert any((head.labels == tissue).any() for head in heads)


def test_the_face_lies_in_front_of_and_below_the_brain(heads: list[Head]) -> None:
    for head in heads:
        columns, rows, heights = (head.labels == anatomy.MUCOSA).nonzero()
        white = (head.labels == anatomy.WHITE).nonzero()
        assert rows.mean() < white[1].mean() - 20
        assert heights.mean() < white[2].mean()
        assert abs(columns.mean() - white[0].mean()) < 10


def test_the_skull_surrounds_the_brain(heads: list[Head]) -> None:
    for head in heads:
        brain = np.isin(head.labels, (anatomy.GREY, anatomy.WHITE, anatomy.NUCLEUS, anatomy.VENTRICLE))
        assert head.skin_depth[brain].min() > 8
        assert 700 < brain.sum() * np.prod(np.divide(anatomy.FIELD_OF_VIEW, brain.shape)) / 1000 < 1700  # millilitres


def test_no_two_heads_are_alike(heads: list[Head]) -> None:
    for first, second in zip(heads, heads[1:], strict=False):
        assert (first.labels != second.labels).mean() > 0.1
