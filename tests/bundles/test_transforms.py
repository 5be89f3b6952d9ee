"""The bundle's own transforms, one by one, against what their docstrings say."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from brainseg_unet_scripts.errors import BundleError
from brainseg_unet_scripts.transforms import (
    ApplyOperatingPointd,
    ExpandSequencesd,
    FillOutsided,
    RemoveMinorComponentsd,
    ResampleSlicesd,
    ScaleToGreyd,
    ScaleToTissued,
    SmoothSlicesd,
    TumorProbabilityd,
)
from monai.data import CacheDataset, MetaTensor
from monai.transforms import Compose, EnsureChannelFirstd, Invertd, LoadImaged, MapTransform


def apply(transform: MapTransform, volume: torch.Tensor) -> torch.Tensor:
    return transform({"pred": volume})["pred"]


def test_slices_are_smoothed_with_their_neighbours_and_a_single_one_is_left_alone() -> None:
    probability = torch.zeros(1, 2, 2, 4)
    probability[0, 0, 0] = torch.tensor([1.0, 0.0, 0.0, 0.8])
    smooth = SmoothSlicesd(keys="pred")
    assert torch.allclose(apply(smooth, probability)[0, 0, 0], torch.tensor([0.75, 0.25, 0.2, 0.6]))
    assert torch.equal(apply(smooth, probability[..., :1]), probability[..., :1])


def test_components_below_a_share_of_the_largest_are_removed_whatever_their_voxels() -> None:
    remove = RemoveMinorComponentsd(keys="pred", min_share=0.1)
    mask = torch.zeros(1, 20, 20, 12)
    mask[0, :10, :10, :10] = 1
    whole = mask.clone()
    mask[0, 12:16, 12:16, 2:8] = 1  # 96 of 1000 voxels
    assert torch.equal(torch.as_tensor(apply(remove, mask.clone())), whole)
    mask[0, 12:16, 12:16, 2:9] = 1  # 112 of them
    assert torch.equal(torch.as_tensor(apply(remove, mask.clone())), mask)
    for share in (0.0, 0.112, 1.0):  # none is below the first two, and the largest is not below itself
        kept = apply(RemoveMinorComponentsd(keys="pred", min_share=share), mask.clone())
        assert torch.equal(torch.as_tensor(kept), whole if share == 1 else mask)
    assert not apply(remove, torch.zeros(1, 4, 4, 4)).any()


def test_tissue_has_a_median_of_one_and_the_background_is_zero_whatever_the_unit() -> None:
    generator = torch.Generator().manual_seed(0)
    brain = torch.zeros(2, 40, 40, 8)
    brain[:, 8:32, 8:32] = 100 + 20 * torch.rand(2, 24, 24, 8, generator=generator)
    once = apply(ScaleToTissued(keys="pred"), brain)
    assert torch.allclose(once, apply(ScaleToTissued(keys="pred"), 37 * brain), atol=1e-5)
    for channel in once:
        assert channel[0, 0, 0] == 0
        assert channel[8:32, 8:32].median() == pytest.approx(1)


def test_noise_around_zero_is_scaled_as_that_of_a_magnitude_image_and_standardised_images_as_before() -> None:
    generator = torch.Generator().manual_seed(0)
    brain = torch.zeros(1, 40, 40, 8)
    brain[:, 8:32, 8:32] = 100 + 20 * torch.rand(1, 24, 24, 8, generator=generator)
    noisy = brain + 15 * torch.randn(brain.shape, generator=generator)
    scale = ScaleToTissued(keys="pred")
    assert torch.equal(torch.as_tensor(apply(scale, noisy)), torch.as_tensor(apply(scale, noisy.abs())))
    standardised = (brain - brain.mean()) / brain.std()
    assert torch.allclose(apply(scale, standardised), apply(scale, brain), atol=1e-5)
    head = brain[:, 4:36, 4:36] > 0
    values = brain[:, 4:36, 4:36]
    within = torch.where(head, (values - values[head].mean()) / values[head].std(), 0)  # background 0 beside negatives
    assert (torch.as_tensor(apply(scale, within))[head].diff() * within[head].diff() >= 0).all()


def test_probability_is_the_softmax_of_the_second_class_and_is_cut_at_the_operating_point() -> None:
    logits = torch.randn(2, 5, 5, 3)
    probability = apply(TumorProbabilityd(keys="pred"), logits)
    assert torch.allclose(probability, torch.sigmoid(logits[1:] - logits[:1]), atol=1e-6)
    points = {"balanced": 0.5, "recall": 0.2}
    assert torch.equal(apply(ApplyOperatingPointd("pred", points, "recall"), probability), probability >= 0.2)
    with pytest.raises(BundleError, match="^--operating_point high: must be balanced or recall$"):
        ApplyOperatingPointd("pred", points, "high")


def test_one_sequence_stands_in_for_three_and_another_number_is_refused_by_file() -> None:
    assert torch.equal(apply(ExpandSequencesd(keys="pred"), torch.ones(1, 2, 2, 2)), torch.ones(3, 2, 2, 2))
    volume = MetaTensor(torch.ones(5, 2, 2, 2), meta={"filename_or_obj": "scans/a.nii"})
    with pytest.raises(BundleError, match="^scans/a.nii: holds 5 sequences"):
        apply(ExpandSequencesd(keys="pred"), volume)


@pytest.mark.parametrize("value", [float("nan"), float("inf")])
def test_voxels_that_are_no_numbers_are_refused_by_file(value: float) -> None:
    volume = MetaTensor(torch.ones(1, 7, 7, 3), meta={"filename_or_obj": "scans/a.nii"})
    assert apply(FillOutsided(keys="pred"), volume) is volume
    volume[0, 3, 3, 1] = value
    with pytest.raises(BundleError, match="^scans/a.nii: holds NaN or infinite voxels"):
        apply(FillOutsided(keys="pred"), volume)


def test_nan_outside_the_head_is_background_and_said(caplog: pytest.LogCaptureFixture) -> None:
    distance = np.hypot(*(np.mgrid[:40, :40] - 20))[..., None].repeat(10, 2)
    noise = np.random.default_rng(0).normal(0, 2, distance.shape)
    head = torch.as_tensor(np.where(distance < 14, 100, 3) + noise, dtype=torch.float32)
    hidden = torch.as_tensor(distance > 15)
    affine = torch.diag(torch.tensor([2.0, 2, 5, 1]))
    volume = MetaTensor(torch.stack([head, head]), affine=affine, meta={"filename_or_obj": "scans/a.nii"})
    volume[1, hidden] = torch.nan
    filled = apply(FillOutsided(keys="pred"), volume)
    assert torch.equal(filled[0], head)
    assert torch.equal(filled[1], head.masked_fill(hidden, min(0, head[~hidden].min().item())))
    assert isinstance(filled, MetaTensor) and torch.equal(filled.affine, volume.affine)
    assert "scans/a.nii: NaN or infinite voxels outside the head are taken as background" in caplog.text


def test_grey_is_the_weighted_sum_of_three_sequences_and_a_single_one_itself() -> None:
    colours = torch.tensor([255.0, 0.0, 51.0])[:, None, None, None]
    assert apply(ScaleToGreyd(keys="pred"), colours).item() == pytest.approx((0.299 + 0.114 / 5) * 2 - 1)
    assert apply(ScaleToGreyd(keys="pred"), torch.full((1, 1, 1, 1), 255.0)).item() == pytest.approx(1)


AFFINES = {
    "axes": np.diag([-0.8, -1.2, 5, 1]),
    "oblique and sheared": np.array([[-0.9, 0.1, 0.6, 9], [-0.2, -1.1, 0.7, 8], [-0.2, 0.3, 4, -4], [0, 0, 0, 1]]),
}


@pytest.mark.parametrize("name", AFFINES)
def test_resampled_slices_cover_the_same_ground_and_are_brought_back(name: str, tmp_path: Path) -> None:
    x, y, z = np.meshgrid(np.arange(50), np.arange(40), np.arange(6), indexing="ij")
    voxels = (np.sin(x / 9) + np.cos(y / 7) + z).astype(np.float32)
    nib.save(nib.Nifti1Image(voxels, AFFINES[name]), tmp_path / "a.nii")
    chain = Compose([LoadImaged("image"), EnsureChannelFirstd("image"), ResampleSlicesd("image", pixel_size=2.0)])
    data = chain({"image": tmp_path / "a.nii", "image_path": "what MONAI Label adds"})
    image, spacing = data["image"], np.linalg.norm(AFFINES[name][:3, :3], axis=0)
    assert image.pixdim.tolist() == pytest.approx([2, 2, spacing[2]])
    assert image.shape[3] == 6
    corner = AFFINES[name] @ [-0.5, -0.5, 0, 1]  # where the first pixel begins
    assert np.allclose(image.affine @ torch.tensor([-0.5, -0.5, 0, 1], dtype=torch.float64), corner)
    back = Invertd("pred", chain, "image", nearest_interp=False, to_tensor=True)({**data, "pred": image.clone()})[
        "pred"
    ]
    assert back.shape == (1, 50, 40, 6)
    assert np.allclose(back.affine, AFFINES[name])
    assert np.abs(back[0, 2:-2, 2:-2].numpy() - voxels[2:-2, 2:-2]).max() < 0.1


def test_a_cache_holds_what_was_resampled(tmp_path: Path) -> None:
    """MONAI caches up to the first step that it takes for random."""
    nib.save(nib.Nifti1Image(np.ones((8, 8, 2), np.float32), np.eye(4)), tmp_path / "a.nii")
    steps = [
        LoadImaged("image"),
        EnsureChannelFirstd("image"),
        ResampleSlicesd("image", 2.0),
        ExpandSequencesd("image"),
    ]
    dataset = CacheDataset([{"image": tmp_path / "a.nii"}], Compose(steps), progress=False)
    assert dataset._cache[0]["image"].shape == (3, 4, 4, 2)
