"""Files of trained weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from brainseg_unet_scripts.errors import BundleError

_REMEDY = (
    "train them with `python -m monai.bundle run training` and the bundle's train.yaml, name a file with --checkpoint, "
    "or, in another folder than the repository, give --bundle_root"
)


def read_weights(checkpoint: str) -> dict[str, Any]:
    """Return ``{"model": state dict, "seen": hashes of patients or None}``; nothing in the file is executed.

    Args:
        checkpoint: file of that form, or of a bare state dict.

    Raises:
        BundleError: the file is missing, or holds no weights.
    """
    if not Path(checkpoint).is_file():
        raise BundleError(checkpoint, "no weights there", _REMEDY)
    try:
        content = torch.load(checkpoint, map_location="cpu", weights_only=True)
        weights = content.get("model", content)
        if all(isinstance(value, torch.Tensor) for value in weights.values()):
            return {"model": weights, "seen": content.get("seen")}
    except Exception as error:  # torch raises a dozen kinds
        raise BundleError(checkpoint, f"is not a file of weights ({type(error).__name__})", "name another") from error
    raise BundleError(checkpoint, "is not a file of weights", "name another with --checkpoint")


def find_difference(weights: Mapping[str, torch.Tensor], network: torch.nn.Module) -> str | None:
    """Return as text the first parameter in which weights differ from a network; None if they fit."""
    found = {name: tuple(value.shape) for name, value in weights.items()}
    for name, value in network.state_dict().items():
        if found.pop(name, None) != tuple(value.shape):
            return f"{name} should be {tuple(value.shape)}"
    return f"it has {next(iter(found))}, which this network has not" if found else None


def check_weights(weights: Mapping[str, torch.Tensor], network: torch.nn.Module, checkpoint: str) -> None:
    """Refuse weights of another network; MONAI would load the part that fits.

    Raises:
        BundleError: names the file and the first parameter that differs.
    """
    if difference := find_difference(weights, network):
        raise BundleError(checkpoint, "holds weights of another network", difference)
