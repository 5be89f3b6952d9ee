"""Files to studies: which files, by their names or their DICOM headers, are sequences of one study, and its name."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from monai_brainseg.data.case_voxels import count_channels
from monai_brainseg.data.cases import Case, Found
from monai_brainseg.data.dicom import Series, choose_series, list_series, says_flair
from monai_brainseg.data.image_files import strip_ending
from monai_brainseg.data.naming import CHANNELS, ROLES, SEQUENCES, clean_name
from monai_brainseg.data.slices import count_slices
from monai_brainseg.errors import InputError

# Reason for files among the inputs that are not used.
NO_IMAGES = "are not FLAIR, pre- or post-contrast images"

_CHANNEL = re.compile(r"(?P<case>.+)_000(?P<channel>[0-2])")
_LAST_NUMBER = re.compile(r"(?P<prefix>.*?)(?P<number>\d+)\D*")


def make_case(name: str, images: Mapping[str, tuple[Path, ...]], *notes: str, channels: bool = False) -> Case:
    """Return a case without a mask.

    Args:
        name: of the case.
        images: files of each sequence.
        notes: problems that the names of its files already show.
        channels: whether a file holds all sequences.
    """
    return Case(clean_name(name), clean_name(name), "unknown", images, (), CHANNELS if channels else {}, notes)


def add_slices(found: Found, files: Sequence[Path]) -> None:
    """Group by folder and by what stands before the last number of a name; ``_2`` comes before ``_10``.

    In a folder whose first file holds several slices, each file is a study.
    """
    groups: dict[tuple[Path, str], dict[int, list[Path]]] = defaultdict(lambda: defaultdict(list))
    first = {file.parent: file for file in reversed(files)}
    pages = {folder for folder, file in first.items() if count_slices(file) > 1}
    found.cases += [
        make_case(file.stem, dict.fromkeys(SEQUENCES, (file,)), channels=True) for file in files if file.parent in pages
    ]
    for file in [file for file in files if file.parent not in pages]:
        match = _LAST_NUMBER.fullmatch(file.stem)
        prefix, number = (match["prefix"], int(match["number"])) if match else (file.stem, 0)
        groups[file.parent, prefix][number].append(file)
    for (folder, prefix), numbers in groups.items():
        name = prefix.rstrip("_-. ") or folder.resolve().name
        twice = [several for several in numbers.values() if len(several) > 1]
        if twice:
            found.bad[clean_name(name)] = InputError(
                twice[0][1], f"has the same number as {twice[0][0].name}", "remove one of them"
            )
            continue
        stack = tuple(numbers[number][0] for number in sorted(numbers))
        lacking = sorted(set(range(min(numbers), max(numbers))) - numbers.keys())
        notes = [f"slice {lacking[0]} is missing; {len(lacking)} missing in all"] if lacking else []
        found.cases.append(make_case(name, dict.fromkeys(SEQUENCES, stack), *notes, channels=True))


def add_named(found: Found, files: Sequence[Path], patterns: Mapping[str, re.Pattern[str]]) -> None:
    """Group NIfTI files by patterns of their names, see ``naming.parse_naming``."""
    roles: dict[str, dict[str, list[Path]]] = defaultdict(lambda: defaultdict(list))
    for file in files:
        matches = [(role, m["patient"]) for role, p in patterns.items() if (m := p.fullmatch(file.as_posix()))]
        for role, patient in matches:
            if role != "label":
                roles[patient][role].append(file)
        if not matches:
            found.left_out[NO_IMAGES].append(str(file))
    for patient, images in roles.items():
        _add_roles(found, patient, images)


def add_volumes(found: Found, files: Sequence[Path]) -> None:
    """Find studies by names: ``CASE_0000.nii`` to ``_0002``, a sequence's name in the file's, or a file each."""
    folders: dict[Path, list[Path]] = defaultdict(list)
    for file in files:
        folders[file.parent].append(file)
    for folder, several in sorted(folders.items()):
        numbered = [(match, file) for file in several if (match := _CHANNEL.fullmatch(_stem(file)))]
        _add_channels(found, numbered)
        rest = [file for file in several if not _CHANNEL.fullmatch(_stem(file))]
        if any(find_word(_stem(file))[0] == "flair" for file in rest):
            _add_spoken(found, folder, rest)
        else:
            # If no name says FLAIR, each file is a study of its own.
            found.cases += [_make_whole(file) for file in rest]


def add_dicom(found: Found, files: Sequence[Path], wanted: str | None) -> None:
    """Group series by the study that their headers name, and choose one of each."""
    studies: dict[str, list[Series]] = defaultdict(list)
    for folder in sorted({file.parent for file in files}):
        try:
            for series in list_series(folder):
                studies[series.study].append(series)
        except InputError as error:
            found.bad[clean_name(folder.resolve().name)] = error
    given = set(files)
    for number, (_, several) in enumerate(sorted(studies.items()), start=1):
        kept = [replace(one, files=tuple(f for f in one.files if f in given)) for one in several]
        kept = [one for one in kept if one.files]
        if not kept:
            continue
        folder = _common_folder([one.files[0].parent for one in kept])
        alone = sum(any(one.files[0].parent == folder for one in other) for other in studies.values()) < 2
        name = folder.resolve().name + ("" if alone else f"_study{number}")
        try:
            series = choose_series(kept, wanted, folder)
        except InputError as error:
            found.bad[clean_name(name)] = error
            continue
        flair = says_flair(series.description)
        notes = [] if flair else [f"series {series} does not say FLAIR, which the network needs"]
        found.cases.append(make_case(name, {"flair": series.files}, *notes))


def find_word(stem: str) -> tuple[str | None, str]:
    """Return the sequence that one word of a name says ("pre", "unused", "label", ...), and the name without it."""
    said = [match for match in re.finditer(r"[^_\-. ]+", stem) if match[0].lower() in ROLES]
    if len(said) != 1:
        return None, stem
    before, after = stem[: said[0].start()].rstrip("_-. "), stem[said[0].end() :]
    return ROLES[said[0][0].lower()], before + after if before else after.lstrip("_-. ")


def _add_roles(found: Found, name: str, images: Mapping[str, Sequence[Path]]) -> None:
    twice = [(role, several) for role, several in images.items() if len(several) > 1]
    if twice:
        role, several = twice[0]
        what = f"is a second {role} of {name}, beside {several[0].name}"
        found.bad[clean_name(name)] = InputError(several[1], what, "remove or rename one")
    elif "flair" not in images:
        some = next(iter(images.values()))[0]
        found.bad[clean_name(name)] = InputError(
            some, f"{name} has no FLAIR", "add it, or give this file with --flair if it is one"
        )
    else:
        roles = {role: (images[role][0],) for role in SEQUENCES if role in images}
        found.cases.append(make_case(name, roles))


def _add_spoken(found: Found, folder: Path, files: Sequence[Path]) -> None:
    """Add the studies of files whose names say their sequence: ``CASE_flair.nii``, ``FLAIR.nii`` in a folder each."""
    groups: dict[str, dict[str, list[Path]]] = defaultdict(lambda: defaultdict(list))
    for file in files:
        role, rest = find_word(_stem(file))
        if role in SEQUENCES:
            groups[rest][role].append(file)
        else:
            found.left_out[NO_IMAGES].append(str(file))
    for rest, images in groups.items():
        # What follows the sequence says how it was made, unless it tells several studies apart.
        leads = rest and any(_stem(file).startswith(rest) for several in images.values() for file in several)
        _add_roles(found, rest if leads or len(groups) > 1 and rest else folder.resolve().name, images)


def _add_channels(found: Found, numbered: Sequence[tuple[re.Match[str], Path]]) -> None:
    cases: dict[str, dict[str, list[Path]]] = defaultdict(lambda: defaultdict(list))
    for match, file in numbered:
        cases[match["case"]][SEQUENCES[int(match["channel"])]].append(file)
    for name, images in cases.items():
        # A single file is FLAIR, whatever its number, as in the bundle.
        _add_roles(found, name, {"flair": next(iter(images.values()))} if len(images) == 1 else images)


def _make_whole(file: Path) -> Case:
    """Return a study of one file: FLAIR, or pre-contrast, FLAIR and post-contrast along a fourth axis."""
    role = find_word(_stem(file))[0]
    notes = [f"its name says {role}, but the network needs FLAIR"] if role in ("pre", "post", "unused") else []
    several = count_channels(file) == len(SEQUENCES)
    return make_case(
        _stem(file), dict.fromkeys(SEQUENCES if several else ("flair",), (file,)), *notes, channels=several
    )


def _common_folder(folders: Sequence[Path]) -> Path:
    first, *others = folders
    return next(
        (place for place in (first, *first.parents) if all(place == o or place in o.parents for o in others)), first
    )


def _stem(file: Path) -> str:
    return strip_ending(file.name) or file.name
