"""``run.json`` in a folder of masks: which weights made them, and the patients that these have seen."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Collection, Mapping, Sequence
from pathlib import Path
from typing import Any

import monai
import torch

from brainseg_unet_scripts.precision import name_precision

RECORD = "run.json"


def describe_weights(checkpoint: Path, weights: Mapping[str, Any]) -> dict[str, Any]:
    """Return what a record says of weights.

    Args:
        checkpoint: their file.
        weights: what it holds, as ``weights.read_weights`` gives it.

    Returns:
        ``file``, ``sha256`` and ``seen``, None if they carry none; and ``note`` if the weights were wrapped.
    """
    digest = hashlib.sha256(checkpoint.read_bytes()).hexdigest()
    noted = {"note": f"weights were taken out of {weights['wrapped']}"} if "wrapped" in weights else {}
    return {"file": str(checkpoint), "sha256": digest, "seen": weights.get("seen"), **noted}


def list_weights(
    folder: Path, weights: Sequence[Mapping[str, Any]], used: Collection[str] | None = None
) -> list[dict[str, Any]]:
    """Return the weights behind a folder of masks: these, and those of masks that are there already.

    Otherwise these would count as the only ones. Weights without a record are unknown: their ``seen`` is None.

    Args:
        folder: of the masks.
        weights: of this run, as ``describe_weights`` returns them.
        used: SHA-256 of the weights of each mask that is there; None if only ``run.json`` can tell.
    """
    now = {each["sha256"] for each in weights}
    try:
        recorded = {each["sha256"]: each for each in json.loads((folder / RECORD).read_bytes())["checkpoint"]}
    except (OSError, ValueError, KeyError, TypeError):
        recorded = {None: {"file": None, "sha256": None, "seen": None}}
    earlier = list(recorded if any(folder.glob("*.nii.gz")) else ()) if used is None else sorted(used)
    others = [recorded.get(digest, {"file": None, "sha256": digest, "seen": None}) for digest in earlier]
    return [*map(dict, weights), *(each for each in others if each["sha256"] not in now)]


def write_record(output_dir: str, weights: Mapping[str, Any], precision: torch.dtype) -> None:
    """Write ``run.json``, whole or not at all; `brainseg evaluate` reads it.

    Args:
        output_dir: folder of the masks, made if it is missing.
        weights: as ``describe_weights`` returns them.
        precision: in which the network computes.
    """
    folder = Path(output_dir)
    folder.mkdir(parents=True, exist_ok=True)
    record = {
        "command": sys.orig_argv,
        "checkpoint": list_weights(folder, [weights]),
        "precision": name_precision(precision),
        "versions": {"monai": monai.__version__, "torch": torch.__version__},
    }
    unfinished = folder / f".{RECORD}"
    unfinished.write_text(json.dumps(record, indent=2), encoding="utf-8")
    unfinished.replace(folder / RECORD)
