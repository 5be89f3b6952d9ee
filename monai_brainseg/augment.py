"""Augmentation of a whole batch of slices at once, on the device it is trained on.

One resampling does every spatial change of every slice, which costs a third of the same changes made slice by slice.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch
from monai.transforms import Randomizable
from numpy.polynomial.legendre import legvander
from torch.nn.functional import affine_grid, conv2d, grid_sample, interpolate, pad

ELASTIC_POINTS = 6  # that are displaced along each side; what lies between follows smoothly
BIAS_DEGREE = 3  # of the polynomials, as MONAI's default
FLAIR = 1  # the sequences are pre-contrast, FLAIR, post-contrast


def warp(
    images: torch.Tensor, masks: torch.Tensor, matrices: torch.Tensor, displacements: torch.Tensor | None = None
) -> tuple[torch.Tensor, torch.Tensor]:
    """Resample images linearly and masks by nearest neighbour, with zeros from outside.

    Args:
        images: ``[batch, channel, x, y]``, floating point.
        masks: ``[batch, 1, x, y]``, floating point.
        matrices: ``[batch, 2, 2]``, from an offset in voxels from the centre of the result, (x, y), to the offset in
            the source that is looked up there.
        displacements: ``[batch, 2, x, y]``, what is added to that offset, in voxels along x and y; None adds nothing.

    Returns:
        Warped images and masks, of the same shapes.
    """
    size = torch.tensor(images.shape[2:], dtype=matrices.dtype, device=matrices.device)
    relative = matrices * (size[None, :] / size[:, None])
    # torch names a position by its last axis first
    theta = pad(relative.flip(1, 2), (0, 1))
    grid = affine_grid(theta, list(images.shape), align_corners=False)
    if displacements is not None:  # a voxel is 2 / size of the way that torch calls -1 to 1
        grid = grid + (displacements * (2 / size)[:, None, None]).flip(1).permute(0, 2, 3, 1)
    grid = grid.to(images.device)
    return (
        grid_sample(images, grid, mode="bilinear", align_corners=False),
        grid_sample(masks, grid, mode="nearest", align_corners=False),
    )


def change_contrast(images: torch.Tensor, gain: torch.Tensor, gamma: torch.Tensor) -> torch.Tensor:
    """Return ``gain * images ** gamma``; 0 stays 0 and, before the gain, 1 (the tissue's median) stays 1.

    Args:
        images: ``[batch, channel, x, y]``, not negative.
        gain: positive, broadcast to ``images``.
        gamma: positive, broadcast to ``images``.
    """
    return gain * images.pow(gamma)


def blur(images: torch.Tensor, sigmas: torch.Tensor, radius: int) -> torch.Tensor:
    """Smooth each slice of each sequence by a Gaussian of its own.

    Args:
        images: ``[batch, channel, x, y]``.
        sigmas: ``[batch, channel]``, standard deviations in voxels; 0 changes nothing.
        radius: voxels on either side that count.
    """
    offsets = torch.arange(-radius, radius + 1, dtype=images.dtype, device=images.device)
    weights = torch.exp(-0.5 * (offsets / sigmas.reshape(-1, 1).clamp_min(1e-3)) ** 2)
    weights = (weights / weights.sum(1, keepdim=True))[:, None, :, None]
    smooth = images.reshape(1, -1, *images.shape[2:])
    for kernel, padding in ((weights, (0, 0, radius, radius)), (weights.mT, (radius, radius, 0, 0))):
        smooth = conv2d(pad(smooth, padding, mode="replicate"), kernel, groups=len(weights))
    return smooth.reshape(images.shape)


def draw_bias_fields(coefficients: torch.Tensor, shape: Sequence[int]) -> torch.Tensor:
    """Return smooth positive fields, the exponential of a sum of Legendre polynomials (MONAI's ``RandBiasField``).

    Args:
        coefficients: ``[batch, channel, n, n]`` of the products of the polynomials of degree 0 to n - 1 in x and in y;
            those whose degrees add up to n or more are left out.
        shape: (x, y) of the fields.

    Returns:
        ``[batch, channel, x, y]``.
    """
    degree = coefficients.shape[-1] - 1
    along_x, along_y = (
        torch.from_numpy(legvander(np.linspace(-1, 1, size), degree)).to(coefficients) for size in shape
    )
    kept = coefficients * torch.ones_like(coefficients[0, 0]).triu().flip(1)
    return torch.einsum("bcij,xi,yj->bcxy", kept, along_x, along_y).exp()


def drop_sequences(images: torch.Tensor, dropped: torch.Tensor) -> torch.Tensor:
    """Let FLAIR stand in for dropped sequences, as the LGG data set itself does for missing ones.

    Args:
        images: ``[batch, channel, x, y]`` with FLAIR in channel 1.
        dropped: ``[batch, channel]``, True where a sequence is replaced; FLAIR's own entry has no effect.
    """
    return torch.where(dropped[:, :, None, None], images[:, FLAIR : FLAIR + 1], images)


class BatchAugmentation(Randomizable):
    """A trainer's ``prepare_batch``: moves a batch to the device and changes each slice in its own random way.

    Draws come from the generator that ``set_random_state`` seeds, so a batch is a function of that seed and its place
    in the epoch. Images are expected with a background of 0 and a tissue median near 1.

    Args:
        flip: probability of mirroring left and right.
        rotate: largest rotation in degrees, either way.
        scale: largest relative change of size; sizes are drawn evenly in their logarithm.
        elastic: largest displacement of 6 by 6 points in voxels, either way; what lies between follows smoothly.
        bias: largest coefficient of the polynomials in the logarithm of a bias field, either way.
        blur: largest standard deviation of Gaussian smoothing in voxels.
        gain: largest relative change of a sequence's brightness, even in the logarithm.
        gamma: as ``gain``, for the exponent of the contrast curve.
        noise: largest standard deviation of Gaussian noise, in units of the tissue's median.
        drop: probability of replacing pre-contrast by FLAIR, and independently post-contrast.

    Example::

        prepare_batch = BatchAugmentation(rotate=35)
        images, masks = prepare_batch({"image": images, "label": masks}, torch.device("cpu"))
    """

    def __init__(
        self,
        *,
        flip: float = 0.5,
        rotate: float = 35,
        scale: float = 0.25,
        elastic: float = 0,
        bias: float = 0,
        blur: float = 0,
        gain: float = 0.25,
        gamma: float = 0.35,
        noise: float = 0.08,
        drop: float = 0.3,
    ) -> None:
        self.flip = flip
        self.rotate = rotate
        self.scale = scale
        self.elastic = elastic
        self.bias = bias
        self.blur = blur
        self.gain = gain
        self.gamma = gamma
        self.noise = noise
        self.drop = drop

    def __call__(
        self, batch: Mapping[str, torch.Tensor], device: torch.device, non_blocking: bool = False, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return augmented images ``[batch, 3, x, y]`` and masks ``[batch, 1, x, y]``, float32 on ``device``."""
        # As plain tensors: MONAI's, which carry metadata, make every operation of the network dearer.
        images, masks = (
            batch[key].as_subclass(torch.Tensor).to(device, torch.float32, non_blocking=non_blocking)
            for key in ("image", "label")
        )
        matrices = self._draw_matrices(len(images)).to(device)
        images, masks = warp(images, masks, matrices, self._draw_displacements(images))
        if self.blur:
            sigmas = self._draw_uniform(images.shape[:2], 0, self.blur)
            images = blur(images, sigmas.to(device), radius=math.ceil(3 * self.blur))
        if self.bias:
            coefficients = self._draw_uniform(
                (*images.shape[:2], BIAS_DEGREE + 1, BIAS_DEGREE + 1), -self.bias, self.bias
            )
            images = images * draw_bias_fields(coefficients.to(device), images.shape[2:])
        draw = images.shape[:2] + (1, 1)
        images = change_contrast(
            images, self._draw_factors(draw, self.gain).to(device), self._draw_factors(draw, self.gamma).to(device)
        )
        images = self._add_noise(images)
        images = drop_sequences(images, (self._draw_uniform(images.shape[:2], 0, 1) < self.drop).to(device))
        return images.contiguous(memory_format=torch.channels_last), masks

    def _draw_uniform(self, shape: tuple[int, ...], low: float, high: float) -> torch.Tensor:
        return torch.from_numpy(self.R.uniform(low, high, shape)).float()

    def _draw_factors(self, shape: tuple[int, ...], change: float) -> torch.Tensor:
        """Factors from 1/(1+change) to 1+change, as likely to shrink as to grow."""
        return self._draw_uniform(shape, -math.log1p(change), math.log1p(change)).exp()

    def _draw_matrices(self, count: int) -> torch.Tensor:
        angles = torch.deg2rad(self._draw_uniform((count,), -self.rotate, self.rotate))
        zooms = self._draw_factors((count,), self.scale)
        mirrors = torch.where(self._draw_uniform((count,), 0, 1) < self.flip, -1.0, 1.0)
        cosines, sines = angles.cos() / zooms, angles.sin() / zooms
        return torch.stack(
            [torch.stack([mirrors * cosines, -mirrors * sines], -1), torch.stack([sines, cosines], -1)], -2
        )

    def _draw_displacements(self, images: torch.Tensor) -> torch.Tensor | None:
        if not self.elastic:
            return None
        points = self._draw_uniform((len(images), 2, ELASTIC_POINTS, ELASTIC_POINTS), -self.elastic, self.elastic)
        return interpolate(points.to(images.device), images.shape[2:], mode="bicubic", align_corners=True)

    def _add_noise(self, images: torch.Tensor) -> torch.Tensor:
        generator = torch.Generator(images.device).manual_seed(int(self.R.randint(2**31)))
        noise = torch.randn(images.shape, generator=generator, device=images.device)
        strengths = self._draw_uniform(images.shape[:2] + (1, 1), 0, self.noise).to(images.device)
        # Magnitude images are never negative.
        return (images + noise * strengths).clamp_min(0)
