"""The values that the fields of a datalist's entry may have. No name may lead out of its folder."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

from monai_brainseg.files import clean_name

_LONGEST = 200


def find_wrong_field(item: Mapping[str, Any]) -> str | None:
    """Return what is wrong with the first wrong field of an entry; None if all are right."""
    for key, (is_right, meant) in _FIELDS.items():
        if key in item and not is_right(item[key]):
            return f"{key} {repr(item[key]):.60} is not {meant}"
    return None


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and bool(value.strip()) and "\0" not in value and _can_be_encoded(value)


def _can_be_encoded(value: str) -> bool:
    return not any("\ud800" <= letter <= "\udfff" for letter in value)


def _is_file(value: Any) -> bool:
    """Can it be the path of a file? The file need not exist."""
    return _is_text(value) and len(value) < 4096 and all(len(part.encode()) < 256 for part in value.split("/"))


def _is_name(value: Any) -> bool:
    """Is it a file name on every system, without a path to another folder?"""
    return _is_text(value) and value == clean_name(value) and len(value.encode()) <= _LONGEST


def _is_number(value: Any) -> bool:
    return isinstance(value, int) and not isinstance(value, bool) and value >= 0


# Masks and scores are named after the patient, so a name must not lead out of a folder.
_FIELDS: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    "patient": (_is_name, "a name of at most 200 bytes without characters such as / : ? *"),
    "image": (lambda v: _is_file(v) or isinstance(v, list) and bool(v) and all(map(_is_file, v)), "a file or files"),
    "label": (_is_file, "a file"),
    "subject": (_is_text, "a text"),
    "site": (_is_text, "a text"),
    "source": (_is_text, "a text"),
    "fold": (_is_number, "a whole number from 0"),
    "spacing_known": (lambda value: isinstance(value, bool), "true or false"),
    "hash": (_is_text, "a text"),
    "replaced": (lambda value: isinstance(value, list), "a list"),
    "notes": (lambda value: isinstance(value, list), "a list"),
    "tumor_voxels": (_is_number, "a whole number from 0"),
}
