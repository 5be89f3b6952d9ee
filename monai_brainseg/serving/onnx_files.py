"""A network as an ONNX file."""

from __future__ import annotations

import warnings
from importlib.util import find_spec
from pathlib import Path

import torch
from monai.networks.utils import convert_to_onnx

from monai_brainseg.data.naming import SEQUENCES
from monai_brainseg.errors import InputError

_AXES = {0: "batch", 2: "height", 3: "width"}


def write_onnx(network: torch.nn.Module, file: Path) -> None:
    """Write a 2D network as ONNX, for any number and size of images.

    Args:
        network: takes ``[batch, sequence, x, y]`` and gives ``[batch, class, x, y]``; goes into evaluation mode.
        file: has the input ``image`` and the output ``pred``, float32.

    Raises:
        InputError: the package onnx is not installed.
    """
    check_package()
    with warnings.catch_warnings():
        # Traced, because the newer exporter must be told the multiples that a network's sizes need.
        warnings.simplefilter("ignore")
        convert_to_onnx(
            network,
            [torch.zeros(2, len(SEQUENCES), 64, 96)],
            input_names=["image"],
            output_names=["pred"],
            dynamic_axes={"image": _AXES, "pred": _AXES},
            filename=str(file),
            use_trace=True,
            dynamo=False,
        )


def check_package() -> None:
    """Refuse to continue without the package onnx.

    Raises:
        InputError: it is not installed.
    """
    if find_spec("onnx") is None:
        raise InputError("onnx", "the package is not installed", "pip install '.[onnx]', or monai-brainseg[onnx]")
