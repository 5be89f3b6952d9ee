"""What TensorBoard shows of masks: how many voxels are tumour, and the slice with most of it."""

from __future__ import annotations

from collections.abc import Hashable, Mapping
from typing import Any

import torch
from ignite.engine import Engine, Events
from monai.transforms import MapTransform
from torch.utils.tensorboard import SummaryWriter

from brainseg_unet_scripts.cases import name_case

_FLAIR = 1  # channel of the image


class DrawTumord(MapTransform):
    """Add ``picture`` to an output: the slice with most tumour, red over FLAIR, on the network's grid.

    Use it before the transform that brings ``pred`` back to the input's grid.

    Args:
        keys: of the network's answer ``[class, x, y, z]``; ``image`` ``[channel, x, y, z]`` must be there too.
    """

    def __call__(self, data: Mapping[Hashable, Any]) -> dict[Hashable, Any]:
        """Return the output with ``picture``, ``[colour, row, column]`` from 0 to 1."""
        drawn = dict(data)
        for key in self.key_iterator(drawn):
            mask = drawn[key].argmax(0)
            z = mask.sum((0, 1)).argmax()
            grey, red = (drawn["image"][_FLAIR] / 2)[..., z].mT, mask[..., z].mT
            drawn["picture"] = torch.stack([torch.maximum(grey, red), grey * (1 - red), grey * (1 - red)]).clamp(0, 1)
        return drawn


class TumorSummaries:
    """Write the tumour's voxels and the ``picture`` of each case for TensorBoard.

    Args:
        output_dir: folder of the run; TensorBoard's files go into ``tensorboard`` there.
    """

    def __init__(self, output_dir: str) -> None:
        self.folder = f"{output_dir}/tensorboard"

    def attach(self, engine: Engine) -> None:
        """Follow an evaluator whose output holds ``pred`` and ``picture``."""
        engine.add_event_handler(Events.STARTED, self._open)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._write)
        engine.add_event_handler(Events.COMPLETED, self._close)

    def _open(self, engine: Engine) -> None:
        self.writer = SummaryWriter(self.folder)

    def _write(self, engine: Engine) -> None:
        for output in engine.state.output:
            case = name_case(output["pred"].meta)
            self.writer.add_scalar(f"tumor_voxels/{case}", output["pred"].sum())
            self.writer.add_image(f"tumor/{case}", output["picture"])

    def _close(self, engine: Engine) -> None:
        self.writer.close()
