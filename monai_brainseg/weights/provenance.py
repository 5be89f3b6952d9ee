"""What a model has seen, and whether a score is of patients that it has not: the leak guard.

Weights carry hashes of the patients that they were trained or selected on. A folder of masks carries them on in the
``run.json`` that says which weights made it.
"""

from __future__ import annotations

import hashlib
import json
import os
import platform
from collections.abc import Collection, Iterable, Mapping, Sequence
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import torch
from brainseg_unet_scripts.records import RECORD, describe_weights

from monai_brainseg import __version__
from monai_brainseg.errors import InputError
from monai_brainseg.weights.checkpoints import read_checkpoint

_NAMED = 3  # patients in a message


def list_hashes(items: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return sorted hashes of the people and of the images of datalist items, by which they are known again.

    Images are known by their voxels, whatever they are called, and a person by name, whichever of their scans it is.
    Items without either, such as a label server's, add nothing.
    """
    return sorted({found for item in items for found in (_hash_images(item), _hash_person(item)) if found})


def list_all_seen(items: Iterable[Mapping[str, Any]], start: str) -> list[str]:
    """Return the hashes of datalist items and of those that weights to begin with had seen.

    None where these weights do not say whom they had seen, which is never called clean.

    Args:
        items: what is trained and validated on.
        start: file of weights.
    """
    before = read_checkpoint(Path(start)).get("seen")
    return sorted({*list_hashes(items), *before}) if before else []


def _hash_images(item: Mapping[str, Any]) -> str | None:
    return f"images:{item['hash']}" if "hash" in item else None


def _hash_person(item: Mapping[str, Any]) -> str | None:
    person = item.get("subject", item.get("patient"))
    return None if person is None else f"person:{hashlib.sha256(str(person).encode()).hexdigest()[:16]}"


def find_seen(items: Iterable[Mapping[str, Any]], seen: Collection[str]) -> list[str]:
    """Return the patients among datalist items whose images are known to weights which carry the hashes ``seen``."""
    return [str(item["patient"]) for item in items if _hash_images(item) in seen]


def find_namesakes(items: Iterable[Mapping[str, Any]], seen: Collection[str]) -> list[str]:
    """Return the patients whose name the weights know and whose images they do not.

    Another scan of a person who was seen, or, as names like ``case_001`` are given in every data set, another person.
    """
    return [str(i["patient"]) for i in items if _hash_person(i) in seen and _hash_images(i) not in seen]


def describe_machine() -> str:
    """Return what a record says of the machine: its processors and its GPU."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return f"{platform.machine()}, {os.cpu_count()} processors, {gpu}"


def list_versions(*packages: str) -> dict[str, str]:
    """Return the versions that a record names: this package's and those of others, "unknown" where nothing tells it.

    This package may be a source tree that nobody installed, and a package that a run does not need may be missing.
    """
    return {"monai-brainseg": __version__, **{package: _find_version(package) for package in packages}}


def _find_version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"


def describe_checkpoint(checkpoint: Path) -> dict[str, Any]:
    """Return what a record says of weights: ``file``, ``sha256`` and ``seen``, None where they do not carry it."""
    return describe_weights(checkpoint, read_checkpoint(checkpoint).get("seen"))


def read_seen(predictions: Path) -> list[str] | None:
    """Return the hashes that the weights behind a folder of masks carry; None where no record says so.

    Args:
        predictions: folder of masks; its ``run.json`` lists ``checkpoint``, each with ``seen``.

    Raises:
        InputError: the record cannot be read.
    """
    file = predictions / RECORD
    if not file.is_file():
        return None
    try:
        record = json.loads(file.read_text())
    except (OSError, ValueError, RecursionError) as error:
        raise InputError(file, f"cannot be read ({error})", "predict again, or remove it") from error
    checkpoints = record.get("checkpoint") if isinstance(record, dict) else None
    lists = [_read_hashes(each) for each in checkpoints] if isinstance(checkpoints, list) else []
    # one that does not say whom it saw may have seen anybody
    return sorted({found for each in lists for found in each}) if lists and all(lists) else None


def _read_hashes(checkpoint: Any) -> list[str]:
    seen = checkpoint.get("seen") if isinstance(checkpoint, dict) else None
    return [each for each in seen if isinstance(each, str)] if isinstance(seen, list) else []


def judge(items: Sequence[Mapping[str, Any]], seen: Collection[str] | None, allow_seen: bool) -> dict[str, Any]:
    """Return whether a score of these patients is one of unseen ones, as every output gives it.

    Args:
        items: datalist items of the patients to be scored.
        seen: hashes that the weights carry; None where that is not known.
        allow_seen: go on where patients were seen, and say so; whoever bears the name of one who was counts as seen.

    Returns:
        ``state``: "clean", "seen" or "unknown"; ``note``, one sentence; ``patients``, those that were seen.

    Raises:
        InputError: some were seen and that is not allowed.
    """
    if seen is None:
        return _call_unknown("no record says which weights made these masks, so they may have seen these patients")
    if not seen:
        return _call_unknown("the weights do not say which patients they were trained on")
    known, namesakes = find_seen(items, seen), find_namesakes(items, seen)
    if known and not allow_seen:
        raise InputError(
            _name_some(known, items),
            "the weights were trained or selected on these patients, so this is no score of unseen patients",
            "score others, or allow it by --allow-seen (--allow_seen True under monai.bundle), and every output will "
            "say so",
        )
    if allow_seen and (known or namesakes):
        both = known + namesakes
        note = f"NOT UNSEEN: {_name_some(both, items)} were trained or selected on by the weights"
        return {"state": "seen", "note": note, "patients": both}
    if namesakes:
        return _call_unknown(
            f"{_name_some(namesakes, items)} bear the name of a patient that the weights were trained or selected on, "
            "with other images; is it the same person, then this is no score of unseen people"
        )
    if not all("hash" in item for item in items):
        return _call_unknown("the datalist has no hashes of images to know patients by; make it by `brainseg prepare`")
    if not any(each.startswith("images:") for each in seen):
        return _call_unknown("the weights know no images, as they were trained from a datalist without their hashes")
    note = "the weights were neither trained nor selected on any of these patients"
    return {"state": "clean", "note": note, "patients": []}


def _call_unknown(reason: str) -> dict[str, Any]:
    return {"state": "unknown", "note": f"provenance unknown: {reason}", "patients": []}


def _name_some(patients: Sequence[str], items: Sequence[Any]) -> str:
    named = ", ".join(patients[:_NAMED]) + (", ..." if len(patients) > _NAMED else "")
    return f"{len(patients)} of {len(items)} patients ({named})"
