"""DICOM series: found among files, freed of copies, and grouped into studies."""

from __future__ import annotations

import re
from collections import Counter, defaultdict
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np

from monai_brainseg.dicom.descriptions import (
    clean_description,
    find_contrast,
    list_personal,
    says_something,
)
from monai_brainseg.dicom.headers import find_class, is_lossy, read_header, read_text, read_times
from monai_brainseg.dicom.images import Image, divide_series, leave_copies, read_image
from monai_brainseg.errors import InputError

# MR, enhanced MR of several frames, and enhanced MR made from single slices.
_MR = ("1.2.840.10008.5.1.4.1.1.4", "1.2.840.10008.5.1.4.1.1.4.1", "1.2.840.10008.5.1.4.1.1.4.4")


@dataclass(frozen=True)
class Series:
    """One series of a study.

    Attributes:
        study: tells studies and persons apart; only to be compared, since it holds what identifies them.
        uid: UID of the series.
        number: number of the series, given by the scanner.
        description: name that the scanner gave it, without what names a person.
        files: its images in order.
        contrast: "flair", "t1 flair" or empty, see ``descriptions.find_contrast``.
        reason: what shows that a FLAIR is T1-weighted.
        detail: what tells it from others of its number.
        choice: what ``--series`` takes for it, where its number is not enough.
        notes: what was noticed when it was found.
        personal: words that may not reach a name.
    """

    study: tuple[str, ...]
    uid: str
    number: str
    description: str
    files: tuple[Path, ...]
    contrast: str = ""
    reason: str = ""
    detail: str = ""
    choice: str = ""
    notes: tuple[str, ...] = ()
    personal: frozenset[str] = field(default=frozenset(), repr=False)

    @property
    def title(self) -> str:
        """What ``--series`` takes for it, and its description."""
        return f"{self.choice or self.number or 'none'}: {self.description or 'no description'}"

    def __str__(self) -> str:
        count = f"{len(self.files)} file{'s' * (len(self.files) != 1)}"
        return f"{self.title} ({count}{f', {self.detail}' if self.detail else ''})"


@dataclass
class Listing:
    """What is among DICOM files.

    Attributes:
        series: those of MR images, sorted by number.
        other: other objects, by what they are.
        unreadable: the error of each file that is damaged or is not DICOM.
    """

    series: list[Series] = field(default_factory=list)
    other: dict[str, list[Path]] = field(default_factory=lambda: defaultdict(list))
    unreadable: dict[Path, InputError] = field(default_factory=dict)


def list_series(files: Iterable[Path]) -> Listing:
    """Find the series among files: by the UID of the series, wherever they are, and by the size of their images.

    A series that holds several volumes (echoes, copies that differ) is divided into them. Equal copies count once.

    Raises:
        InputError: pydicom is not installed.
    """
    listing = Listing()
    groups: dict[tuple[Any, ...], list[Image]] = defaultdict(list)
    for file in sorted(files):
        try:
            header = read_header(file)
            kind = _name_other(header)
            if kind:
                listing.other[kind].append(file)
                continue
            image = read_image(file, header)
            key = (*_identify_study(header), *_identify_series(header, file), image.frames[0].size)
        except InputError as error:
            if "pip install" in error.remedy:
                raise
            listing.unreadable[file] = error
            continue
        groups[key].append(image)
    for images in groups.values():
        kept, copies = leave_copies(images)
        parts = divide_series(kept)
        listing.series += [_describe(part, detail, copies) for detail, part in parts]
    listing.series.sort(key=lambda one: (_to_number(one.number), one.description, one.files))
    return listing


def group_studies(series: Iterable[Series]) -> list[list[Series]]:
    """Return the series of each study, each with what ``--series`` takes for it."""
    studies: dict[tuple[str, ...], list[Series]] = defaultdict(list)
    for one in series:
        studies[one.study].append(one)
    return [list(_number(several)) for several in studies.values()]


def choose_series(series: Sequence[Series], wanted: str | None, folder: Path) -> Series:
    """Return the series that was asked for, else the FLAIR that is not T1-weighted, else the only one.

    Args:
        series: of one study.
        wanted: number, what the message gives for one whose number repeats, UID, or a part of the description.
        folder: where they are.

    Raises:
        InputError: no series or several match; the message lists all series.
    """
    meant = [one for one in series if _is_meant(one, wanted)] if wanted else []
    if not wanted:
        meant = [one for one in series if one.contrast == "flair"] or list(series)
    if len(meant) == 1:
        return meant[0]
    problem = f"no series matches {wanted!r}" if wanted and not meant else f"{len(meant)} series match"
    listed = "; ".join(map(str, series)) or "none"
    raise InputError(folder, f"{problem} (the folder has: {listed})", "choose one with --series NUMBER, as listed")


