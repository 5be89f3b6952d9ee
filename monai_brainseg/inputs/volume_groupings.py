"""Files of volumes to studies: which are sequences of one study, by BIDS, numbers, names and folders, and its name."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Mapping, Sequence
from dataclasses import replace
from pathlib import Path

import numpy as np
from brainseg_unet_scripts.errors import BundleError
from brainseg_unet_scripts.file_groups import NUMBERED, are_people

from monai_brainseg.data.bids import join_sessions, read_bids
from monai_brainseg.data.cases import Case, Found
from monai_brainseg.data.copies import COPIES, name_volume, split_copies
from monai_brainseg.data.formats import count_channels, read_files, squeeze
from monai_brainseg.data.naming import SEQUENCES, T1_FLAIR, Said, read_name
from monai_brainseg.errors import InputError
from monai_brainseg.files import clean_name, name_folder
from monai_brainseg.inputs.groupings import NO_IMAGES, make_case

BY_NUMBER = "the numbers of its files"
BY_FOLDER = "the names of its folders"
_ADD_FLAIR = "add a FLAIR, or give this file with --flair if it is one"


def add_named(found: Found, files: Sequence[Path], patterns: Mapping[str, re.Pattern[str]]) -> None:
    """Group files by patterns of their names, see ``naming.parse_naming``."""
    roles: dict[str, dict[str, list[Path]]] = defaultdict(lambda: defaultdict(list))
    for file in files:
        matches = [(role, m["patient"]) for role, p in patterns.items() if (m := p.fullmatch(file.as_posix()))]
        for role, patient in matches:
            if role != "label":
                roles[patient][role].append(file)
        if not matches:
            found.left_out[NO_IMAGES].append(str(file))
    for patient, images in roles.items():
        _add_roles(found, patient, images, told="--naming")


def add_volumes(found: Found, files: Sequence[Path]) -> None:
    """Find studies by the entities of BIDS, by numbers (``CASE_0000.nii``), by names or folders, or a file each."""
    folders: dict[Path, list[Path]] = defaultdict(list)
    for file in files:
        folders[file.parent].append(file)
    places: dict[Path, list[tuple[Said, Path]]] = defaultdict(list)
    for folder, several in sorted(folders.items()):
        rest = _add_numbered(found, _add_sessions(found, _leave_copies(found, several)))
        above = read_name(name_folder(folder))
        for file in rest:
            said = read_name(name_volume(file))
            if _says_alone(above) and said.role is None and not said.notes:
                places[folder.parent].append((replace(above, before=name_volume(file), told="folder"), file))
            else:
                places[folder].append((said, file))
    for place, named in sorted(places.items()):
        _add_spoken(found, place, _join_folders(named))


def _join_folders(named: Sequence[tuple[Said, Path]]) -> list[tuple[Said, Path]]:
    """Let the folders ``FLAIR`` and ``T1`` of one file each be one study, whatever the files are called.

    That the heads match is checked when the study is read.
    """
    spoken = [said for said, _ in named if said.told == "folder"]
    one_each = len({said.role for said in spoken}) == len(spoken)
    if one_each and len({said.before for said in spoken}) > 1:
        return [(replace(said, before="") if said.told == "folder" else said, file) for said, file in named]
    return list(named)


def make_whole(file: Path) -> Case:
    """Return a study of one file: FLAIR, or pre-contrast, FLAIR and post-contrast along a fourth axis."""
    said = read_name(name_volume(file))
    names = {"pre": "T1", "post": "T1 after contrast", "label": "a mask", "unused": "another sequence"}
    doubt = f"its name says {names.get(str(said.role), said.role)}, but the network needs FLAIR"
    several = count_channels(file) == len(SEQUENCES)
    images = dict.fromkeys(SEQUENCES if several else ("flair",), (file,))
    told = "the order along its fourth axis" if several else "being a file alone"
    doubts = [doubt] if said.role not in (None, "flair") else []
    return make_case(name_volume(file), images, *said.notes, doubts=doubts, channels=several, told=told)


def _leave_copies(found: Found, files: Sequence[Path]) -> list[Path]:
    """Return files of different names; ``x.nii`` beside an equal ``x.nii.gz`` counts once."""
    names: dict[str, list[Path]] = defaultdict(list)
    for file in files:
        names[name_volume(file)].append(file)
    kept = []
    for name, several in names.items():
        try:
            first, others = split_copies(several)
            kept.append(first)
            if others:
                found.left_out[COPIES] += map(str, others)
        except InputError as error:
            if read_name(name).role is None:
                found.refuse(clean_name(name), error)
            else:
                kept += several  # the whole study has a sequence twice, and is refused
    return kept


def _add_sessions(found: Found, files: Sequence[Path]) -> list[Path]:
    """Add the studies of a BIDS folder, and return the other files."""
    named = {file: one for file in files if (one := read_bids(file))}
    sessions, bad, unused = join_sessions(named.values())
    for session in sessions:
        images = {role: (file,) for role, file in session.images.items()}
        found.cases.append(make_case(session.name, images, *session.notes, told="the entities of BIDS"))
    for name, error in bad.items():
        found.refuse(clean_name(name), error)
    if unused:
        found.left_out[NO_IMAGES] += map(str, unused)
    return [file for file in files if file not in named]


def _add_numbered(found: Found, files: Sequence[Path]) -> list[Path]:
    """Add the studies whose files have the numbers of sequences, and return the other files.

    Whether the heads match is checked when the study is read.
    """
    cases: dict[str, dict[int, Path]] = defaultdict(dict)
    for file in files:
        match = NUMBERED.fullmatch(name_volume(file))
        if match and not read_name(match["case"]).clear:
            cases[match["case"]][int(match["number"])] = file
    added: set[Path] = set()
    for name, numbered in cases.items():
        try:
            if are_people(numbered, _read_voxels):
                continue
            # A single file is FLAIR, whatever its number, as in the bundle.
            images = {SEQUENCES[number]: [file] for number, file in numbered.items()}
            if len(images) == 1:
                images = {"flair": [*numbered.values()]}
            _add_roles(found, name, images, told=BY_NUMBER if len(images) > 1 else "being a file alone")
        except BundleError as error:
            found.refuse(clean_name(name), InputError(error.where, error.what, error.remedy))
        added |= set(numbered.values())
    return [file for file in files if file not in added]


def _says_alone(said: Said) -> bool:
    """Is a sequence, or a mask, all that a name says?"""
    return said.clear and not said.before and not said.after


def _add_spoken(found: Found, place: Path, named: Sequence[tuple[Said, Path]]) -> None:
    """Add the studies of files whose names say their sequence: ``CASE_flair.nii``, ``FLAIR.nii`` in a folder each."""
    flair = any(said.role == "flair" for said, _ in named)
    groups: dict[tuple[str, ...], list[tuple[Said, Path]]] = defaultdict(list)
    for said, file in named:
        if said.role == "label" or said.role is None and flair:
            found.left_out[NO_IMAGES].append(str(file))
        elif said.role is None:
            # If no name says FLAIR, each file is a study of its own.
            found.cases.append(make_whole(file))
        else:
            groups[(said.before.casefold(), *said.numbers)].append((said, file))
    parts = [part for group in groups.values() for part in _split_versions(group)]
    starts = [part[0][0].before.casefold() for part in parts]
    for part in parts:
        first = next((said for said, _ in part if said.role == "flair"), part[0][0])
        several = starts.count(first.before.casefold()) > 1
        name = "_".join(filter(None, (first.before, first.after))) if several else first.before
        _add_part(found, name or name_folder(place), part, flair)


def _split_versions(group: Sequence[tuple[Said, Path]]) -> list[list[tuple[Said, Path]]]:
    """Split files of one person by what follows the sequence (``_brain``, ``_norm``) if a sequence is there twice."""
    roles = [said.role for said, _ in group if said.role in SEQUENCES]
    versions: dict[str, list[tuple[Said, Path]]] = defaultdict(list)
    for said, file in group:
        versions[said.after.casefold() if len(set(roles)) < len(roles) else ""].append((said, file))
    return list(versions.values())


def _add_part(found: Found, name: str, part: Sequence[tuple[Said, Path]], flair: bool) -> None:
    """Add the study of the files of one person; ``flair`` is whether any file beside them is FLAIR."""
    images: dict[str, list[Path]] = defaultdict(list)
    for said, file in part:
        images[str(said.role)].append(file)
    unused, odd = images.pop("unused", []), images.pop(T1_FLAIR, [])
    if odd and "flair" not in images:
        what = "its name says T1 FLAIR, which is T1-weighted and not the FLAIR that the network needs"
        found.refuse(clean_name(name), InputError(odd[0], what, _ADD_FLAIR))
        return
    if len(part) == 1 and not flair:
        found.cases.append(make_whole(part[0][1]))
        return
    found.left_out[NO_IMAGES] += map(str, unused)
    if odd:
        found.left_out["are T1 FLAIR, which is T1-weighted"] += map(str, odd)
    if images:
        said = next((said for said, _ in part if said.role == "flair"), part[0][0])
        told = BY_FOLDER if said.told == "folder" else "the names of its files"
        _add_roles(found, name, images, *said.notes, told=told)
    elif not flair:
        what = f"{name} has no FLAIR"
        found.refuse(clean_name(name), InputError(unused[0], what, _ADD_FLAIR))


def _add_roles(found: Found, name: str, images: Mapping[str, Sequence[Path]], *notes: str, told: str) -> None:
    twice = [(role, several) for role, several in images.items() if len(several) > 1]
    if twice:
        role, several = twice[0]
        what = f"is a second {role} of {name}, beside {several[0].name}"
        found.refuse(clean_name(name), InputError(several[1], what, "remove or rename one"))
    elif "flair" not in images:
        some = next(iter(images.values()))[0]
        found.refuse(
            clean_name(name),
            InputError(some, f"{name} has no FLAIR", _ADD_FLAIR),
        )
    else:
        roles = {role: (images[role][0],) for role in SEQUENCES if role in images}
        found.cases.append(make_case(name, roles, *notes, told=told))


def _read_voxels(file: Path) -> np.ndarray | None:
    """Return the voxels of a file of one sequence; None if it cannot be read, which reading it will report."""
    try:
        voxels = squeeze(read_files((file,))).voxels
    except InputError:
        return None
    return voxels if voxels.ndim == 3 else None
