"""What `benchmarks/left_out.py` does to cases: forms, masks that stay, and what single changes show."""

from __future__ import annotations

import os
from types import ModuleType
from typing import Any

import numpy as np
import pytest
import torch

MOVED = ("turned", "enlarged", "shrunk", "every second", "mirrored", "cropped")


@pytest.fixture
def changes(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module of changes, imported as a program in benchmarks does."""
    monkeypatch.setenv("PYTHONPATH", os.environ.get("PYTHONPATH", ""))
    monkeypatch.syspath_prepend("benchmarks")
    import changes as found

    return found


@pytest.fixture
def stack() -> torch.Tensor:
    """A head of 96 by 96 pixels with a bright disc as tumour, ``[4, x, y, z]``."""
    x, y = torch.meshgrid(torch.arange(96.0), torch.arange(96.0), indexing="ij")
    head = ((x - 48) / 36) ** 2 + ((y - 48) / 42) ** 2 < 1
    tumor = (x - 60) ** 2 + (y - 50) ** 2 < 64
    sequences = [head * (80.0 + 20 * k) + tumor * (60.0 * k) + head * 10 * torch.sin(x / 5) for k in range(3)]
    return torch.stack([*sequences, tumor.float()])[..., None].repeat(1, 1, 1, 6)


def test_every_change_gives_finite_images_and_a_mask_of_one_grid_the_same_each_time(
    changes: Any, stack: torch.Tensor
) -> None:
    for name, change in {key: c for group in changes.GROUPS.values() for key, c in group.items()}.items():
        found, again = (change(stack.clone(), np.random.default_rng(3)) for _ in range(2))
        assert found.shape[0] == 4 and found.ndim == 4, name
        assert torch.isfinite(found).all(), name
        assert set(found[-1].unique().tolist()) <= {0.0, 1.0}, name
        assert torch.equal(found, again), name
        if name in changes.ODD:
            assert not torch.equal(found[:-1], stack[:-1]), name
        if not name.startswith((*MOVED, "no brain")):
            assert torch.equal(found[-1], stack[-1]), name


def test_a_lost_sequence_is_flair_and_flair_is_never_lost(changes: Any, stack: torch.Tensor) -> None:
    for name, lost in (("FLAIR alone", [0, 2]), ("without pre-contrast", [0]), ("without post-contrast", [2])):
        found = changes.SEQUENCES[name](stack, np.random.default_rng(0))
        for sequence in range(3):
            assert torch.equal(found[sequence], stack[1 if sequence in lost else sequence]), name


def test_skull_removal_blanks_twelve_pixels_or_a_little_more_around_the_head(changes: Any, stack: torch.Tensor) -> None:
    found = changes.blank_rim(stack, np.random.default_rng(0))
    profile = (found[1, :, 48, 0] > 0).nonzero()[:, 0]
    before = (stack[1, :, 48, 0] > 0).nonzero()[:, 0]
    for rim in (int(profile.min() - before.min()), int(before.max() - profile.max())):
        assert 12 <= rim <= 16  # a little more where the head is round


def test_motion_keeps_what_the_image_holds_and_ghosts_are_half_a_field_away(changes: Any, stack: torch.Tensor) -> None:
    rng = np.random.default_rng(0)
    spectrum = np.fft.fft2(stack[1].numpy(), axes=(0, 1))
    assert np.abs(changes.move(spectrum, rng)) == pytest.approx(np.abs(spectrum), rel=1e-5)
    point = np.zeros((32, 32, 1))
    point[16, 10] = 1
    ghost = np.abs(np.fft.ifft2(changes.ghost(np.fft.fft2(point, axes=(0, 1)), rng), axes=(0, 1)))[16, :, 0]
    assert set(np.argsort(ghost)[-2:]) == {10, 26}
