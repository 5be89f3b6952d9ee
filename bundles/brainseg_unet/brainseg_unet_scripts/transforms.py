"""Dictionary transforms that MONAI lacks: of images before the network, and of its outputs after it.

Volumes are ``[channel, x, y, z]``; slices are along z, the last axis.
"""

from __future__ import annotations

import logging
from abc import abstractmethod
from collections.abc import Hashable, Mapping
from typing import Any

import numpy as np
import torch
from monai.config import KeysCollection
from monai.data import MetaTensor
from monai.transforms import (
    InvertibleTransform,
    KeepLargestConnectedComponent,
    MapTransform,
    RemoveSmallObjects,
    ScaleIntensityRangePercentiles,
    SpatialResample,
)
from monai.utils import convert_to_dst_type

from brainseg_unet_scripts.errors import BundleError
from brainseg_unet_scripts.heads import fill_outside

logger = logging.getLogger(__name__)

Data = Mapping[Hashable, Any]


class TensorTransformd(MapTransform):
    """Change the tensor under each key by ``change``, which a subclass defines."""

    def __call__(self, data: Data) -> dict[Hashable, Any]:
        """Return the dictionary with changed tensors."""
        changed = dict(data)
        for key in self.key_iterator(changed):
            changed[key] = self.change(changed[key])
        return changed

    @abstractmethod
    def change(self, volume: torch.Tensor) -> torch.Tensor:
        """Return the changed tensor."""


class FillOutsided(TensorTransformd):
    """Take NaN and infinite voxels outside the head as background, with a warning in the log.

    Raises:
        BundleError: others are inside it; the mask would be empty, like that of a healthy brain; names the file.
    """

    def change(self, volume: torch.Tensor) -> torch.Tensor:
        """Return the volume with finite voxels."""
        if bool(volume.isfinite().all()):
            return volume
        filled = [channel for channel in map(fill_outside, volume.numpy(force=True)) if channel is not None]
        if len(filled) < len(volume):
            what = "holds NaN or infinite voxels inside the head"
            raise BundleError(_name_file(volume), what, "repair it, or remove the case")
        logger.warning("%s: NaN or infinite voxels outside the head are taken as background", _name_file(volume))
        return convert_to_dst_type(np.stack(filled), volume)[0]


