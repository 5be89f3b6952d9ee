"""Batch augmentation against SciPy's resampling and its own promises."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from monai.networks.blocks import Warp
from monai.networks.layers import gaussian_1d
from monai.transforms import Affine, RandBiasField, RandScaleIntensity
from scipy import ndimage
from torch.nn.functional import interpolate

from monai_brainseg.training.augment import (
    ELASTIC_POINTS,
    IntensityAugmentation,
    RandomWarp,
    blur,
    change_contrast,
    draw_bias_fields,
    drop_sequences,
    resample,
)

CPU = torch.device("cpu")


def make_batch(count: int = 4, size: tuple[int, int] = (32, 24)) -> dict[str, torch.Tensor]:
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.uniform(0, 2, (count, 3, *size))).float()
    return {"image": images, "label": (images[:, 1:2] > 1.5).float()}


def keep_still(**changed: float) -> IntensityAugmentation:
    return IntensityAugmentation(**({"gain": 0, "gamma": 0, "noise": 0, "drop": 0} | changed))


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


def test_no_change_asked_is_no_change_made() -> None:
    batch = make_batch()
    images, masks = keep_still()(batch, CPU)
    assert torch.allclose(images, batch["image"], atol=1e-5)
    assert torch.equal(masks, batch["label"])


def test_flip_mirrors_left_and_right_only() -> None:
    images = make_batch()["image"]
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


def test_same_seed_same_batch_and_another_seed_another() -> None:
    augmentation, batch = IntensityAugmentation(), make_batch()
    drawn = []
    for seed in (1, 1, 2):
        augmentation.set_random_state(seed)
        drawn.append(augmentation(batch, CPU)[0])
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_slices_of_a_batch_change_each_in_their_own_way() -> None:
    batch = {name: item[:1].expand(3, -1, -1, -1) for name, item in make_batch().items()}
    augmentation = IntensityAugmentation()
    augmentation.set_random_state(0)
    images, _ = augmentation(batch, CPU)
    assert not torch.allclose(images[0], images[1], atol=0.1)


def test_contrast_keeps_background_and_tissue_median() -> None:
    values = torch.tensor([0.0, 1.0]).reshape(1, 1, 1, 2)
    changed = change_contrast(values, torch.tensor(1.0), torch.tensor(1.4))
    assert changed.flatten().tolist() == [0.0, 1.0]


@pytest.mark.parametrize(("drop", "equal"), [(1.0, True), (0.0, False)])
def test_dropped_sequences_equal_flair_exactly(drop: float, equal: bool) -> None:
    images, _ = IntensityAugmentation(drop=drop)(make_batch(), CPU)
    assert torch.equal(images[:, 0], images[:, 1]) is equal
    assert torch.equal(images[:, 2], images[:, 1]) is equal


def test_each_sequence_is_dropped_by_itself() -> None:
    images = make_batch(1)["image"]
    without_pre = drop_sequences(images, torch.tensor([[True, False, False]]))
    assert torch.equal(without_pre[:, 0], images[:, 1])
    assert torch.equal(without_pre[:, 1:], images[:, 1:])


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


def test_each_sequence_is_blurred_by_the_kernel_of_monai_for_its_sigma() -> None:
    images, sigmas = make_batch(2)["image"], torch.tensor([[0.0, 0.5, 1.0], [0.9, 0.2, 0.7]])
    assert torch.equal(blur(images, sigmas, radius=5)[0, 0], images[0, 0])
    sigmas[0, 0] = 0.1
    found = blur(images, sigmas, radius=5)
    for number, image in enumerate(images):
        for channel, sequence in enumerate(image):
            sigma = float(sigmas[number, channel])
            kernel = gaussian_1d(torch.tensor(sigma), truncated=5 / sigma, approx="sampled", normalize=True).numpy()
            expected = ndimage.convolve1d(sequence.numpy(), kernel, axis=0, mode="nearest")
            expected = ndimage.convolve1d(expected, kernel, axis=1, mode="nearest")
            assert found[number, channel].numpy() == pytest.approx(expected, abs=1e-5)


def test_bias_fields_are_those_of_monai_for_the_same_coefficients() -> None:
    coefficients = torch.from_numpy(np.random.default_rng(0).uniform(-0.2, 0.2, (2, 3, 4, 4))).float()
    stock = RandBiasField(degree=3)
    places = [(i, j) for i in range(4) for j in range(i + 1)]  # that MONAI's 2D fields have
    kept = [(i, j) for i, j in places if i + j <= 3]
    coefficients = coefficients * torch.tensor([[float((i, j) in kept) for j in range(4)] for i in range(4)])
    fields = draw_bias_fields(coefficients, (20, 31))
    for number in range(2):
        for channel in range(3):
            listed = [float(coefficients[number, channel, i, j]) for i, j in places]
            expected = np.exp(stock._generate_random_field((20, 31), 3, listed))
            assert fields[number, channel].numpy() == pytest.approx(expected, rel=1e-5)


def test_bias_fields_are_smooth_the_degrees_of_a_product_add_up_to_three_at_most() -> None:
    only = torch.zeros(1, 1, 4, 4)
    for i, j in [(i, j) for i in range(4) for j in range(4)]:
        only.zero_()[0, 0, i, j] = 0.3
        assert bool((draw_bias_fields(only, (16, 16)) != 1).any()) is (i + j <= 3)


def test_gain_is_the_factor_of_monai() -> None:
    image = make_batch(1)["image"]
    stock = RandScaleIntensity(factors=(0.3, 0.3), prob=1)
    expected = torch.as_tensor(stock(image[0]))
    assert torch.allclose(change_contrast(image, torch.tensor(1.3), torch.tensor(1.0))[0], expected, atol=1e-5)


@pytest.mark.parametrize("option", ["bias", "blur", "gain", "gamma", "noise"])
def test_intensities_change_and_the_mask_stays(option: str) -> None:
    augmentation, batch = keep_still(**{option: 1.5}), make_batch(2, (48, 48))
    augmentation.set_random_state(0)
    images, masks = augmentation(batch, CPU)
    assert not torch.allclose(images, batch["image"], atol=0.05)
    assert images.min() >= 0
    assert torch.equal(masks, batch["label"])


@settings(max_examples=15, deadline=None)
@given(x=st.integers(-3, 12), y=st.integers(-3, 12), wide=st.integers(1, 6))
def test_a_patch_without_scaling_is_a_crop_with_zeros_from_outside(x: int, y: int, wide: int) -> None:
    images = make_batch(1, (9, 11))["image"]
    center = np.array([[x + (wide - 1) / 2, y + 1.0]])
    found = resample(images, center, np.ones((1, 2)), [wide, 3])
    padded = torch.nn.functional.pad(images, (20, 20, 20, 20))
    assert torch.allclose(found, padded[..., 20 + x : 20 + x + wide, 20 + y : 23 + y], atol=1e-5)


def test_a_pixel_of_twice_the_size_is_the_mean_of_the_four_that_it_covers() -> None:
    images = make_batch(2, (16, 12))["image"]
    centers = np.array([[7.5, 5.5]] * 2)
    found = resample(images, centers, np.full((2, 2), 2.0), [8, 6])
    assert torch.allclose(found, torch.nn.functional.avg_pool2d(images, 2), atol=1e-5)


def test_the_rim_of_the_head_is_blanked_in_images_and_masks_of_some_slices_alone() -> None:
    x, y = torch.meshgrid(torch.arange(64.0), torch.arange(64.0), indexing="ij")
    head = ((x - 32) ** 2 + (y - 30) ** 2 < 25**2).float()
    ventricle = ((x - 32) ** 2 + (y - 30) ** 2 < 5**2).float()
    images = (head - ventricle).repeat(200, 3, 1, 1)
    masks = head.repeat(200, 1, 1, 1)
    augmentation = IntensityAugmentation(gain=0, gamma=0, noise=0, drop=0, skull=0.3)
    augmentation.set_random_state(0)
    changed, kept = augmentation({"image": images, "label": masks}, torch.device("cpu"))
    cut = (changed != images).flatten(1).any(1)
    assert 0.2 < cut.float().mean() < 0.4
    distance = torch.from_numpy(ndimage.distance_transform_cdt(head.numpy(), "chessboard"))
    depths = set()
    for image, mask in zip(changed[cut], kept[cut], strict=True):
        rim = int(distance[(image[0] == 0) & (head > ventricle)].max())
        assert torch.equal(image, images[0] * (distance > rim))  # the ventricle, dark as air, is inside the head
        assert torch.equal(mask[0], (distance > rim).float())
        depths.add(rim)
    assert depths == set(range(3, 10))
    assert torch.equal(kept[~cut], masks[~cut])
