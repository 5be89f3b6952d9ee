"""Batches out of volumes: their shares, places, grids and repeatability."""

from __future__ import annotations

import math
from dataclasses import replace

import numpy as np
import pytest
import torch
from scipy import ndimage

from monai_brainseg.errors import InputError
from monai_brainseg.training.device_slices import DeviceSliceDataset, DeviceVolume
from monai_brainseg.training.slice_loaders import SliceLoader
from monai_brainseg.training.warps import RandomWarp

SIZE = (12, 10)


def make_volume(number: int, size: tuple[int, int] = SIZE, depth: int = 6, spacing: float = 1.0) -> DeviceVolume:
    """A volume whose voxels are its number and, in the second channel, the slice's; tumour in one voxel of slice 1."""
    slices = torch.zeros((depth, 4, *size), dtype=torch.float16)
    slices[:, 0], slices[:, 1] = number, torch.arange(depth)[:, None, None]
    slices[:, 2] = torch.arange(size[0])[:, None]
    slices[1, 3, 2, 7] = 1
    return DeviceVolume(slices, np.array([spacing, spacing]), np.array([[1, 2, 7]], np.int16))


def make_loader(volumes: list[DeviceVolume], **options: object) -> SliceLoader:
    dataset = DeviceSliceDataset([], lambda item: item)
    dataset.data = [{}] * len(volumes)
    dataset._volumes = dict(enumerate(volumes))
    given = {"batch_size": 4, "num_samples": 80, "patch_size": SIZE, "pixel_size": 1.0, "tumor_share": 0.5} | options
    loader = SliceLoader(dataset, **given)  # type: ignore[arg-type]
    loader.set_epoch(1)
    loader.set_random_state(0)
    return loader


def test_an_epoch_visits_every_volume_equally_often_in_whole_batches() -> None:
    loader = make_loader([make_volume(number) for number in range(5)])
    batches = list(loader)
    assert len(batches) == len(loader) == 20
    assert {batch["image"].shape for batch in batches} == {(4, 3, *SIZE)}
    assert {batch["label"].shape for batch in batches} == {(4, 1, *SIZE)}
    visited = torch.cat([batch["image"][:, 0, 5, 5] for batch in batches])
    assert visited.long().bincount().tolist() == [16] * 5


@pytest.mark.parametrize("share", [0.0, 0.5, 1.0])
def test_the_share_of_slices_centred_on_tumour_is_what_was_asked(share: float) -> None:
    loader = make_loader([make_volume(0, depth=60)], tumor_share=share, num_samples=2000)
    slices = torch.cat([batch["image"][:, 1, 5, 5] for batch in loader])
    deviation = 4 * math.sqrt(share * (1 - share) / 2000)
    assert (slices == 1).float().mean() == pytest.approx(share, abs=deviation + 0.04)


def test_a_volume_without_tumour_gives_slices_too() -> None:
    empty = make_volume(0)
    loader = make_loader([DeviceVolume(empty.slices, empty.spacing, empty.tumor[:0])], tumor_share=1.0)
    assert len({float(batch["image"][0, 1, 5, 5]) for batch in loader}) > 3


def test_a_patch_holds_its_tumour_and_stays_within_the_slice() -> None:
    loader = make_loader([make_volume(0)], patch_size=(6, 4), tumor_share=1.0)
    for batch in loader:
        assert batch["label"].sum((1, 2, 3)).tolist() == [1] * 4
        assert batch["image"][:, 2, 0, 0].tolist() == [0] * 4  # the patch would begin at -1
        assert batch["image"][:, 2, -1, 0].tolist() == [5] * 4


def test_a_larger_patch_is_the_slice_in_the_middle_of_zeros() -> None:
    batch = next(iter(make_loader([make_volume(1)], patch_size=(16, 16))))
    assert torch.allclose(batch["image"][:, 0, 2:14, 3:13], torch.ones(4, *SIZE))
    assert batch["image"][:, 0].sum((1, 2)).tolist() == pytest.approx([120] * 4)


def test_volumes_of_other_sizes_and_spacings_share_a_batch_on_one_grid() -> None:
    volumes = [make_volume(1), make_volume(1, size=(24, 20), spacing=0.5), make_volume(1, size=(8, 30), spacing=1.0)]
    loader = make_loader(volumes, pixel_size=2.0, patch_size=(8, 16))
    areas = {round(float(area), 3) for batch in loader for area in batch["image"][:, 0].sum((1, 2))}
    assert areas == {6 * 5.0, 4 * 15.0}  # 12x10 mm twice, and 8x30 mm, in pixels of 2 mm


