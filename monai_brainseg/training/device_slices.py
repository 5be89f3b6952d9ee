"""The slices of a data set's volumes, kept on the device that trains."""

from __future__ import annotations

import logging
import math
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from multiprocessing.pool import ThreadPool
from typing import Any

import numpy as np
import torch
from torch.utils.data import Dataset
from tqdm import tqdm

from monai_brainseg.errors import InputError
from monai_brainseg.runs.slice_sizes import GIB, count_bytes

logger = logging.getLogger(__name__)

EXCHANGED = 0.25  # share of the resident volumes that makes room for others in each epoch


@dataclass(frozen=True)
class DeviceVolume:
    """A volume as training draws from it.

    Attributes:
        slices: ``[z, channel + 1, x, y]`` in float16 on the device, the mask last.
        spacing: of its pixels within a slice, (x, y), in mm; 1 if it is unknown.
        tumor: ``[voxel, 3]``, int16, (z, x, y) of each tumour voxel, on the CPU.
        thickness: distance between two slices in mm, infinite where it is unknown.
        source: of merged data sets, the one that it is of; empty where there is one alone.
    """

    slices: torch.Tensor
    spacing: np.ndarray
    tumor: np.ndarray
    thickness: float = math.inf
    source: str = ""


class DeviceSliceDataset(Dataset[DeviceVolume]):
    """Volumes whose slices are kept on the training device, so that a batch is a draw of indices.

    If the volumes take more than ``memory``, only some of them are resident, and each epoch exchanges a quarter of
    these, or more in a short training, so that every volume is used. Which volumes are resident depends only on the
    seed, the epoch and the rank, so that a resumed run draws from the same ones.

    Args:
        data: items with ``image``, a file or a list of them, and ``label``.
        transform: from an item to ``image`` ``[channel, x, y, z]``, a MetaTensor, and ``label`` ``[1, x, y, z]``.
        device: where the slices are kept.
        memory: GiB that the slices may take there, of three sequences on the files' own grid.
        epochs: of the whole training.
        seed: of the order in which volumes become resident.
        rank: of this process; it keeps every ``processes``-th item.
        processes: that train together.
        num_workers: threads that read files.
        progress: show a bar while files are read.

    Example::

        dataset = DeviceSliceDataset(items, transform, device="cuda", memory=4)
        dataset.set_epoch(1)
        dataset[0].slices  # [z, 4, x, y], float16, on the GPU
    """

    def __init__(
        self,
        data: Sequence[Mapping[str, Any]],
        transform: Callable[[Any], Any],
        device: torch.device | str = "cpu",
        memory: float = 4,
        *,
        epochs: int = 1,
        seed: int = 0,
        rank: int = 0,
        processes: int = 1,
        num_workers: int = 1,
        progress: bool = False,
    ) -> None:
        self.processes = processes
        self.data = list(data)[rank::processes]
        self.transform = transform
        self.device = torch.device(device)
        self.num_workers = num_workers
        self.progress = progress
        self._order = np.random.default_rng([seed, rank]).permutation(len(self.data)).tolist()
        self._bytes = [count_bytes(item) for item in self.data]
        self._limit = memory * GIB
        self._volumes: dict[int, DeviceVolume] = {}
        self._epochs = epochs
        if self._bytes and (largest := max(self._bytes)) > self._limit:
            raise InputError(
                f"--slice_memory {memory:g}", f"the slices of one volume take {largest / GIB:.3g} GiB", "give more"
            )
        self._warn()

    def _warn(self) -> None:
        """Warn if a training is too short to use every volume."""
        drawn = {number for epoch in range(1, self._epochs + 1) for number in self.list_resident(epoch)}
        if len(drawn) < len(self):
            needed = sum(self._bytes) / GIB
            logger.warning(
                "only %d of %d volumes are used in %d epochs; give --slice_memory %.3g or more --epochs",
                len(drawn), len(self), self._epochs, math.ceil(10 * needed) / 10,
            )  # fmt: skip

    def __len__(self) -> int:
        return len(self.data)

    def __getitem__(self, number: int) -> DeviceVolume:
        """Return a resident volume."""
        return self._volumes[number]

    def set_epoch(self, epoch: int) -> None:
        """Load the volumes of an epoch, counted from 1, and release the others."""
        resident = self.list_resident(epoch)
        for number in set(self._volumes) - set(resident):
            del self._volumes[number]
        missing = [number for number in resident if number not in self._volumes]
        self._volumes.update(zip(missing, self._read(missing), strict=True))

    def list_resident(self, epoch: int) -> list[int]:
        """Return the numbers of the volumes that an epoch, counted from 1, draws from."""
        if sum(self._bytes) <= self._limit:
            return list(range(len(self)))
        # Volumes follow in one order, again and again; each epoch starts a step later.
        fitting = int(self._limit / max(self._bytes))
        in_time = -(-(len(self) - fitting) // max(1, self._epochs - 1))
        step = min(fitting, max(1, round(EXCHANGED * fitting), in_time))
        ring = np.roll(self._order, -(epoch - 1) * step).tolist()
        taken = np.cumsum([self._bytes[number] for number in ring]) <= self._limit
        return sorted(number for number, fits in zip(ring, taken, strict=True) if fits)

    def _read(self, numbers: Sequence[int]) -> Iterator[DeviceVolume]:
        with ThreadPool(max(1, self.num_workers)) as pool:
            volumes = pool.imap(self._read_one, numbers)
            yield from tqdm(volumes, "Loading volumes", len(numbers), disable=not (self.progress and numbers))

    def _read_one(self, number: int) -> DeviceVolume:
        item = self.transform(dict(self.data[number]))
        image, label = item["image"], item["label"]
        spacing = image.pixdim.numpy()
        voxels = torch.cat([each.as_subclass(torch.Tensor).half() for each in (image, label)])
        slices = voxels.permute(3, 0, 1, 2)
        tumor = slices[:, -1].nonzero().to(torch.int16).numpy()
        slices = slices.to(self.device, memory_format=torch.contiguous_format).contiguous()
        known = self.data[number].get("spacing_known", False)
        thickness = float(spacing[2]) if known else math.inf
        return DeviceVolume(slices, spacing[:2], tumor, thickness, self.data[number].get("source", ""))
