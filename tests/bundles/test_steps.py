"""The U-Net bundle's steps around its network, as its config puts them together: pixel size, flips, holes."""

from __future__ import annotations

from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from monai.transforms import Compose, EnsureChannelFirstd, FillHolesd, LoadImaged, RemoveSmallObjectsd
from support.bundle_runs import load


def test_flipping_gives_a_mirrored_volume_the_mirrored_answer() -> None:
    network = torch.nn.Conv2d(3, 2, 3, padding=1)
    images = torch.rand(1, 3, 32, 24, 3)
    answers = {}
    for flip in (True, False):
        parser = ConfigParser(load("inference.yaml"))
        parser.update({"flip": flip, "patch_size": [16, 16]})
        inferer = parser.get_parsed_content("inferer")
        answers[flip] = (inferer(images, network), inferer(images.flip(2), network).flip(2))
    assert torch.allclose(*answers[True], atol=1e-5)
    assert not torch.allclose(*answers[False], atol=1e-2)


def test_postprocessing_steps_are_named_and_can_be_switched_off() -> None:
    parser = ConfigParser(load("inference.yaml"))
    off = {"fill_holes": False, "remove_small": False}
    parser.update(off)
    plain = parser.get_parsed_content("postprocessing").transforms
    parser = ConfigParser(load("inference.yaml"))
    parser.update({"smooth_slices": True})
    full = parser.get_parsed_content("postprocessing").transforms
    names = [type(step).__name__ for step in full]
    first = names.index("FillHolesd")
    assert names[first + 1 : first + 3] == ["RemoveSmallObjectsd", "RemoveMinorComponentsd"]
    smoothing = names.index("Invertd") - 1
    assert [type(step).__name__ for step in plain] == names[:smoothing] + names[smoothing + 1 : first] + names[
        first + 3 :
    ]


def test_network_sees_pixels_of_one_size_whatever_the_file_has(tmp_path: Path) -> None:
    """At 1 mm each pixel of 2 mm is the mean of the four in it; files of other spacing show the head as large."""
    parser = ConfigParser(load("inference.yaml"))
    chain = parser.get_parsed_content("preprocessing").transforms
    names = [type(step).__name__ for step in chain]
    resample = chain[names.index("Orientationd") : names.index("ResampleSlicesd") + 1]
    for spacing, size in ((1.0, 64), (0.5, 128), (0.8, 80)):
        ramp = np.arange(size, dtype=np.float32)[:, None, None] * np.ones((1, size, 5), dtype=np.float32)
        nib.save(nib.Nifti1Image(ramp, np.diag([-spacing, -spacing, 6, 1])), tmp_path / "ramp.nii")
        data = Compose([LoadImaged("image"), EnsureChannelFirstd("image"), *resample])({"image": tmp_path / "ramp.nii"})
        expected = (np.arange(32) * 2 + 0.5) * 1.0 if spacing == 1 else (np.arange(32) * 2 + 1) / spacing - 0.5
        assert data["image"].shape[1] in (32, 33)
        assert data["image"].shape[3] == 5
        assert data["image"].pixdim.tolist() == pytest.approx([2, 2, 6])
        assert data["image"][0, :32, 7, 2].numpy() == pytest.approx(expected, abs=1e-3)


def test_holes_are_filled_and_specks_removed() -> None:
    parser = ConfigParser(load("inference.yaml"))
    chain = parser.get_parsed_content("postprocessing").transforms
    steps = [step for step in chain if isinstance(step, FillHolesd | RemoveSmallObjectsd)]
    assert len(steps) == 2
    mask = torch.zeros(1, 20, 20, 10)
    mask[0, 3:12, 3:12, 2:9] = 1
    whole = mask.clone()
    mask[0, 6, 6, 5] = 0
    mask[0, 16:18, 16:18, 1] = 1
    data = {"pred": mask}
    for step in steps:
        data = step(data)
    assert torch.equal(torch.as_tensor(data["pred"]), whole)
