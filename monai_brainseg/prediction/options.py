"""The options of a segmentation, and the bundle that is loaded with them."""

from __future__ import annotations

import hashlib
import os
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from brainseg_unet_scripts.errors import BundleError
from brainseg_unet_scripts.precision import Amp, describe_precision, name_precision, select_device, select_precision

from monai_brainseg.errors import InputError
from monai_brainseg.prediction.segmenters import Segmenter, load_bundle
from monai_brainseg.runs.bundle_folders import DEFAULT, find_bundle
from monai_brainseg.runs.recipes import read_trained, select_inference
from monai_brainseg.weights.provenance import describe_checkpoint

# Options that decide the content of a mask, or which files are beside it.
_DECISIVE = ("tta", "operating_point", "smoothing", "probability", "uncertainty", "keep_scale")


@dataclass(frozen=True)
class Options:
    """How studies are segmented and what is written.

    Attributes:
        bundle: its name or folder; the recipe's or the default if None.
        recipe: that the weights were trained with; None for the bundle itself.
        checkpoints: files of weights; the bundle's own if empty, the mean of the probabilities if several.
        tta: average with the mirrored volume too.
        operating_point: of the bundle, "balanced" or "recall".
        smoothing: weigh each slice's probabilities with its neighbours'.
        probability: also write the map of the tumour's probability.
        uncertainty: also write the map of entropy.
        keep_scale: take a pixel as a millimetre if the spacing is unknown, whatever the size of the head.
        bids: write masks as derivatives of a BIDS data set.
        device: "cpu", "cuda", "cuda:1"; None takes a GPU if there is one.
        amp: "auto", True or False: the precision, as in the bundle's configs.
    """

    bundle: str | None = None
    recipe: str | None = None
    checkpoints: tuple[Path, ...] = ()
    tta: bool = False
    operating_point: str = "balanced"
    smoothing: bool = False
    probability: bool = False
    uncertainty: bool = False
    keep_scale: bool = False
    bids: bool = False
    device: str | None = None
    amp: Amp = "auto"


@dataclass(frozen=True)
class Model:
    """A loaded bundle with its weights, and what records say about it.

    Attributes:
        name: of the bundle.
        segmenter: the loaded bundle.
        checkpoints: its weights, as ``provenance.describe_checkpoint`` gives them.
        settings: everything except the study that decides a mask.
    """

    name: str
    segmenter: Segmenter
    checkpoints: Sequence[Mapping[str, Any]]
    settings: Mapping[str, Any]


def load_model(options: Options) -> Model:
    """Load the bundle and the weights that the options name.

    Raises:
        InputError: weights, bundle, device or an option of the bundle cannot be used.
    """
    (bundle, overlay), device = _find_network(options), choose_device(options.device)
    files = options.checkpoints or (bundle / "models" / "model.pt",)
    try:
        segmenter = load_bundle(bundle, files, device, _choose_overrides(options), overlay)
    except BundleError as error:
        raise InputError(error.where, error.what, error.remedy) from error
    checkpoints = [describe_checkpoint(file) for file in files]
    settings = {
        "bundle": bundle.resolve().name,
        "config": hashlib.sha256((bundle / "configs" / "inference.yaml").read_bytes()).hexdigest(),
        "weights": [checkpoint["sha256"] for checkpoint in checkpoints],
        **{name: vars(options)[name] for name in _DECISIVE},
        **({"recipe": overlay} if overlay else {}),
        **({"bids": True} if options.bids else {}),
        # Precision may change single voxels. What auto gives is not a reason to repeat masks on another machine.
        **({"amp": options.amp} if options.amp != "auto" else {}),
    }
    return Model(bundle.name, segmenter, checkpoints, settings)


def explain_precision(segmenter: Segmenter, amp: Amp) -> str:
    """Return the precision, with the reason unless an older bundle chose it itself."""
    if segmenter.precision != select_precision(amp, segmenter.device):
        return name_precision(segmenter.precision)
    return describe_precision(segmenter.precision, segmenter.device, amp)


def _choose_overrides(options: Options) -> dict[str, Any]:
    """Return the bundle's ids that options change; one at its default is left to a bundle that may not have it."""
    return {
        **({"flip": True} if options.tta else {}),
        **({"operating_point": options.operating_point} if options.operating_point != "balanced" else {}),
        **({"smooth_slices": True} if options.smoothing else {}),
        **({"amp": options.amp} if options.amp != "auto" else {}),
    }


def _find_network(options: Options) -> tuple[Path, dict[str, Any]]:
    """Return the bundle's folder and the recipe's overlay on its ``inference.yaml``."""
    if options.recipe is None:
        return find_bundle(options.bundle or DEFAULT, "inference.yaml"), {}
    recipe = read_trained(options.recipe, options.bundle, options.checkpoints)
    return recipe.bundle, select_inference(recipe)


def choose_device(name: str | None) -> torch.device:
    """Return the device that was asked for; else this process's GPU, or the CPU if there is none."""
    if name is None:
        local = int(os.environ.get("LOCAL_RANK", "0"))
        count = torch.cuda.device_count() if torch.cuda.is_available() else 0
        return torch.device(f"cuda:{local % count}") if count else select_device()
    try:
        device = torch.device(name)
        torch.empty(1, device=device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"--device {name}", "there is no such device here", "leave it out, or give cpu") from error
    return device
