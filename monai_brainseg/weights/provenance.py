"""The patients that weights were trained on, and whether a score is of other patients: the leak guard.

Weights carry hashes of the patients that they were trained or selected on. The ``run.json`` in a folder of masks names
the weights that made them, and repeats these hashes.
"""

from __future__ import annotations

import hashlib
from collections.abc import Collection, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

from brainseg_unet_scripts.records import RECORD, describe_weights

from monai_brainseg.errors import InputError
from monai_brainseg.files import read_json
from monai_brainseg.weights.checkpoints import read_checkpoint

_NAMED = 3  # patients that a message names


def list_hashes(items: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return sorted hashes of the people and of the images of datalist items, by which they are recognised.

    Images are recognised by their voxels, whatever their names, and a person by name, in every scan. Items without
    either, such as those of a label server, add nothing.
    """
    return sorted({found for item in items for found in (_hash_images(item), _hash_person(item)) if found})


def list_all_seen(items: Iterable[Mapping[str, Any]], start: str) -> list[str]:
    """Return the hashes of datalist items, and those that the first weights of a training carry.

    Empty if the first weights carry none: their patients are then unknown, and no score is called clean.

    Args:
        items: what is trained and validated on.
        start: file of the first weights.
    """
    before = read_checkpoint(Path(start)).get("seen")
    return sorted({*list_hashes(items), *before}) if before else []


def _hash_images(item: Mapping[str, Any]) -> str | None:
    return f"images:{item['hash']}" if "hash" in item else None


def _hash_person(item: Mapping[str, Any]) -> str | None:
    person = item.get("subject", item.get("patient"))
    return None if person is None else f"person:{hashlib.sha256(str(person).encode()).hexdigest()[:16]}"


def find_seen(items: Iterable[Mapping[str, Any]], seen: Collection[str]) -> list[str]:
    """Return the patients among datalist items whose images are among the hashes ``seen`` of weights."""
    return [str(item["patient"]) for item in items if _hash_images(item) in seen]


def find_namesakes(items: Iterable[Mapping[str, Any]], seen: Collection[str]) -> list[str]:
    """Return the patients whose name is among the hashes ``seen`` and whose images are not.

    Such a case is another scan of a person, or another person: many data sets have names like ``case_001``.
    """
    return [str(i["patient"]) for i in items if _hash_person(i) in seen and _hash_images(i) not in seen]


def describe_checkpoint(checkpoint: Path) -> dict[str, Any]:
    """Return what a record says of weights, see ``describe_weights``."""
    return describe_weights(checkpoint, read_checkpoint(checkpoint))


def read_seen(predictions: Path) -> list[str] | None:
    """Return the hashes that the weights behind a folder of masks carry; None without a record of them.

    Args:
        predictions: folder of masks; its ``run.json`` lists ``checkpoint``, each with ``seen``.

    Raises:
        InputError: the record cannot be read.
    """
    lists = [_read_hashes(each) for each in _read_list(_read_record(predictions), "checkpoint")]
    # weights without hashes may have been trained on anybody
    return sorted({found for each in lists for found in each}) if lists and all(lists) else None


def read_seen_by_mask(predictions: Path, patients: Iterable[str]) -> dict[str, list[str] | None]:
    """Return for each patient the hashes that the weights behind this one mask carry; None where nothing tells them.

    So masks of five folds, each made by the weights that have not seen it, can lie in one folder. Only `brainseg
    predict` records each mask; of other masks, and of earlier records, nothing is returned.

    Args:
        predictions: folder of masks; the ``cases`` of its ``run.json`` have the SHA-256 of masks and of their weights.
        patients: whose masks, ``<patient>.nii.gz``, are there.

    Raises:
        InputError: the record cannot be read.
    """
    record = _read_record(predictions)
    hashes = {c.get("sha256"): _read_hashes(c) for c in _read_list(record, "checkpoint") if isinstance(c, dict)}
    cases = {str(c.get("case")): c for c in _read_list(record, "cases") if isinstance(c, dict)}
    if not any("mask_sha256" in case for case in cases.values()):
        return {}
    return {
        patient: _find_hashes(cases.get(patient), predictions / f"{patient}.nii.gz", hashes) for patient in patients
    }


def _find_hashes(case: Mapping[str, Any] | None, mask: Path, hashes: Mapping[Any, list[str]]) -> list[str] | None:
    """Return the hashes of the weights that a record names, if it is of this very mask."""
    if not case or case.get("mask_sha256") != hashlib.sha256(mask.read_bytes()).hexdigest():
        return None
    digests = _read_list(case.get("settings"), "weights")
    lists = [hashes.get(digest) for digest in digests if isinstance(digest, str)]
    if not digests or len(lists) < len(digests) or not all(lists):
        return None
    return sorted({one for each in lists for one in each or ()})


def _read_record(predictions: Path) -> Any:
    file = predictions / RECORD
    return read_json(file, "predict again, or remove it") if file.is_file() else None


def _read_list(record: Any, name: str) -> list[Any]:
    content = record.get(name) if isinstance(record, dict) else None
    return content if isinstance(content, list) else []


def _read_hashes(checkpoint: Any) -> list[str]:
    return [each for each in _read_list(checkpoint, "seen") if isinstance(each, str)]


def judge(
    items: Sequence[Mapping[str, Any]],
    seen: Collection[str] | None,
    allow_seen: bool,
    by_mask: Mapping[str, Collection[str] | None] | None = None,
) -> dict[str, Any]:
    """Return whether the weights have not seen these patients, in the form that every output shows.

    Args:
        items: datalist items of the patients to be scored.
        seen: hashes that the weights carry; None if unknown.
        allow_seen: score seen patients too, and say so; a patient with the name of a seen one then counts as seen.
        by_mask: hashes that the weights behind a patient's mask carry, by patient, None if unknown; for patients that
            are not among them, it is ``seen``.

    Returns:
        ``state``: "clean", "seen" or "unknown"; ``note``, one sentence; ``patients``, those that were seen.

    Raises:
        InputError: some were seen and that is not allowed.
    """
    carried = [(by_mask or {}).get(str(item["patient"]), seen) for item in items]
    behind = [(item, hashes) for item, hashes in zip(items, carried, strict=True) if hashes]
    known = [patient for item, hashes in behind for patient in find_seen([item], hashes)]
    namesakes = [patient for item, hashes in behind for patient in find_namesakes([item], hashes)]
    if known and not allow_seen:
        raise InputError(
            _name_some(known, items),
            "the weights were trained or selected on these patients, so this is not a score of unseen patients",
            "score others, or allow it with --allow-seen (--allow_seen True with monai.bundle): every output then says "
            "that they were seen",
        )
    if allow_seen and (known or namesakes):
        both = known + namesakes
        note = f"NOT UNSEEN: the weights were trained or selected on {_name_some(both, items)}"
        return {"state": "seen", "note": note, "patients": both}
    if any(hashes is None for hashes in carried):
        return _call_unknown("no record says which weights made these masks, so they may have seen these patients")
    if len(behind) < len(items):
        return _call_unknown("the weights do not say which patients they were trained on")
    if namesakes:
        return _call_unknown(
            f"{_name_some(namesakes, items)} have the name of a patient that the weights were trained or selected on, "
            "but other images; if it is the same person, this is not a score of unseen people"
        )
    if not all("hash" in item for item in items):
        return _call_unknown("the datalist has no hashes to recognise patients by; write it with `brainseg prepare`")
    if not all(any(each.startswith("images:") for each in hashes) for _, hashes in behind):
        return _call_unknown("the weights carry no hashes of images, because their datalist had none")
    note = "the weights were neither trained nor selected on any of these patients"
    return {"state": "clean", "note": note, "patients": []}


def _call_unknown(reason: str) -> dict[str, Any]:
    return {"state": "unknown", "note": f"provenance unknown: {reason}", "patients": []}


def _name_some(patients: Sequence[str], items: Sequence[Any]) -> str:
    named = ", ".join(patients[:_NAMED]) + (", ..." if len(patients) > _NAMED else "")
    return f"{len(patients)} of {len(items)} patients ({named})"
