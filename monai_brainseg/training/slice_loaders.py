"""Batches of slices, cut out of volumes that are kept on the training device."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence

import numpy as np
import torch
from monai.transforms import Randomizable
from torch.nn.functional import pad

from monai_brainseg.errors import InputError
from monai_brainseg.training.device_slices import DeviceSliceDataset, DeviceVolume
from monai_brainseg.training.warps import RandomWarp, resample


class SliceLoader(Randomizable):
    """Draw slices, and cut, pad, scale and warp them into batches by one resampling on the device.

    An epoch visits each resident volume equally often; where ``shares`` are given, each of a source. A slice holds the
    centre of its patch: with probability ``tumor_share`` a tumour voxel of the volume, else any voxel. The patch then
    stays within the slice, if it can.
    Draws come from the generator that ``set_random_state`` seeds.

    Args:
        dataset: volumes on the device.
        batch_size: slices in a step, shared out evenly where several processes train.
        num_samples: slices drawn in an epoch, by all processes together.
        patch_size: pixels of a patch, (x, y).
        pixel_size: of a patch in mm; where a volume's spacing is unknown, its pixels count as 1 mm.
        tumor_share: of the slices that are centred on tumour.
        shares: of the slices, by the source of their volume; None draws from each volume equally often.
        thickest: mm; neighbouring slices of volumes that are thinner are averaged to a thickness drawn evenly between
            their own and this one, as thick slices show them. 0 leaves slices as they are.
        warp: random rotation, scaling and deformation, part of the same resampling; None for none.

    Example::

        for batch in SliceLoader(dataset, batch_size=16, num_samples=960, patch_size=[128, 128], pixel_size=2.0):
            batch["image"], batch["label"]  # [16, 3, 128, 128] and [16, 1, 128, 128], float32, on the device
    """

    def __init__(
        self,
        dataset: DeviceSliceDataset,
        batch_size: int,
        num_samples: int,
        patch_size: Sequence[int],
        pixel_size: float,
        tumor_share: float = 0.5,
        shares: Mapping[str, float] | None = None,
        thickest: float = 0,
        warp: RandomWarp | None = None,
    ) -> None:
        self.dataset = dataset
        self.batch_size = batch_size // dataset.processes
        self.steps = max(1, -(-num_samples // batch_size))
        self.patch_size = np.array(patch_size)
        self.pixel_size = pixel_size
        self.tumor_share = tumor_share
        self.shares = shares
        self.thickest = thickest
        self.warp = warp
        self._resident: list[int] = []

    def __len__(self) -> int:
        """Return the steps of an epoch, the same in every process."""
        return self.steps

    def set_epoch(self, epoch: int) -> None:
        """Bring in the volumes of an epoch, counted from 1."""
        self.dataset.set_epoch(epoch)
        self._resident = self.dataset.list_resident(epoch)

    def __iter__(self) -> Iterator[dict[str, torch.Tensor]]:
        """Yield ``image`` ``[batch, channel, x, y]`` and ``label`` ``[batch, 1, x, y]``, float32 on the device."""
        if not self._resident:
            self.set_epoch(1)
        visits = self._draw_visits(self.steps * self.batch_size)
        for numbers in visits.reshape(self.steps, self.batch_size).tolist():
            yield self._cut([self.dataset[number] for number in numbers])

    def _draw_visits(self, count: int) -> np.ndarray:
        """Return the numbers of the volumes that ``count`` slices are drawn from, in a random order."""
        if self.shares is None:
            return self._draw_rounds(self._resident, count)
        groups: dict[str, list[int]] = {source: [] for source in self.shares}
        for number in self._resident:
            groups.setdefault(self.dataset[number].source, []).append(number)
        weights = np.array([self.shares.get(source, 0.0) * bool(numbers) for source, numbers in groups.items()])
        if not weights.sum() > 0:
            raise InputError(
                f"--source_shares {dict(self.shares)}", "names no source of the volumes", f"they are of {list(groups)}"
            )
        ends = np.round(np.cumsum(weights) / weights.sum() * count).astype(int)
        counts = np.diff(ends, prepend=0)
        drawn = [self._draw_rounds(numbers, n) for numbers, n in zip(groups.values(), counts, strict=True) if n]
        return self.R.permutation(np.concatenate(drawn))

    def _draw_rounds(self, numbers: Sequence[int], count: int) -> np.ndarray:
        rounds = -(-count // len(numbers))
        return np.concatenate([self.R.permutation(numbers) for _ in range(rounds)])[:count]

    def _draw_slice(self, volume: DeviceVolume, z: int) -> torch.Tensor:
        """Return ``[channel + 1, x, y]`` at a place, or the mean of it and its neighbours as one thick slice."""
        if volume.thickness >= self.thickest:
            return volume.slices[z]
        thickness = self.R.uniform(volume.thickness, self.thickest)
        count = max(1, round(thickness / volume.thickness))
        first = int(np.clip(z - count // 2, 0, max(0, len(volume.slices) - count)))
        return volume.slices[first : first + count].float().mean(0)

    def _cut(self, volumes: Sequence[DeviceVolume]) -> dict[str, torch.Tensor]:
        places = np.stack([self._draw_place(volume) for volume in volumes])
        slices = [self._draw_slice(volume, z) for volume, z in zip(volumes, places[:, 0].tolist(), strict=True)]
        sizes = np.array([each.shape[1:] for each in slices])
        scales = self.pixel_size / np.stack([volume.spacing for volume in volumes])
        centers = self._keep_inside(places[:, 1:], sizes, scales)
        voxels = resample(_stack(slices, sizes.max(0)), centers, scales, self.patch_size.tolist(), self._draw_warp())
        return {"image": voxels[:, :-1], "label": (voxels[:, -1:] > 0.5).float()}

    def _draw_warp(self) -> tuple[np.ndarray, np.ndarray] | None:
        return None if self.warp is None else self.warp.draw(self.batch_size, self.R)

    def _draw_place(self, volume: DeviceVolume) -> np.ndarray:
        """Return (z, x, y) of a voxel."""
        if len(volume.tumor) and self.R.uniform() < self.tumor_share:
            return volume.tumor[self.R.randint(len(volume.tumor))]
        depth, _, *plane = volume.slices.shape
        return self.R.randint([depth, *plane])

    def _keep_inside(self, centers: np.ndarray, sizes: np.ndarray, scales: np.ndarray) -> np.ndarray:
        """Move centres so that patches end within their slices and begin where a pixel does, which loses no sharpness.

        A patch that is larger than its slice is centred on it.
        """
        extents = self.patch_size * scales
        margins = sizes - extents
        begins = np.where(margins > 0, np.clip(centers + 0.5 - extents / 2, 0, np.maximum(margins, 0)), margins / 2)
        return np.round(begins) + extents / 2 - 0.5


def _stack(slices: Sequence[torch.Tensor], size: Sequence[int]) -> torch.Tensor:
    """Stack slices, with zeros at the end of those that are smaller than ``size``, in float32."""
    missing = [(size[0] - each.shape[1], size[1] - each.shape[2]) for each in slices]
    grown = [pad(one, (0, y, 0, x)) if x or y else one for one, (x, y) in zip(slices, missing, strict=True)]
    return torch.stack([each.float() for each in grown])
