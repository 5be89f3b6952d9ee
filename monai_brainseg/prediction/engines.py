"""A network as ONNX, in a file and at work under ONNX Runtime."""

from __future__ import annotations

import tempfile
import warnings
from collections.abc import Iterator
from contextlib import contextmanager
from importlib.util import find_spec
from pathlib import Path

import torch
from monai.networks.utils import convert_to_onnx

from monai_brainseg.data.volumes import SEQUENCES
from monai_brainseg.errors import InputError

_AXES = {0: "batch", 2: "height", 3: "width"}


def write_onnx(network: torch.nn.Module, file: Path) -> None:
    """Write a 2D network as ONNX, for any number and size of images.

    Args:
        network: takes ``[batch, sequence, x, y]`` and gives ``[batch, class, x, y]``; goes into evaluation mode.
        file: has the input ``image`` and the output ``pred``, float32.

    Raises:
        InputError: the package onnx is not there.
    """
    check_packages("onnx")
    with warnings.catch_warnings():
        # Traced, as the newer way has to be told of what a network's sizes must be multiples.
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


@contextmanager
def explain_failure(name: object, form: str, remedy: str) -> Iterator[None]:
    """Say in one line what keeps an exporter of torch or MONAI from writing a network.

    Args:
        name: of the bundle or network.
        form: that it was to be written in.
        remedy: what to do instead.

    Raises:
        InputError: it failed.
    """
    try:
        yield
    except (RuntimeError, TypeError, ValueError, LookupError, AttributeError, OSError) as error:
        reason = " ".join(str(error).split())[:160]
        raise InputError(name, f"cannot be written as {form} ({type(error).__name__}: {reason})", remedy) from error


def check_packages(*names: str) -> None:
    """Refuse to go on without packages of the extra ``onnx``.

    Raises:
        InputError: one is not there.
    """
    for name in names:
        if find_spec(name) is None:
            raise InputError(name, "the package is not there", "pip install '.[onnx]', or monai-brainseg[onnx]")


class OnnxNetwork(torch.nn.Module):
    """A network that ONNX Runtime computes, on the CPU and with as many threads as torch has.

    Args:
        network: what ``write_onnx`` takes.

    Raises:
        InputError: onnx or onnxruntime is not there.
    """

    def __init__(self, network: torch.nn.Module) -> None:
        super().__init__()
        check_packages("onnx", "onnxruntime")
        import onnxruntime

        options = onnxruntime.SessionOptions()
        options.intra_op_num_threads = torch.get_num_threads()
        with tempfile.TemporaryDirectory() as folder:
            with explain_failure(type(network).__name__, "ONNX", "leave out --engine"):
                write_onnx(network, Path(folder) / "network.onnx")
            self.session = onnxruntime.InferenceSession(
                Path(folder) / "network.onnx", options, providers=["CPUExecutionProvider"]
            )

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """Return ``[batch, class, x, y]`` for images ``[batch, sequence, x, y]``."""
        (answer,) = self.session.run(None, {"image": images.numpy()})
        return torch.from_numpy(answer)
