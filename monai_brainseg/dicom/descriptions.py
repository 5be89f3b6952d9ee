"""What the name of a DICOM series says of its contrast, and the name without a word about the person."""

from __future__ import annotations

import re
from collections.abc import Collection, Sequence
from typing import Any

from monai_brainseg.dicom.headers import PERSONAL, read_text

# In milliseconds. T2-weighted FLAIR has echoes from some 80 and inversions from some 1600; T1-weighted FLAIR has echoes
# of 6 to 30 and inversions of 600 to 1200.
_ECHO, _INVERSION = 40.0, 1300.0
_FLAIR = re.compile(r"flair|dark.?fl", re.IGNORECASE)
_T1, _T2 = (re.compile(rf"t{number}(?!\d)", re.IGNORECASE) for number in (1, 2))
_UID = re.compile(r"\d+(?:\.\d+){4,}")
# Names that media and exports give folders: SE000003, 00000017, S10, DICOM, 1.2.840.113619.2.
_MEDIA = re.compile(
    r"(?:dicom(?:dir|obj)?|dcm|images?|st|stu|std|se|ser|srs|series|exam|im|img)[-_ ]?\d*|p[at]\d{4,}|\d{5,}|"
    r"(?=.*\d)[0-9a-f]{8}",
    re.IGNORECASE,
)


def find_contrast(description: str, echo: Any = None, inversion: Any = None) -> tuple[str, str]:
    """Tell FLAIR from T1-weighted FLAIR, in which tumours are dark. Siemens also calls FLAIR dark fluid.

    Args:
        description: name of the series.
        echo: echo time in milliseconds, if it is known.
        inversion: inversion time in milliseconds, or several.

    Returns:
        "flair", "t1 flair" or "", and what shows that it is T1-weighted.
    """
    if not _FLAIR.search(description):
        return "", ""
    if _T1.search(description) and not _T2.search(description):
        return "t1 flair", "its description says T1"
    for value, limit, name in ((echo, _ECHO, "echo"), (inversion, _INVERSION, "inversion")):
        time = _to_time(value)
        if time and time < limit:
            return "t1 flair", f"its {name} time is {time:g} ms"
    return "flair", ""


def list_personal(header: Any) -> frozenset[str]:
    """Return the words of a header that say who the person is, and dates of birth in several spellings."""
    words = {word.casefold() for keyword in PERSONAL for word in re.findall(r"\w{2,}", read_text(header, keyword))}
    whole = {read_text(header, keyword).casefold() for keyword in PERSONAL}
    born = re.fullmatch(r"(\d{4})\D?(\d\d)\D?(\d\d)", read_text(header, "PatientBirthDate"))
    if born:
        year, month, day = born.groups()
        orders = ((year, month, day), (day, month, year), (month, day, year))
        words |= {mark.join(order) for mark in ("", "-", ".", "/", "_", " ") for order in orders}
    return frozenset(word for word in words | whole if len(word) > 1)


def clean_description(text: str, personal: Collection[str]) -> str:
    """Return a text without UIDs and without words that say who the person is."""
    text = _UID.sub(" ", text)
    for word in sorted(personal, key=len, reverse=True):
        # A short word is removed only by itself: a person may be called Ax.
        whole = re.escape(word) if len(word) > 3 else rf"(?<![^\W_]){re.escape(word)}(?![^\W_])"
        text = re.sub(whole, " ", text, flags=re.IGNORECASE)
    return re.sub(r"\s+", " ", re.sub(r"[\x00-\x1f\x7f^]+", " ", text)).strip(" _-.,;:/")


def name_series(description: str, number: str) -> str:
    """Return ``AX_T2_FLAIR_4`` for a series "AX T2 FLAIR" of number 4."""
    parts = (re.sub(r"[^\w.+-]+", "_", part).strip("_.-") for part in (description, number))
    return "_".join(part for part in parts if part) or "series"


def says_something(folder: str, personal: Collection[str]) -> bool:
    """Has a folder a name of its own, which is not one that media give, and does not say who the person is?"""
    return not is_personal(folder, personal) and not _MEDIA.fullmatch(folder)


def is_personal(folder: str, personal: Collection[str]) -> bool:
    """Does the name of a folder say who the person is, or a UID, or nothing?"""
    clean = clean_description(folder, personal)
    return not clean or clean != folder.strip(" _-.,;:/")


def _to_time(value: Any) -> float:
    values: Sequence[Any] = value if isinstance(value, Sequence) and not isinstance(value, str) else [value]
    try:
        return min(float(one) for one in values if one)
    except (TypeError, ValueError):
        return 0.0
