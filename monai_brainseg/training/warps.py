"""Slices cut, scaled and warped into patches by one resampling, on the device that trains."""

from __future__ import annotations

import math
from collections.abc import Sequence
from functools import lru_cache

import numpy as np
import torch
from torch.nn.functional import grid_sample, interpolate

ELASTIC_POINTS = 6  # that are displaced along each side; the pixels between them follow smoothly


def resample(
    slices: torch.Tensor,
    centers: np.ndarray,
    scales: np.ndarray,
    size: Sequence[int],
    warp: tuple[np.ndarray, np.ndarray] | None = None,
) -> torch.Tensor:
    """Cut, pad, scale and warp slices into patches by one linear resampling, with zeros from outside.

    A pixel of the patch at the offset ``o`` from its centre, (x, y), shows the slice at
    ``center + scale * (matrix @ o + displacement(o))``.

    Args:
        slices: ``[batch, channel, x, y]``, floating point.
        centers: ``[batch, 2]``, where the patch's centre lies in the slice, in pixels of the slice.
        scales: ``[batch, 2]``, pixels of the slice that a pixel of the patch is wide, along x and y.
        size: (x, y) of the patches.
        warp: matrices ``[batch, 2, 2]`` and displacements in pixels of the patch, along x and y, of a grid of points
            that spans the patch, ``[batch, 2, n, n]``, between which cubic interpolation follows; None for none.

    Returns:
        ``[batch, channel, *size]``.
    """
    count, extents = len(slices), np.array(slices.shape[2:])
    matrices, points = warp if warp is not None else (np.eye(2)[None].repeat(count, 0), np.zeros((count, 2, 1, 1)))
    step = (scales * 2 / extents)[:, :, None]  # torch's coordinates run from -1 to 1 across a slice
    first = ((centers + 0.5) * 2 / extents - 1)[:, :, None]
    numbers = np.concatenate([first, step * matrices, step * points.reshape(count, 2, -1)], 2)
    # torch names a position by its last axis first
    drawn = torch.from_numpy(np.ascontiguousarray(numbers[:, ::-1], np.float32)).to(slices.device)
    along = [torch.arange(n, device=slices.device) - (n - 1) / 2 for n in size]
    grid = (
        drawn[..., 0, None, None] + drawn[..., 1, None, None] * along[0][:, None] + drawn[..., 2, None, None] * along[1]
    )
    if points.any():
        field = drawn[..., 3:].reshape(points.shape)
        weights = [_weigh_points(points.shape[-1], n, slices.device) for n in size]
        grid = grid + weights[0] @ field @ weights[1].mT
    return grid_sample(slices, grid.permute(0, 2, 3, 1), mode="bilinear", align_corners=False)


@lru_cache(maxsize=8)
def _weigh_points(points: int, size: int, device: torch.device) -> torch.Tensor:
    """Return ``[size, points]``, by which a product interpolates cubically from points that span ``size`` pixels."""
    unit = torch.eye(points)[None, :, :, None]
    return interpolate(unit, (size, 1), mode="bicubic", align_corners=True)[0, :, :, 0].mT.contiguous().to(device)


def draw_factors(draws: np.ndarray, change: float) -> np.ndarray:
    """Turn draws from -1 to 1 into factors from 1 / (1 + change) to 1 + change, as likely to shrink as to grow."""
    return np.exp(draws * math.log1p(change))


class RandomWarp:
    """Random mirroring, rotation, scaling and smooth deformation of patches, for ``resample``.

    Args:
        flip: probability of mirroring left and right.
        rotate: largest rotation in degrees, either way.
        scale: largest relative change of size; sizes are drawn evenly in their logarithm.
        elastic: largest displacement of 6 by 6 points in pixels, either way; pixels between them follow smoothly.

    Example::

        matrices, points = RandomWarp(rotate=35).draw(16, np.random.RandomState(0))
    """

    def __init__(self, *, flip: float = 0.5, rotate: float = 35, scale: float = 0.25, elastic: float = 0) -> None:
        self.flip = flip
        self.rotate = rotate
        self.scale = scale
        self.elastic = elastic

    def draw(self, count: int, random: np.random.RandomState) -> tuple[np.ndarray, np.ndarray]:
        """Return matrices ``[count, 2, 2]`` and displacements of points ``[count, 2, 6, 6]``."""
        angles, sizes, mirrored = random.uniform(-1, 1, (3, count))
        zooms = draw_factors(sizes, self.scale)
        cosines, sines = (
            np.cos(np.deg2rad(self.rotate * angles)) / zooms,
            np.sin(np.deg2rad(self.rotate * angles)) / zooms,
        )
        mirrors = np.where(mirrored < 2 * self.flip - 1, -1.0, 1.0)
        matrices = np.array([[mirrors * cosines, -mirrors * sines], [sines, cosines]]).transpose(2, 0, 1)
        return matrices, self.elastic * random.uniform(-1, 1, (count, 2, ELASTIC_POINTS, ELASTIC_POINTS))
