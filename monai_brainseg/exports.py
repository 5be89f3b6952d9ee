"""Trained weights in the forms that others take."""

from __future__ import annotations

from pathlib import Path

import torch

from monai_brainseg.handlers import write_checkpoint


def write_half_precision(checkpoint: Path, output: Path) -> None:
    """Write weights at half their size: floating-point parameters and buffers in float16, all else as it is.

    A network that loads them computes in float32 again; masks stay the same but for single voxels.

    Args:
        checkpoint: ``{"model": state dict, "seen": hashes}``.
        output: file of the same form.

    Raises:
        InputError: the file cannot be written.
    """
    content = torch.load(checkpoint, map_location="cpu", weights_only=True)
    halved = {name: value.half() if value.is_floating_point() else value for name, value in content["model"].items()}
    write_checkpoint({**content, "model": halved}, output)