def _name_other(header: Any) -> str:
    """Return what an object is that is not an MR image; empty for one."""
    from pydicom.uid import UID

    kind = find_class(header)
    if kind in _MR or (not kind and read_text(header, "Modality") in ("MR", "")):
        return ""
    name = UID(kind).name if kind else read_text(header, "Modality")
    return "private object" if name == kind else name


def _identify_series(header: Any, file: Path) -> tuple[str, ...]:
    """Return the UID of a series; its number, description and folder if it has none."""
    read = partial(read_text, header)
    uid = read("SeriesInstanceUID")
    return (uid,) if uid else (read("SeriesNumber"), read("SeriesDescription"), str(file.parent))


def _identify_study(header: Any) -> tuple[str, ...]:
    """Return person and study. Anonymised files of several persons may share or lack a part of it."""
    read = partial(read_text, header)
    person = read("PatientID") + "|" + re.sub(r"\W+", "", read("PatientName")).casefold()
    study = read("StudyInstanceUID")
    return (person, study) if study else (person, "", *map(read, ("StudyDate", "StudyTime", "StudyID")))


def _describe(images: Sequence[Image], detail: str, copies: Sequence[Image]) -> Series:
    header = read_header(images[0].file)
    personal = list_personal(header)
    study, folder = _identify_study(header), images[0].file.parent
    if not study[1]:
        # Without a study's UID, series of one study share a frame of reference and a folder; media have one for each.
        frame = read_text(header, "FrameOfReferenceUID")
        study += (frame, str(folder.parent if frame and not says_something(folder.name, personal) else folder))
    text = read_text(header, "SeriesDescription") or read_text(header, "ProtocolName")
    contrast, reason = find_contrast(text, *read_times(header))
    return Series(
        study,
        read_text(header, "SeriesInstanceUID"),
        read_text(header, "SeriesNumber"),
        clean_description(text, personal),
        tuple(image.file for image in sorted(images, key=_find_depth)),
        contrast,
        reason,
        clean_description(detail, personal),
        notes=tuple(_note(header, images, copies)),
        personal=personal,
    )


def _note(header: Any, images: Sequence[Image], copies: Sequence[Image]) -> Iterator[str]:
    if copies:
        what = "1 image is" if len(copies) == 1 else f"{len(copies)} images are"
        yield f"{what} there twice with equal pixels and counted once ({copies[0].file.name})"
    if is_lossy(header):
        yield "lossy compression has lost detail; use the original images if you have them"
    if len(images) > 1 and not any(frame.position for frame in images[0].frames):
        yield "its images do not say where they are; they were put in the order of their numbers, as evenly spaced"
    elif len(images[0].frames) > 1 and not images[0].frames[0].position:
        yield "its frames do not say where they are; they were taken in their stored order, as evenly spaced"


def _find_depth(image: Image) -> tuple[float, float, Path]:
    first = image.frames[0]
    if first.position is None or first.directions is None:
        return 0.0, first.number, image.file
    return float(np.dot(first.position, np.cross(first.directions[:3], first.directions[3:]))), 0.0, image.file


def _number(series: Sequence[Series]) -> Iterator[Series]:
    """Give series whose number repeats, or is missing, what ``--series`` takes: ``5.1``, ``5.2``, ``none.1``."""
    counts = Counter(one.number for one in series)
    seen: Counter[str] = Counter()
    for one in series:
        seen[one.number] += 1
        again = counts[one.number] > 1
        choice = (one.number or "none") + (f".{seen[one.number]}" if again else "")
        folder = f"in {clean_description(one.files[0].parent.name, one.personal)}"
        yield replace(one, choice=choice, detail=one.detail or (folder if again else ""))


def _is_meant(series: Series, wanted: str) -> bool:
    if wanted in (series.uid, series.number, series.choice):
        return True
    return not re.fullmatch(r"[\d.]+", wanted) and wanted.casefold() in series.description.casefold()


def _to_number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("inf")
