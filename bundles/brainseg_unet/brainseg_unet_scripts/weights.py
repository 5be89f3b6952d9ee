"""Files of trained weights."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from ignite.engine import Engine, Events

from brainseg_unet_scripts.errors import BundleError

_REMEDY = (
    "name a file with --checkpoint, train one with `python -m monai.bundle run training` and the bundle's train.yaml, "
    "or, in another folder than the repository, give --bundle_root"
)


# Keys under which other programs save weights, what wrappers put before each name (a training module the second ones,
# before the name of a part; MONAI's UNet has numbers there itself), and the count of an average.
_HOLDERS = ("model", "state_dict", "model_state_dict", "network_weights", "network", "net", "weights")
_PREFIXES = ("module.", "_orig_mod.")
_MODULES = ("model.", "net.", "network.")
_COUNT = "n_averaged"


def read_weights(checkpoint: str) -> dict[str, Any]:
    """Return ``{"model": state dict, "seen": hashes of patients or None}``; nothing in the file is executed.

    Args:
        checkpoint: file of a form that ``unwrap`` takes.

    Returns:
        these two, and ``wrapped`` if the weights were wrapped: in what.

    Raises:
        BundleError: the file is missing, or holds no weights.
    """
    if not Path(checkpoint).is_file():
        raise BundleError(checkpoint, "no weights there", _REMEDY)
    try:
        content = torch.load(checkpoint, map_location="cpu", weights_only=True)
        content = unwrap(content)
        if all(isinstance(value, torch.Tensor) for value in content["model"].values()):
            return {"seen": None, **content}
    except Exception as error:  # torch raises a dozen kinds
        raise BundleError(checkpoint, f"is not a file of weights ({type(error).__name__})", "name another") from error
    raise BundleError(checkpoint, "is not a file of weights", "name another with --checkpoint")


def unwrap(content: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a file holds with its weights under ``model``, by the names that the bare network gives them.

    Trainings of other programs wrap a network before they save it: for several GPUs (``module.``), compiled
    (``_orig_mod.``), as a running average (``module.`` and ``n_averaged``), within a training module (``model.``), or
    with the optimizer beside it (``state_dict`` or ``model_state_dict``).

    Args:
        content: ``{"model": state dict, ...}``, a bare state dict, or one wrapped so.

    Returns:
        the same with ``model``, and with ``wrapped`` if the weights were wrapped: in what.
    """
    weights, kept, found = content, {}, []
    while key := next((each for each in _HOLDERS if isinstance(weights.get(each), Mapping)), None):
        if weights is content and key == "model":
            kept = {name: value for name, value in content.items() if name != key}
        else:
            found.append(f"{key!r}")
        weights = weights[key]
    weights = dict(weights)
    while prefix := next((each for each in (*_PREFIXES, *_MODULES) if _all_begin(weights, each)), None):
        weights = {name.removeprefix(prefix): value for name, value in weights.items() if name != _COUNT}
        found.append(f"{prefix!r}")
    return {**kept, "model": weights, **({"wrapped": " and ".join(found)} if found else {})}


def _all_begin(weights: Mapping[str, Any], prefix: str) -> bool:
    names = [name for name in weights if name != _COUNT]
    if not names or not all(name.startswith(prefix) for name in names):
        return False
    return prefix in _PREFIXES or not any(name[len(prefix) :][:1].isdigit() for name in names)


class WeightsLoader:
    """Ignite's handler that loads a file of weights into a network when a run starts.

    MONAI's ``CheckpointLoader`` does not take weights that were wrapped.

    Args:
        checkpoint: file that ``read_weights`` takes.
        network: on its device.
    """

    def __init__(self, checkpoint: str, network: torch.nn.Module) -> None:
        self.checkpoint, self.network = checkpoint, network

    def attach(self, engine: Engine) -> None:
        """Load at the start of the engine's run."""
        engine.add_event_handler(Events.STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Load the weights.

        Raises:
            BundleError: they are missing, or another network's.
        """
        weights = read_weights(self.checkpoint)["model"]
        check_weights(weights, self.network, self.checkpoint)
        self.network.load_state_dict(weights)


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
