"""Batch augmentation against SciPy's resampling and its own promises."""

from __future__ import annotations

import math

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import ndimage

from monai_brainseg.augment import BatchAugmentation, change_contrast, drop_sequences, warp

CPU = torch.device("cpu")


def make_batch(count: int = 4, size: tuple[int, int] = (32, 24)) -> dict[str, torch.Tensor]:
    rng = np.random.default_rng(0)
    images = torch.from_numpy(rng.uniform(0, 2, (count, 3, *size))).float()
    return {"image": images, "label": (images[:, 1:2] > 1.5).byte()}


def keep_still(**changed: float) -> BatchAugmentation:
    return BatchAugmentation(
        **({"flip": 0, "rotate": 0, "scale": 0, "gain": 0, "gamma": 0, "noise": 0, "drop": 0} | changed)
    )


@settings(max_examples=20, deadline=None)
@given(angle=st.floats(-3, 3), zoom=st.floats(0.7, 1.4), wide=st.integers(20, 40))
def test_warp_looks_up_where_scipy_does_also_in_oblong_slices(angle: float, zoom: float, wide: int) -> None:
    image = ndimage.gaussian_filter(np.random.default_rng(1).normal(size=(wide, 30)), 2).astype(np.float32)
    matrix = np.array([[math.cos(angle), -math.sin(angle)], [math.sin(angle), math.cos(angle)]]) / zoom
    centre = (np.array(image.shape) - 1) / 2
    expected = ndimage.affine_transform(image, matrix, centre - matrix @ centre, order=1, mode="constant")
    tensor = torch.from_numpy(image)[None, None]
    found, _ = warp(tensor, tensor, torch.from_numpy(matrix).float()[None])
    # SciPy and torch blend differently with the outside within a pixel of the border
    inside = ndimage.affine_transform(
        np.pad(np.ones(np.subtract(image.shape, 2)), 1), matrix, centre - matrix @ centre, order=1
    )
    assert np.abs(found[0, 0].numpy() - expected)[inside > 0.999].max() < 1e-3


def test_no_change_asked_is_no_change_made() -> None:
    batch = make_batch()
    images, masks = keep_still()(batch, CPU)
    assert torch.allclose(images, batch["image"], atol=1e-5)
    assert torch.equal(masks, batch["label"].float())


def test_flip_mirrors_left_and_right_only() -> None:
    batch = make_batch()
    images, masks = keep_still(flip=1)(batch, CPU)
    assert torch.allclose(images, batch["image"].flip(2), atol=1e-4)
    assert torch.equal(masks, batch["label"].float().flip(2))


def test_masks_stay_masks_and_move_with_their_images() -> None:
    batch = make_batch(16)
    batch["image"] = batch["label"].float().expand(-1, 3, -1, -1).contiguous()
    augmentation = BatchAugmentation(gain=0, gamma=0, noise=0)
    augmentation.set_random_state(3)
    images, masks = augmentation(batch, CPU)
    assert set(masks.unique().tolist()) <= {0.0, 1.0}
    assert ((images[:, 1:2] > 0.5) == (masks > 0.5)).float().mean() > 0.9


def test_same_seed_same_batch_and_another_seed_another() -> None:
    augmentation, batch = BatchAugmentation(), make_batch()
    drawn = []
    for seed in (1, 1, 2):
        augmentation.set_random_state(seed)
        drawn.append(augmentation(batch, CPU)[0])
    assert torch.equal(drawn[0], drawn[1])
    assert not torch.equal(drawn[0], drawn[2])


def test_slices_of_a_batch_change_each_in_their_own_way() -> None:
    batch = {name: item[:1].expand(3, -1, -1, -1) for name, item in make_batch().items()}
    augmentation = BatchAugmentation()
    augmentation.set_random_state(0)
    images, _ = augmentation(batch, CPU)
    assert not torch.allclose(images[0], images[1], atol=0.1)


def test_contrast_keeps_background_and_tissue_median() -> None:
    values = torch.tensor([0.0, 1.0]).reshape(1, 1, 1, 2)
    changed = change_contrast(values, torch.tensor(1.0), torch.tensor(1.4))
    assert changed.flatten().tolist() == [0.0, 1.0]


@pytest.mark.parametrize(("drop", "equal"), [(1.0, True), (0.0, False)])
def test_dropped_sequences_equal_flair_exactly(drop: float, equal: bool) -> None:
    images, _ = BatchAugmentation(drop=drop)(make_batch(), CPU)
    assert torch.equal(images[:, 0], images[:, 1]) is equal
    assert torch.equal(images[:, 2], images[:, 1]) is equal


def test_each_sequence_is_dropped_by_itself() -> None:
    images = make_batch(1)["image"]
    without_pre = drop_sequences(images, torch.tensor([[True, False, False]]))
    assert torch.equal(without_pre[:, 0], images[:, 1])
    assert torch.equal(without_pre[:, 1:], images[:, 1:])
