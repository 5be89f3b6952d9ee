"""Random changes of the intensities of a whole batch of slices at once, on the device it is trained on."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from functools import lru_cache
from typing import Any

import numpy as np
import torch
from monai.transforms import Randomizable
from numpy.polynomial.legendre import legvander
from torch.nn.functional import conv2d, max_pool2d, pad

BIAS_DEGREE = 3  # of the polynomials, as MONAI's default
FLAIR = 1  # the sequences are pre-contrast, FLAIR, post-contrast
AIR = 0.1  # of the tissue's median: what is darker in all sequences is no head
SKULL = (3, 9)  # pixels of a patch that scalp and skull are thick, at least and at most: 6 to 18 mm at 2 mm


@lru_cache(maxsize=8)
def _list_polynomials(size: int, degree: int, device: torch.device) -> torch.Tensor:
    """Return the Legendre polynomials of degree 0 to ``degree`` along ``size`` pixels, ``[size, degree + 1]``."""
    return torch.from_numpy(legvander(np.linspace(-1, 1, size), degree)).float().to(device)


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
    along_x, along_y = (_list_polynomials(size, degree, coefficients.device) for size in shape)
    kept = coefficients * torch.ones_like(coefficients[0, 0]).triu().flip(1)
    return (along_x @ kept @ along_y.mT).exp()


def drop_sequences(images: torch.Tensor, dropped: torch.Tensor) -> torch.Tensor:
    """Replace dropped sequences by FLAIR, as the LGG data set itself does with missing ones.

    Args:
        images: ``[batch, channel, x, y]`` with FLAIR in channel 1.
        dropped: ``[batch, channel]``, True where a sequence is replaced; FLAIR's own entry has no effect.
    """
    return torch.where(dropped[:, :, None, None], images[:, FLAIR : FLAIR + 1], images)


def measure_depth(images: torch.Tensor, deepest: int) -> torch.Tensor:
    """Return how many pixels each pixel lies within the head, counted to the nearest pixel outside, corners included.

    The head is what has tissue on all four sides, in any sequence.

    Args:
        images: ``[batch, channel, x, y]``, background 0 and the tissue's median near 1.
        deepest: pixels to which it is counted.

    Returns:
        ``[batch, 1, x, y]``, from 0, outside, to ``deepest``.
    """
    tissue = (images.amax(1, keepdim=True) > AIR).to(images.dtype)
    head = torch.stack([_spread(tissue, axis, reverse) for axis in (2, 3) for reverse in (False, True)]).amin(0)
    depth, outside = head.clone(), 1 - head
    for _ in range(deepest - 1):
        outside = max_pool2d(outside, 3, stride=1, padding=1)
        depth += 1 - outside
    return depth


def _spread(tissue: torch.Tensor, axis: int, reverse: bool) -> torch.Tensor:
    """Return 1 from the first tissue on along an axis, or from the last one back."""
    return tissue.flip(axis).cummax(axis).values.flip(axis) if reverse else tissue.cummax(axis).values


class IntensityAugmentation(Randomizable):
    """A trainer's ``prepare_batch``: changes the intensities of each slice and sequence in its own random way.

    Draws come from the generator that ``set_random_state`` seeds, so a batch is a function of that seed and its place
    in the epoch. Images are expected with a background of 0 and a tissue median near 1.

    Args:
        bias: largest coefficient of the polynomials in the logarithm of a bias field, either way.
        blur: largest standard deviation of Gaussian smoothing in pixels.
        gain: largest relative change of a sequence's brightness, even in the logarithm.
        gamma: as ``gain``, for the exponent of the contrast curve.
        noise: largest standard deviation of Gaussian noise, in units of the tissue's median.
        drop: probability of replacing pre-contrast by FLAIR, and independently post-contrast.
        skull: probability of blanking a slice's outer 3 to 9 pixels of the head, roughly as skull stripping does.
            Tumour that is blanked is no longer in the mask.

    Example::

        prepare_batch = IntensityAugmentation(noise=0.1)
        images, masks = prepare_batch({"image": images, "label": masks}, torch.device("cpu"))
    """

    def __init__(
        self,
        *,
        bias: float = 0,
        blur: float = 0,
        gain: float = 0.25,
        gamma: float = 0.35,
        noise: float = 0.08,
        drop: float = 0.3,
        skull: float = 0,
    ) -> None:
        self.bias = bias
        self.blur = blur
        self.gain = gain
        self.gamma = gamma
        self.noise = noise
        self.drop = drop
        self.skull = skull

    def __call__(
        self, batch: Mapping[str, torch.Tensor], device: torch.device, non_blocking: bool = False, **kwargs: Any
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Return changed images ``[batch, 3, x, y]`` and the masks ``[batch, 1, x, y]``, on ``device``."""
        images, masks = (batch[key].to(device, non_blocking=non_blocking) for key in ("image", "label"))
        count, channels = images.shape[:2]
        draws = self._draw((count, channels, 6 + (BIAS_DEGREE + 1) ** 2)).to(device)
        if self.skull:
            images, masks = self._remove_skull(images, masks, draws[:, :2, 5])
        if self.blur:
            images = blur(images, self.blur * draws[..., 0].abs(), radius=math.ceil(3 * self.blur))
        gain, gamma = (
            (draws[..., place, None, None] * math.log1p(change)).exp()
            for place, change in ((1, self.gain), (2, self.gamma))
        )
        if self.bias:
            coefficients = self.bias * draws[..., 6:].reshape(count, channels, BIAS_DEGREE + 1, BIAS_DEGREE + 1)
            images = images * draw_bias_fields(coefficients, images.shape[2:])
        images = change_contrast(images, gain, gamma)
        if self.noise:
            images = self._add_noise(images, self.noise * draws[..., 3, None, None].abs())
        images = drop_sequences(images, draws[..., 4].abs() < self.drop)
        return images.contiguous(memory_format=torch.channels_last), masks

    def _remove_skull(
        self, images: torch.Tensor, masks: torch.Tensor, draws: torch.Tensor
    ) -> tuple[torch.Tensor, torch.Tensor]:
        """Blank the rim of the head in some slices, by two draws for each."""
        chosen, thickness = (draws.abs()[:, place, None, None, None] for place in (0, 1))
        thinnest, thickest = SKULL
        rim = (thinnest + thickness * (thickest + 1 - thinnest)).floor() * (chosen < self.skull)
        kept = measure_depth(images, thickest + 1) > rim
        kept |= rim == 0
        return images * kept, masks * kept

    def _draw(self, shape: tuple[int, ...]) -> torch.Tensor:
        """Draw evenly from -1 to 1, all that a batch needs at once: one transfer to the device."""
        return torch.from_numpy(self.R.uniform(-1, 1, shape)).float()

    def _add_noise(self, images: torch.Tensor, strengths: torch.Tensor) -> torch.Tensor:
        generator = torch.Generator(images.device).manual_seed(int(self.R.randint(2**31)))
        noise = torch.randn(images.shape, generator=generator, device=images.device)
        # Magnitude images are never negative.
        return noise.mul_(strengths).add_(images).clamp_min_(0)
