"""``run.json`` in a folder of masks: which weights made them, and the patients that these have seen."""

from __future__ import annotations

import hashlib
import json
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import monai
import torch

from brainseg_unet_scripts.precision import name_precision

RECORD = "run.json"


def describe_weights(checkpoint: Path, seen: Sequence[str] | None) -> dict[str, Any]:
    """Return what a record says of weights: ``file``, ``sha256`` and ``seen``, None if they carry none."""
    return {"file": str(checkpoint), "sha256": hashlib.sha256(checkpoint.read_bytes()).hexdigest(), "seen": seen}


def list_weights(folder: Path, weights: Mapping[str, Any]) -> list[dict[str, Any]]:
    """Return the weights behind a folder of masks: these, and those of masks that are there already.

    Otherwise these would count as the only ones. Earlier weights without a record are unknown.

    Args:
        folder: of the masks.
        weights: as ``describe_weights`` returns them.
    """
    if not any(folder.glob("*.nii.gz")):
        return [dict(weights)]
    try:
        earlier = json.loads((folder / RECORD).read_text(encoding="utf-8"))["checkpoint"]
        others = [each for each in earlier if each["sha256"] != weights["sha256"]]
    except (OSError, ValueError, KeyError, TypeError):
        others = [{"file": None, "sha256": None, "seen": None}]
    return [dict(weights), *others]


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
        "checkpoint": list_weights(folder, weights),
        "precision": name_precision(precision),
        "versions": {"monai": monai.__version__, "torch": torch.__version__},
    }
    unfinished = folder / f".{RECORD}"
    unfinished.write_text(json.dumps(record, indent=2), encoding="utf-8")
    unfinished.replace(folder / RECORD)
