"""Random changes of intensities against MONAI's and SciPy's, and their own promises."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from monai.networks.layers import gaussian_1d
from monai.transforms import RandBiasField, RandScaleIntensity
from scipy import ndimage

from monai_brainseg.training.augment import (
    IntensityAugmentation,
    blur,
    change_contrast,
    draw_bias_fields,
    drop_sequences,
)

CPU = torch.device("cpu")


def make_batch(count: int = 4, size: tuple[int, int] = (32, 24)) -> dict[str, torch.Tensor]:
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.uniform(0, 2, (count, 3, *size))).float()
    return {"image": images, "label": (images[:, 1:2] > 1.5).float()}


def keep_still(**changed: float) -> IntensityAugmentation:
    return IntensityAugmentation(**({"gain": 0, "gamma": 0, "noise": 0, "drop": 0} | changed))


def test_no_change_asked_is_no_change_made() -> None:
    batch = make_batch()
    images, masks = keep_still()(batch, CPU)
    assert torch.allclose(images, batch["image"], atol=1e-5)
    assert torch.equal(masks, batch["label"])


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