class ScaleToTissued(TensorTransformd):
    """Scale each channel so that the background is 0 and the median of the tissue 1, for any unit of the scanner.

    MONAI's ``ScaleIntensityRangePercentiles`` clips and scales to 0 to 1; tissue is then everything from the mean
    upwards. An image whose air scatters around zero, as noise of real and imaginary parts does, is made a magnitude
    image first, as scanners do.

    Args:
        keys: of images.
        lower: percentile that becomes 0.
        upper: percentile above which values are clipped.
        allow_missing_keys: leave out keys that are not there.
    """

    def __init__(
        self, keys: KeysCollection, lower: float = 1, upper: float = 99.9, allow_missing_keys: bool = False
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        self.clip = ScaleIntensityRangePercentiles(lower, upper, b_min=0, b_max=1, clip=True, channel_wise=True)

    def change(self, volume: torch.Tensor) -> torch.Tensor:
        """Return the scaled volume, of the same shape."""
        clipped = self.clip(torch.stack([_to_magnitude(channel) for channel in volume]))
        medians = torch.stack([channel[channel >= channel.mean()].median() for channel in clipped])
        return clipped / medians.clamp_min(1e-3)[:, None, None, None]


def _to_magnitude(channel: torch.Tensor) -> torch.Tensor:
    """Return absolute values if about half of what is darker than the mean is negative, else the same values.

    Of a standardised image all of it is negative, and of a magnitude image nothing. A background of exactly zero tells
    nothing and is left out.
    """
    measured = channel[channel != 0]
    dark = measured[measured < measured.mean()] if len(measured) else measured
    negative = (dark < 0).sum() / max(1, len(dark))
    return channel.abs() if 0.25 < negative < 0.75 else channel


class ScaleToGreyd(TensorTransformd):
    """Turn three sequences of 8 bits, as red, green and blue, into one grey channel from -1 to 1.

    Grey is ``0.299 red + 0.587 green + 0.114 blue`` (ITU-R BT.601). A single channel is used as all three.
    """

    def change(self, volume: torch.Tensor) -> torch.Tensor:
        """Return ``[1, x, y, z]`` of ``[1 or 3, x, y, z]``."""
        red, green, blue = volume.expand(3, -1, -1, -1).split(1)
        return (red * 0.299 + green * 0.587 + blue * 0.114) / 127.5 - 1


class ResampleSlicesd(MapTransform, InvertibleTransform):
    """Resample within slices to square pixels of one size, never across slices; ``Invertd`` brings masks back.

    MONAI's ``Spacingd`` fails on the key ``image_path`` that MONAI Label adds, and straightens sheared grids.

    Args:
        keys: of MetaTensors.
        pixel_size: in mm; if a file has no spacing, its pixels count as 1 mm.
        allow_missing_keys: leave out keys that are not there.

    Example::

        ResampleSlicesd(keys="image", pixel_size=2.0)  # [3, 256, 256, 20] of 1 mm to [3, 128, 128, 20]
    """

    backend = SpatialResample.backend

    def __init__(self, keys: KeysCollection, pixel_size: float, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.pixel_size = pixel_size
        self.resample = SpatialResample(padding_mode="border", dtype=torch.float32)

    def __call__(self, data: Data) -> dict[Hashable, Any]:
        """Return the dictionary with resampled volumes."""
        changed = dict(data)
        for key in self.key_iterator(changed):
            changed[key] = self.resample(changed[key], dst_affine=find_grid(changed[key], self.pixel_size))
        return changed

    def inverse(self, data: Data) -> dict[Hashable, Any]:
        """Return the dictionary with volumes on the grid that they came from."""
        changed = dict(data)
        for key in self.key_iterator(changed):
            changed[key] = self.resample.inverse(changed[key])
        return changed


def find_grid(volume: MetaTensor, pixel_size: float) -> torch.Tensor:
    """Return the affine of a volume's space with pixels of one size within slices, ``[4, 4]`` float64.

    Its first pixel begins where the volume's does, so that both cover the same region.

    Args:
        volume: ``[channel, x, y, z]`` with its affine.
        pixel_size: in mm.
    """
    x, y = (pixel_size / volume.pixdim[:2]).tolist()
    scaling = [[x, 0, 0, (x - 1) / 2], [0, y, 0, (y - 1) / 2], [0, 0, 1, 0], [0, 0, 0, 1]]
    return volume.affine.matmul(torch.tensor(scaling, dtype=torch.float64))


class ExpandSequencesd(TensorTransformd):
    """Use a single sequence, FLAIR, as all three: ``[1 or 3, x, y, z]`` to ``[3, x, y, z]``, without a copy.

    Raises:
        BundleError: a file holds another number of sequences.
    """

    def change(self, volume: torch.Tensor) -> torch.Tensor:
        """Return three channels."""
        if len(volume) not in (1, 3):
            raise BundleError(_name_file(volume), f"holds {len(volume)} sequences", "a case has 1, FLAIR, or 3")
        return volume.expand(3, -1, -1, -1)


class TumorProbabilityd(TensorTransformd):
    """Turn the network's two outputs, background and tumour, into the probability of tumour (softmax)."""

    def change(self, volume: torch.Tensor) -> torch.Tensor:
        """Return ``[1, x, y, z]`` of ``[2, x, y, z]``."""
        return volume.softmax(0)[1:]


class SmoothSlicesd(TensorTransformd):
    """Weigh each slice 2:1:1 with those above and below; beyond the first and last slices, these are repeated."""

    def change(self, volume: torch.Tensor) -> torch.Tensor:
        """Return the smoothed volume, of the same shape."""
        before = torch.cat([volume[..., :1], volume[..., :-1]], -1)
        after = torch.cat([volume[..., 1:], volume[..., -1:]], -1)
        return (before + 2 * volume + after) / 4


class ApplyOperatingPointd(TensorTransformd):
    """Turn probabilities into a mask with the threshold of an operating point.

    Args:
        keys: of probabilities.
        thresholds: the least probability of tumour, by the operating point's name.
        operating_point: one of these names.
        allow_missing_keys: leave out keys that are not there.

    Raises:
        BundleError: there is no such operating point.
    """

    def __init__(
        self,
        keys: KeysCollection,
        thresholds: Mapping[str, float],
        operating_point: str,
        allow_missing_keys: bool = False,
    ) -> None:
        super().__init__(keys, allow_missing_keys)
        if operating_point not in thresholds:
            raise BundleError(f"--operating_point {operating_point}", f"must be {' or '.join(thresholds)}")
        self.threshold = thresholds[operating_point]

    def change(self, volume: torch.Tensor) -> torch.Tensor:
        """Return a bool mask of the same shape."""
        return volume >= self.threshold


class RemoveMinorComponentsd(TensorTransformd):
    """Remove connected components of a mask that are small compared with its largest one (neighbours share a face).

    Args:
        keys: of masks.
        min_share: of the largest component's voxels; components with fewer are removed.
        allow_missing_keys: leave out keys that are not there.
    """

    def __init__(self, keys: KeysCollection, min_share: float, allow_missing_keys: bool = False) -> None:
        super().__init__(keys, allow_missing_keys)
        self.min_share = min_share
        self.keep_largest = KeepLargestConnectedComponent(connectivity=1)

    def change(self, volume: torch.Tensor) -> torch.Tensor:
        """Return the mask without them."""
        largest = int(self.keep_largest(volume.clone()).sum())  # of a copy, which MONAI changes in place
        # MONAI also removes components of exactly the given size, so half a voxel is subtracted.
        return RemoveSmallObjects(max(0, self.min_share * largest - 0.5), connectivity=1)(volume)


def _name_file(volume: torch.Tensor) -> str:
    return str(getattr(volume, "meta", {}).get("filename_or_obj", "an image"))
