"""Files of trained weights: ``{"model": state dict, "seen": hashes of patients}``, read, written, halved."""

from __future__ import annotations

import hashlib
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from brainseg_unet_scripts.weights import find_difference, unwrap

from monai_brainseg.errors import InputError
from monai_brainseg.files import read_json, write_beside

SEEN = "seen.json"  # beside a bare state dict, as the model zoo has them: {"sha256": of that file, "seen": hashes}


def read_checkpoint(path: Path) -> dict[str, Any]:
    """Return what a file of weights holds, on the CPU; nothing in it is executed.

    A bare state dict, the model zoo's form, is accepted too; ``seen.json`` beside it holds the hashes of its patients.
    So are the weights of a network that another program wrapped, see ``unwrap``; ``wrapped`` then says in what.

    Raises:
        InputError: the file is missing, is a folder, or is not a checkpoint of brainseg.
    """
    if path.is_dir():
        raise InputError(path, "is a folder", "name a file of weights, such as models/model.pt of a run")
    if not path.is_file():
        raise InputError(path, "no weights there", "train them with `run training`, or name a file of weights")
    try:
        check_whole(path)
        loaded = torch.load(path, map_location="cpu", weights_only=True)
        content = {**(_read_seen(path) if "model" not in loaded else {}), **unwrap(loaded)}
        seen = content.get("seen") or []
        if not (isinstance(seen, list) and all(isinstance(each, str) for each in seen)):
            raise ValueError("seen is not a list of hashes")
        if all(isinstance(value, torch.Tensor) for value in content["model"].values()):
            return content
    except (
        OSError,
        RuntimeError,
        EOFError,
        LookupError,
        TypeError,
        ValueError,
        AttributeError,
        AssertionError,
        zipfile.BadZipFile,
        pickle.UnpicklingError,
    ) as error:
        raise InputError(path, f"is not a checkpoint of brainseg ({type(error).__name__})", "name another") from error
    raise InputError(path, "is not a checkpoint of brainseg (not all its weights are tensors)", "name another")


def _read_seen(path: Path) -> dict[str, Any]:
    """Return ``{"seen": hashes}`` of ``seen.json`` if it describes this file, else nothing."""
    beside = path.with_name(SEEN)
    if not beside.is_file():
        return {}
    content = read_json(beside)
    return {"seen": content["seen"]} if content["sha256"] == hashlib.sha256(path.read_bytes()).hexdigest() else {}


def check_checkpoint(checkpoint: Path, network: torch.nn.Module) -> None:
    """Refuse weights that are missing, cannot be read or belong to another network.

    Raises:
        InputError: names the file, and the first parameter that differs.
    """
    if difference := find_difference(read_checkpoint(checkpoint)["model"], network):
        raise InputError(checkpoint, f"holds weights of another network; {difference}")


def load_checkpoint(checkpoint: str, network: torch.nn.Module) -> None:
    """Load weights into a network, for a training that begins with them.

    Raises:
        InputError: the file is missing or cannot be read.
    """
    network.load_state_dict(read_checkpoint(Path(checkpoint))["model"])


def check_whole(path: Path) -> None:
    """Compare a file that torch wrote with its checksums, which torch itself does not look at.

    Raises:
        zipfile.BadZipFile: it is damaged, or has another format.
    """
    with zipfile.ZipFile(path) as archive:
        if (damaged := archive.testzip()) is not None:
            raise zipfile.BadZipFile(f"{damaged} is damaged")


def write_checkpoint(content: Mapping[str, Any], path: Path) -> None:
    """Write a file beside it and rename that.

    Raises:
        InputError: the folder cannot be written or the disk is full; torch's own error names neither clearly.
    """
    try:
        with write_beside(path) as unfinished:
            torch.save({name: value for name, value in content.items() if name != "wrapped"}, unfinished)
    except (OSError, RuntimeError) as error:
        reason = " ".join(str(error).split())
        raise InputError(
            path, f"cannot be written ({reason})", "free some disk space, or name another --output_dir or --output"
        ) from error


def pull_back(tuned: str | Path, start: str | Path, share: float) -> None:
    """Move tuned weights part of the way back to those that the tuning started from, once.

    ``(1 - share) * tuned + share * start``: what a few patients taught stays, and less of what they did not show is
    forgotten (Wortsman et al., Robust fine-tuning of zero-shot models, CVPR 2022).

    Args:
        tuned: file of weights, replaced; one that was pulled back before stays as it is.
        start: weights of the same network.
        share: 0 leaves the tuned weights, 1 gives those of the start.

    Raises:
        InputError: a file cannot be read or written, or ``share`` is not between 0 and 1.
    """
    if not 0 <= share <= 1:
        raise InputError(f"--pull_back {share}", "must be between 0 and 1")
    content, first = read_checkpoint(Path(tuned)), read_checkpoint(Path(start))["model"]
    if "pulled_back" in content:
        return
    model = {
        name: torch.lerp(value.float(), first[name].float(), share) if value.is_floating_point() else value
        for name, value in content["model"].items()
    }
    write_checkpoint({**content, "model": model, "pulled_back": share}, Path(tuned))


def write_half_precision(checkpoint: Path, output: Path) -> None:
    """Write weights at half their size: floating-point parameters and buffers in float16, all else as it is.

    A network that loads them computes in float32 again; masks stay the same except for single voxels.

    Args:
        checkpoint: ``{"model": state dict, "seen": hashes}``.
        output: file of the same form.

    Raises:
        InputError: the checkpoint cannot be read, or the file cannot be written.
    """
    content = read_checkpoint(checkpoint)
    if output.exists() and output.samefile(checkpoint):
        raise InputError(output, "is the checkpoint itself, which would be lost", "name another --output")
    halved = {name: value.half() if value.is_floating_point() else value for name, value in content["model"].items()}
    write_checkpoint({**content, "model": halved}, output)
