"""What a model has seen, and whether a score is of patients that it has not: the leak guard.

Weights carry hashes of the patients that they were trained or selected on. A folder of masks carries them on in the
``run.json`` that says which weights made it.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from monai_brainseg.errors import InputError
from monai_brainseg.weights import read_checkpoint

RECORD = "run.json"
_NAMED = 3  # patients in a message


def list_hashes(items: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return sorted hashes of the people and of the images of datalist items, by which they are known again.

    Images are known by their voxels, whatever they are called, and a person by name, whichever of their scans it is.
    Items without either, such as a label server's, add nothing.
    """
    return sorted({found for item in items for found in (_hash_images(item), _hash_person(item)) if found})


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


def describe_checkpoint(checkpoint: Path) -> dict[str, Any]:
    """Return what a record says of weights: ``file``, ``sha256`` and ``seen``, None where they do not carry it."""
    content = read_checkpoint(checkpoint)
    return {
        "file": str(checkpoint),
        "sha256": hashlib.sha256(checkpoint.read_bytes()).hexdigest(),
        "seen": content.get("seen"),
    }


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
    except (OSError, ValueError) as error:
        raise InputError(f"{file}: cannot be read ({error}); predict again, or remove it") from error
    checkpoints = record.get("checkpoint") if isinstance(record, dict) else None
    lists = [each.get("seen") for each in checkpoints] if isinstance(checkpoints, list) else []
    known: list[list[str]] = [each for each in lists if each is not None]
    if not known or len(known) < len(lists):
        return None
    return sorted({found for each in known for found in each})


def judge(items: Sequence[Mapping[str, Any]], seen: Collection[str] | None, allow_seen: bool) -> dict[str, Any]:
    """Return whether a score of these patients is one of unseen ones, as every output gives it.

    Args:
        items: datalist items of the patients to be scored.
        seen: hashes that the weights carry; None where that is not known.
        allow_seen: go on where patients were seen, and say so.

    Returns:
        ``state``: "clean", "seen" or "unknown"; ``note``, one sentence; ``patients``, those that were seen.

    Raises:
        InputError: some were seen and that is not allowed.
    """
    if seen is None:
        note = "provenance unknown: no record says which weights made these masks, so they may have seen these patients"
        return {"state": "unknown", "note": note, "patients": []}
    if not seen:
        note = "provenance unknown: the weights do not say which patients they were trained on"
        return {"state": "unknown", "note": note, "patients": []}
    known, namesakes = find_seen(items, seen), find_namesakes(items, seen)
    if namesakes and not known:
        note = (
            f"provenance unknown: {_name_some(namesakes, len(items))} bear the name of a patient that the weights were "
            "trained or selected on, with other images; is it the same person, then this is no score of unseen people"
        )
        return {"state": "unknown", "note": note, "patients": []}
    if not known:
        note = "the weights were neither trained nor selected on any of these patients"
        return {"state": "clean", "note": note, "patients": []}
    shares = _name_some(known, len(items))
    if not allow_seen:
        raise InputError(
            f"{shares} were trained or selected on by these weights, so this is no score of unseen patients; score "
            "others, or allow it by --allow-seen (--allow_seen True under monai.bundle), and every output will say so"
        )
    note = f"NOT UNSEEN: {shares} were trained or selected on by the weights"
    return {"state": "seen", "note": note, "patients": known}


def _name_some(patients: Sequence[str], total: int) -> str:
    named = ", ".join(patients[:_NAMED]) + (", ..." if len(patients) > _NAMED else "")
    return f"{len(patients)} of {total} patients ({named})"
