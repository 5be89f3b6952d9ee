"""The start of ``run inferring``: errors are reported in one line, and the run is recorded."""

from __future__ import annotations

import io
import logging
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from types import TracebackType
from typing import Any

import torch
from monai.networks.nets import FlexibleUNet

from brainseg_unet_scripts.cases import check_cases
from brainseg_unet_scripts.encoders import check_patch
from brainseg_unet_scripts.errors import BundleError
from brainseg_unet_scripts.records import describe_weights, write_record
from brainseg_unet_scripts.weights import check_weights, read_weights

logger = logging.getLogger(__name__)


def explain_errors() -> None:
    """Let this process end in one line if the user can correct the cause; other errors keep their traceback.

    Does nothing if ``python -m monai.bundle`` is not the program, as in a notebook or a server.
    """
    if "monai.bundle" in sys.orig_argv:
        sys.excepthook = _end
        for stream in (sys.stdout, sys.stderr):  # a name with é on an ASCII terminal is written as an escape
            if isinstance(stream, io.TextIOWrapper):
                stream.reconfigure(errors="backslashreplace")


def _end(kind: type[BaseException], error: BaseException, trace: TracebackType | None) -> None:
    for cause in list_causes(error):
        if isinstance(cause, BundleError) or isinstance(cause, OSError) and cause.errno is not None:
            print(f"inferring: {cause}", file=sys.stderr)
            return
    sys.__excepthook__(kind, error, trace)


def list_causes(error: BaseException) -> Iterator[BaseException]:
    """Yield an error and its causes; MONAI wraps errors of configs and of transforms."""
    cause: BaseException | None = error
    while cause is not None:
        yield cause
        cause = cause.__cause__ or cause.__context__


def start_inference(
    precision: torch.dtype,
    cases: Sequence[Any],
    dataset_dir: str,
    checkpoint: str,
    network: torch.nn.Module,
    patch_size: Sequence[int],
    output_dir: str,
) -> None:
    """Check the command, and write the record of the coming masks.

    Args:
        precision: in which the network will compute.
        cases: the cases to segment.
        dataset_dir: the folder that was searched for them.
        checkpoint: file of weights.
        network: the network that they are for.
        patch_size: pixels of what it sees at a time.
        output_dir: folder of the masks.

    Raises:
        BundleError: there are no cases, the network cannot take the patches, or the weights are missing, cannot be read
            or are another network's.
    """
    check_cases(cases, dataset_dir)
    if isinstance(network, FlexibleUNet):
        check_patch(patch_size)
    weights = read_weights(checkpoint)
    check_weights(weights["model"], network, checkpoint)
    record = describe_weights(Path(checkpoint), weights)
    if "note" in record:
        logger.warning("%s: %s", checkpoint, record["note"])
    write_record(output_dir, record, precision)
    logger.info("%d cases", len(cases))
