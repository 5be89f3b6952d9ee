"""Files to studies: which files, by their names or their DICOM headers, are sequences of one study, and its name."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from pathlib import Path

from monai_brainseg.data.cases import Case, Found
from monai_brainseg.data.naming import CHANNELS, SEQUENCES
from monai_brainseg.dicom.names import doubt_series, find_common, name_studies
from monai_brainseg.dicom.series import Listing, choose_series, group_studies, list_series
from monai_brainseg.errors import InputError
from monai_brainseg.files import clean_name, name_folder
from monai_brainseg.images.slices import count_slices

# Reason for files among the inputs that are not used.
NO_IMAGES = "are not FLAIR, pre- or post-contrast images"

_LAST_NUMBER = re.compile(r"(?P<prefix>.*?)(?P<number>\d+)\D*")


def make_case(
    name: str,
    images: Mapping[str, tuple[Path, ...]],
    *notes: str,
    doubts: Iterable[str] = (),
    channels: bool = False,
    told: str = "",
) -> Case:
    """Return a case without a mask.

    Args:
        name: of the case.
        images: files of each sequence.
        notes: problems that finding its files has shown.
        doubts: what speaks against its FLAIR being FLAIR.
        channels: whether a file holds all sequences.
        told: what told which file is which sequence.
    """
    name, order = clean_name(name), CHANNELS if channels else {}
    return Case(name, name, "unknown", images, (), order, notes, tuple(doubts), told)


def add_slices(found: Found, files: Sequence[Path]) -> None:
    """Group by folder and by what stands before the last number of a name; ``_2`` comes before ``_10``.

    In a folder whose first file holds several slices, each file is a study.
    """
    groups: dict[tuple[Path, str], dict[int, list[Path]]] = defaultdict(lambda: defaultdict(list))
    first = {file.parent: file for file in reversed(files)}
    pages = {folder for folder, file in first.items() if count_slices(file) > 1}
    found.cases += [_make_colours(file.stem, (file,)) for file in files if file.parent in pages]
    for file in [file for file in files if file.parent not in pages]:
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
        found.cases.append(_make_colours(name, stack, *notes))


def _make_colours(name: str, files: tuple[Path, ...], *notes: str) -> Case:
    images = dict.fromkeys(SEQUENCES, files)
    return make_case(name, images, *notes, channels=True, told="the colours of its slices, or grey")


def add_dicom(found: Found, files: Sequence[Path], wanted: str | None) -> None:
    """Group series by the study and the person that their headers name, and choose one of each study."""
    listing = list_series(files)
    for kind, others in listing.other.items():
        found.left_out[f"are not MR images ({kind})"] += map(str, others)
    studies = group_studies(listing.series)
    for name, several in zip(name_studies(studies, wanted), studies, strict=True):
        folders = {file.parent for one in several for file in one.files}
        try:
            series = choose_series(several, wanted, find_common([one.files[0].parent for one in several]))
        except InputError as error:
            found.refuse(name, error)
            continue
        damaged = [file.name for file in listing.unreadable if file.parent in folders]
        notes = [f"{damaged[0]} beside it cannot be read as DICOM ({len(damaged)} in all)"] if damaged else []
        images, doubts = {"flair": series.files}, doubt_series(series)
        told = "--series" if wanted else "its description" if series.contrast else "being its only series"
        case = make_case(name, images, *series.notes, *notes, doubts=doubts, told=f"{told}, {series}")
        found.cases.append(case)
        for other in several:
            if other is not series:
                found.left_out[f"are of another series ({other.title})"] += map(str, other.files)
    _add_unreadable(found, listing)


def _add_unreadable(found: Found, listing: Listing) -> None:
    """Refuse folders in which nothing can be read; in others, damaged files are left out."""
    images = {file.parent for one in listing.series for file in one.files}
    for file, error in listing.unreadable.items():
        found.left_out["cannot be read as DICOM"].append(str(file))
        if file.parent not in images:
            what = f"holds no DICOM image that can be read ({file.name} {error.what})"
            found.refuse(clean_name(name_folder(file.parent)), InputError(file.parent, what, error.remedy))
