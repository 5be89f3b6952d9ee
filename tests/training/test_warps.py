"""Slices cut, scaled and warped, against SciPy's and MONAI's resampling."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.networks.blocks import Warp
from monai.transforms import Affine
from scipy import ndimage
from torch.nn.functional import interpolate

from monai_brainseg.training.warps import ELASTIC_POINTS, RandomWarp, resample


def draw_images(count: int, size: tuple[int, int] = (32, 24)) -> torch.Tensor:
    return torch.from_numpy(np.random.default_rng(0).uniform(0, 2, (count, 3, *size))).float()


def warp(images: torch.Tensor, matrices: np.ndarray, points: np.ndarray | None = None) -> torch.Tensor:
    """Resample whole slices onto themselves."""
    count, size = len(images), images.shape[2:]
    centers = (np.array(size) - 1)[None].repeat(count, 0) / 2
    given = np.zeros((count, 2, ELASTIC_POINTS, ELASTIC_POINTS)) if points is None else points
    return resample(images, centers, np.ones((count, 2)), list(size), (matrices, given))


@settings(max_examples=20, deadline=None)
@given(angle=st.floats(-3, 3), zoom=st.floats(0.7, 1.4), wide=st.integers(20, 40))
def test_warp_looks_up_where_scipy_does_also_in_oblong_slices(angle: float, zoom: float, wide: int) -> None:
    image = ndimage.gaussian_filter(np.random.default_rng(1).normal(size=(wide, 30)), 2).astype(np.float32)
    matrix = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]) / zoom
    centre = (np.array(image.shape) - 1) / 2
    expected = ndimage.affine_transform(image, matrix, centre - matrix @ centre, order=1, mode="constant")
    tensor = torch.from_numpy(image)[None, None]
    found = warp(tensor, matrix[None])
    # SciPy and torch blend differently with the outside within a pixel of the border
    inside = ndimage.affine_transform(
        np.pad(np.ones(np.subtract(image.shape, 2)), 1), matrix, centre - matrix @ centre, order=1
    )
    assert np.abs(found[0, 0].numpy() - expected)[inside > 0.999].max() < 1e-3


def test_flip_mirrors_left_and_right_only() -> None:
    images = draw_images(4)
    matrices, points = RandomWarp(flip=1, rotate=0, scale=0).draw(4, np.random.RandomState(0))
    assert torch.allclose(warp(images, matrices, points), images.flip(2), atol=1e-4)


@pytest.mark.parametrize("option", ["flip", "rotate", "scale", "elastic"])
def test_drawn_warps_stay_within_what_was_asked(option: str) -> None:
    still = {"flip": 0.0, "rotate": 0.0, "scale": 0.0, "elastic": 0.0}
    largest = {"flip": 0.5, "rotate": 20.0, "scale": 0.5, "elastic": 3.0}
    matrices, points = RandomWarp(**(still | {option: largest[option]})).draw(500, np.random.RandomState(0))
    zooms, angles = (
        np.sqrt(np.abs(np.linalg.det(matrices))),
        np.rad2deg(np.arctan2(matrices[:, 1, 0], matrices[:, 1, 1])),
    )
    mirrored = np.linalg.det(matrices) < 0
    assert (mirrored.mean() == pytest.approx(0.5, abs=0.07)) if option == "flip" else not mirrored.any()
    for name, drawn, least, most in (
        ("rotate", angles, -20, 20), ("scale", zooms, 1 / 1.5, 1.5), ("elastic", points, -3, 3)
    ):  # fmt: skip
        if name == option:
            assert least <= drawn.min() < least + 0.1 * (most - least)
            assert most - 0.1 * (most - least) < drawn.max() <= most
        else:
            assert np.ptp(drawn) == pytest.approx(0, abs=1e-9)


def make_image(size: tuple[int, int]) -> torch.Tensor:
    smooth = ndimage.gaussian_filter(np.random.default_rng(1).normal(size=size), 1.5)
    return torch.from_numpy(smooth).float()[None]


@settings(max_examples=10, deadline=None)
@given(angle=st.floats(-3, 3), zoom=st.floats(0.7, 1.4), size=st.tuples(st.integers(20, 40), st.integers(20, 40)))
def test_each_slice_of_a_batch_is_turned_as_monai_turns_it_alone(
    angle: float, zoom: float, size: tuple[int, int]
) -> None:
    images = torch.stack([make_image(size), make_image(size).flip(1)])
    matrix = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]])
    found = warp(images, np.stack([np.eye(2), matrix / zoom]))
    options = {
        "rotate_params": angle,
        "scale_params": (1 / zoom, 1 / zoom),
        "padding_mode": "zeros",
        "image_only": True,
    }
    expected = Affine(**options)(images[1])
    assert torch.allclose(found[0], images[0], atol=1e-5)
    assert torch.allclose(found[1], torch.as_tensor(expected), atol=1e-3)


@settings(max_examples=10, deadline=None)
@given(size=st.tuples(st.integers(12, 40), st.integers(12, 40)), seed=st.integers(0, 99))
def test_displacements_are_those_of_a_dense_field_of_monai(size: tuple[int, int], seed: int) -> None:
    points = np.random.default_rng(seed).uniform(-3, 3, (2, 2, ELASTIC_POINTS, ELASTIC_POINTS))
    field = interpolate(torch.from_numpy(points).float(), size, mode="bicubic", align_corners=True)
    images = torch.stack([make_image(size), make_image(size).flip(2)])
    found = warp(images, np.eye(2)[None].repeat(2, 0), points)
    expected = Warp(mode="bilinear", padding_mode="zeros")(images, field)
    assert torch.allclose(found, expected, atol=1e-4)


@settings(max_examples=15, deadline=None)
@given(x=st.integers(-3, 12), y=st.integers(-3, 12), wide=st.integers(1, 6))
def test_a_patch_without_scaling_is_a_crop_with_zeros_from_outside(x: int, y: int, wide: int) -> None:
    images = draw_images(1, (9, 11))
    center = np.array([[x + (wide - 1) / 2, y + 1.0]])
    found = resample(images, center, np.ones((1, 2)), [wide, 3])
    padded = torch.nn.functional.pad(images, (20, 20, 20, 20))
    assert torch.allclose(found, padded[..., 20 + x : 20 + x + wide, 20 + y : 23 + y], atol=1e-5)


def test_a_pixel_of_twice_the_size_is_the_mean_of_the_four_that_it_covers() -> None:
    images = draw_images(2, (16, 12))
    centers = np.array([[7.5, 5.5]] * 2)
    found = resample(images, centers, np.full((2, 2), 2.0), [8, 6])
    assert torch.allclose(found, torch.nn.functional.avg_pool2d(images, 2), atol=1e-5)
