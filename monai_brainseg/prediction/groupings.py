"""Files to studies: which files, by their names or their DICOM headers, are sequences of one study, and its name."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from monai_brainseg.data.cases import Case, Found
from monai_brainseg.data.dicom import Series, choose_series, list_series, says_flair
from monai_brainseg.data.naming import CHANNELS, SEQUENCES, clean_name, name_folder
from monai_brainseg.errors import InputError

# Reason for files among the inputs that are not used.
NO_IMAGES = "are not FLAIR, pre- or post-contrast images"

_LAST_NUMBER = re.compile(r"(?P<prefix>.*?)(?P<number>\d+)\D*")


def make_case(
    name: str, images: Mapping[str, tuple[Path, ...]], *notes: str, channels: bool = False, told: str = ""
) -> Case:
    """Return a case without a mask.

    Args:
        name: of the case.
        images: files of each sequence.
        notes: problems that the names of its files already show.
        channels: whether a file holds all sequences.
        told: what told which file is which sequence.
    """
    return Case(clean_name(name), clean_name(name), "unknown", images, (), CHANNELS if channels else {}, notes, told)


def add_slices(found: Found, files: Sequence[Path]) -> None:
    """Group by folder and by what stands before the last number of a name; ``_2`` comes before ``_10``."""
    groups: dict[tuple[Path, str], dict[int, list[Path]]] = defaultdict(lambda: defaultdict(list))
    for file in files:
        match = _LAST_NUMBER.fullmatch(file.stem)
        prefix, number = (match["prefix"], int(match["number"])) if match else (file.stem, 0)
        groups[file.parent, prefix][number].append(file)
    for (folder, prefix), numbers in groups.items():
        name = prefix.rstrip("_-. ") or name_folder(folder)
        twice = [several for several in numbers.values() if len(several) > 1]
        if twice:
            error = InputError(twice[0][1], f"has the same number as {twice[0][0].name}", "remove one of them")
            found.refuse(clean_name(name), error)
            continue
        stack = tuple(numbers[number][0] for number in sorted(numbers))
        lacking = sorted(set(range(min(numbers), max(numbers))) - numbers.keys())
        notes = [f"slice {lacking[0]} is missing; {len(lacking)} missing in all"] if lacking else []
        images = dict.fromkeys(SEQUENCES, stack)
        found.cases.append(make_case(name, images, *notes, channels=True, told="the colours of its slices, or grey"))


def add_dicom(found: Found, files: Sequence[Path], wanted: str | None) -> None:
    """Group series by the study that their headers name, and choose one of each."""
    studies: dict[str, list[Series]] = defaultdict(list)
    for folder in sorted({file.parent for file in files}):
        try:
            for series in list_series(folder):
                studies[series.study].append(series)
        except InputError as error:
            found.refuse(clean_name(name_folder(folder)), error)
    given = set(files)
    for number, (_, several) in enumerate(sorted(studies.items()), start=1):
        kept = [replace(one, files=tuple(f for f in one.files if f in given)) for one in several]
        kept = [one for one in kept if one.files]
        if not kept:
            continue
        folder = _common_folder([one.files[0].parent for one in kept])
        alone = sum(any(one.files[0].parent == folder for one in other) for other in studies.values()) < 2
        name = name_folder(folder) + ("" if alone else f"_study{number}")
        try:
            series = choose_series(kept, wanted, folder)
        except InputError as error:
            found.refuse(clean_name(name), error)
            continue
        flair = says_flair(series.description)
        notes = [] if flair else [f"series {series} does not say FLAIR, which the network needs"]
        found.cases.append(make_case(name, {"flair": series.files}, *notes))


def _common_folder(folders: Sequence[Path]) -> Path:
    first, *others = folders
    return next(
        (place for place in (first, *first.parents) if all(place == o or place in o.parents for o in others)), first
    )