def test_an_oblong_slice_of_oblong_pixels_is_looked_up_where_scipy_does() -> None:
    image = ndimage.gaussian_filter(np.random.default_rng(0).normal(size=(40, 30)), 2).astype(np.float32)
    slices = torch.from_numpy(image).half().expand(1, 4, -1, -1)
    volume = DeviceVolume(slices, np.array([0.9, 1.7]), np.zeros((0, 3), np.int16))
    warp = RandomWarp(rotate=40, scale=0.2, elastic=0)
    loader = make_loader([volume], patch_size=(48, 56), pixel_size=1.0, warp=warp, num_samples=4)
    (batch,) = loader
    replayed = np.random.RandomState(0)
    replayed.permutation([0])
    for _ in range(3):
        replayed.permutation([0])
    for _ in range(4):
        replayed.randint([1, 40, 30])
    matrices, _ = warp.draw(4, replayed)
    # The patch is larger than the slice, whose centre it has, but for the step to where a pixel begins.
    scales = np.array([1 / 0.9, 1 / 1.7])
    extents = np.array([48, 56]) * scales
    centre = np.round((np.array([40, 30]) - extents) / 2) + extents / 2 - 0.5
    for found, matrix in zip(batch["image"][:, 0].numpy(), matrices, strict=True):
        linear = scales[:, None] * matrix
        offset = centre - linear @ ((np.array([48, 56]) - 1) / 2)
        expected = ndimage.affine_transform(slices[0, 0].float().numpy(), linear, offset, (48, 56), order=1)
        inside = ndimage.affine_transform(np.pad(np.ones((38, 28)), 1), linear, offset, (48, 56), order=1)
        assert np.abs(found - expected)[inside > 0.999].max() < 1e-3
        assert (inside > 0.999).sum() > 300


def test_a_seed_gives_the_same_batches_again_and_another_seed_others() -> None:
    loader = make_loader([make_volume(0, depth=40)], warp=RandomWarp(elastic=2))
    drawn = []
    for seed in (1, 1, 2):
        loader.set_random_state(seed)
        drawn.append([batch["image"] for batch in loader])
    assert all(torch.equal(one, other) for one, other in zip(*drawn[:2], strict=True))
    assert not all(torch.equal(one, other) for one, other in zip(*drawn[1:], strict=True))


def test_labels_stay_labels_when_slices_are_warped() -> None:
    loader = make_loader([make_volume(0)], warp=RandomWarp(rotate=90, scale=0.5, elastic=3))
    assert {float(value) for batch in loader for value in batch["label"].unique()} <= {0.0, 1.0}


def test_sources_get_their_share_of_the_slices_and_volumes_of_a_source_equally_many() -> None:
    volumes = [replace(make_volume(number), source=source) for number, source in enumerate(["a", "a", "a", "b"])]
    loader = make_loader(volumes, shares={"a": 0.25, "b": 0.75}, num_samples=48)
    visited = torch.cat([batch["image"][:, 0, 5, 5] for batch in loader])
    assert visited.long().bincount().tolist() == [4, 4, 4, 36]
    assert len(visited[:24].unique()) == 4  # in no order of sources
    with pytest.raises(InputError, match="--source_shares"):
        next(iter(make_loader(volumes, shares={"other": 1.0})))


def test_thin_slices_are_averaged_as_thick_ones_show_them_and_thick_or_unknown_ones_stay() -> None:
    volume = make_volume(0, depth=20)
    thin = replace(volume, thickness=1.0)
    loader = make_loader([thin], thickest=3.0)
    numbers = {float(loader._draw_slice(thin, 7)[1, 0, 0]) for _ in range(50)}
    assert numbers == {7.0, 6.5}  # the mean numbers of 1 and 3 slices, and of 2
    for thickness in (3.0, 5.0, math.inf):
        assert torch.equal(loader._draw_slice(replace(volume, thickness=thickness), 7), volume.slices[7])
    first = loader._draw_slice(thin, 0)[1, 0, 0]
    assert 0 <= first <= 1  # a thick slice stays within the volume
