"""BIDS: which files of a session are sequences of one study, read by their entities, and where its mask belongs."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai_brainseg import __version__
from monai_brainseg.data.cases import Case, Found
from monai_brainseg.data.naming import SEQUENCES, T1_FLAIR, read_name
from monai_brainseg.errors import InputError

# Folders of a data set that hold no raw NIfTI files. A mask of a data set is in derivatives.
DERIVED = ("derivatives", "sourcedata", "code")

_NIFTI = re.compile(r"(?P<stem>.+)\.nii(?:\.gz)?", re.IGNORECASE)
_NAME = re.compile(r"(?P<entities>sub-[a-z0-9+]+(?:_[a-z]+-[a-z0-9+]+)*)_(?P<suffix>[a-z0-9]+)", re.IGNORECASE)
_DATATYPES = ("anat", "func", "dwi", "fmap", "perf", "pet", "swi", "mrs", "meg", "eeg", "ieeg", "beh")
# Files that differ in one of these are on different grids, or of different content.
_GRID = ("space", "res", "desc")
_NO_TUMOR = re.compile(r"brain|head|aseg|aparc|ribbon|gm|wm|csf|bg|tissue|skull|face|eye", re.IGNORECASE)


@dataclass(frozen=True)
class Named:
    """A file with the parts of its name.

    Attributes:
        file: the file.
        entities: such as ``{"sub": "01", "run": "1"}``, in order.
        suffix: such as "FLAIR".
    """

    file: Path
    entities: Mapping[str, str]
    suffix: str

    @property
    def role(self) -> str | None:
        """What it is, as ``naming.Said.role``; the entities ``ce`` and ``acq`` tell of contrast."""
        role = read_name(self.suffix).role
        if role in ("pre", "flair") and (said := read_name(f"{self.entities.get('acq', '')}_{self.suffix}").role):
            role = said
        given = self.entities.get("ce", "none").casefold()
        return "post" if role == "pre" and not re.fullmatch(r"no\w*|pre\w*", given) else role

    def name(self, *entities: str) -> str:
        """Return its name with these entities, or with all."""
        return "_".join(f"{key}-{value}" for key, value in self.entities.items() if not entities or key in entities)


@dataclass(frozen=True)
class Session:
    """One FLAIR and what belongs to it.

    Attributes:
        name: of the study, such as "sub-01_ses-a".
        subject: such as "sub-01".
        images: file of each sequence.
        notes: what was not used, and why.
        flair: the parts of its FLAIR's name.
    """

    name: str
    subject: str
    images: Mapping[str, Path]
    notes: tuple[str, ...]
    flair: Named


def find_labelled(files: Sequence[Path]) -> Found:
    """Find the studies of a data set that have a mask, which is usually in its derivatives."""
    found = Found("bids")
    named = [one for file in files if (one := read_bids(file))]
    roots = {_find_root(one.file) for one in named}
    derived = {root for root in roots for other in roots if root != other and _is_below(root, other)}
    sessions, bad, unused = join_sessions(one for one in named if _find_root(one.file) not in derived)
    found.bad |= bad
    found.left_out["are not a sequence that the networks use"] += [file.name for file in unused]
    found.claimed.update(unused, *(session.images.values() for session in sessions))
    for session in sessions:
        masks = find_masks(session, files)
        found.claimed.update(masks)
        if len(masks) == 1:
            images = {role: (file,) for role, file in session.images.items()}
            case = Case(session.name, session.subject, "unknown", images, (masks[0],), {}, session.notes)
            found.cases.append(case)
        else:
            some = f"{len(masks)} masks ({', '.join(file.name for file in masks[:3])})" if masks else "no mask"
            what, remedy = f"{session.name} has {some}", "one is needed; name it label-tumor, or give --naming"
            found.bad[session.name] = InputError(session.flair.file, what, remedy)
    return found


def _find_root(file: Path) -> Path:
    """Return the folder that holds those of the subjects."""
    inside = [folder.parent for folder in file.parents if folder.name.startswith("sub-")]
    return inside[0] if inside else file.parent


def _is_below(root: Path, other: Path) -> bool:
    return root.is_relative_to(other) and root.relative_to(other).parts[0] in DERIVED


def is_data_set(folder: Path) -> bool:
    """Is a folder the root of a data set?"""
    return (folder / "dataset_description.json").is_file() or any(path.is_dir() for path in folder.glob("sub-*"))


def is_derived(file: Path, root: Path) -> bool:
    """Is a file of a data set in its derivatives or source data?"""
    return file.relative_to(root).parts[0] in DERIVED


def read_bids(file: Path) -> Named | None:
    """Return the parts of the name of a NIfTI file in a folder of BIDS, such as ``sub-01/anat``; else None."""
    return _read(file) if file.parent.name in _DATATYPES else None


def _read(file: Path) -> Named | None:
    whole = _NIFTI.fullmatch(file.name)
    match = _NAME.fullmatch(whole["stem"]) if whole else None
    if not match:
        return None
    pairs = (part.split("-", 1) for part in match["entities"].split("_"))
    return Named(file, dict(pairs), match["suffix"])


def join_sessions(files: Iterable[Named]) -> tuple[list[Session], dict[str, InputError], list[Path]]:
    """Join the files of each folder to one study for each FLAIR.

    Returns:
        the studies, the error of each session that has T1 but no FLAIR, and the files that are not used.
    """
    sessions, bad, unused = [], {}, []
    folders: dict[tuple[Path, str], list[Named]] = defaultdict(list)
    for one in files:
        if one.file.parent.name == "anat" and one.role in (*SEQUENCES, T1_FLAIR):
            folders[one.file.parent, one.name("sub", "ses")].append(one)
        else:
            unused.append(one.file)
    for (_, name), several in folders.items():
        flairs = [one for one in several if one.role == "flair"]
        made = [_join(one, one.name() if len(flairs) > 1 else name, several) for one in flairs]
        sessions += made
        used = {file for session in made for file in session.images.values()}
        if made:
            unused += [one.file for one in several if one.file not in used]
        else:
            what = f"{name} has no FLAIR"
            bad[name] = InputError(several[0].file, what, "add a FLAIR, or give this file with --flair if it is one")
    return sessions, bad, unused


def _join(flair: Named, name: str, several: Sequence[Named]) -> Session:
    images, notes = {}, []
    for role in SEQUENCES:
        meant = [flair] if role == "flair" else _choose(flair, [one for one in several if one.role == role])
        if len(meant) == 1:
            images[role] = meant[0].file
        elif meant:
            notes.append(f"{len(meant)} {role} images could belong to it ({meant[0].file.name}, ...); none was used")
    if "ce" in flair.entities:
        notes.append("its name says that it was scanned after contrast")
    return Session(name, flair.name("sub"), images, tuple(notes), flair)


def _choose(flair: Named, candidates: Sequence[Named]) -> list[Named]:
    """Return those on FLAIR's grid that have most entities in common with it."""
    fitting = [one for one in candidates if all(one.entities.get(key) == flair.entities.get(key) for key in _GRID)]
    alike = [sum(flair.entities.get(key) == value for key, value in one.entities.items()) for one in fitting]
    return [one for one, count in zip(fitting, alike, strict=True) if count == max(alike)]


def find_masks(session: Session, files: Iterable[Path]) -> list[Path]:
    """Return the masks of a tumour that belong to a study: of its person, session and run."""
    keys = ("sub", "ses", *(("run",) if "_run-" in session.name else ()))
    wanted = {key: session.flair.entities.get(key) for key in keys}
    named = [one for file in files if (one := _read(file)) and one.role == "label"]
    own = [one for one in named if all(one.entities.get(key) == value for key, value in wanted.items())]
    said = [(one, f"{one.entities.get('desc', '')} {one.entities.get('label', '')}") for one in own]
    tumor = [one.file for one, text in said if re.search("tumou?r|lesion|glioma", text, re.IGNORECASE)]
    return tumor or [one.file for one, text in said if not _NO_TUMOR.search(text)]


def place_mask(file: Path, patient: str) -> tuple[Path, str]:
    """Return the folder and the first part of the name of what is derived from a FLAIR.

    The mask is ``<folder>/<name>_space-orig_label-tumor_mask.nii.gz``, as the standard names masks on the grid of
    their image (BIDS 1.8, derivatives, imaging data types).
    """
    named = _read(file)
    if named is None:
        subject = re.sub(r"[^A-Za-z0-9]", "", patient)
        if not subject.isascii() or not subject:
            raise InputError(file, "its name has no letters for a BIDS name", "leave out --bids, or rename the file")
        named = Named(file, {"sub": subject}, "FLAIR")
    folders = [f"{key}-{named.entities[key]}" for key in ("sub", "ses") if key in named.entities]
    space = "" if "space" in named.entities else "_space-orig"
    return Path(*folders, "anat"), f"{named.name()}{space}"


def describe_derivatives() -> dict[str, Any]:
    """Return ``dataset_description.json`` of a folder of masks."""
    return {
        "Name": "Tumour masks by brainseg",
        "BIDSVersion": "1.8.0",
        "DatasetType": "derivative",
        "GeneratedBy": [{"Name": "brainseg", "Version": __version__}],
    }


def describe_mask(file: Path) -> dict[str, Any]:
    """Return the JSON file beside a mask: what it was made from, relative to the root of the data set."""
    return {"Type": "Lesion", "RawSources": [file.relative_to(_find_root(file)).as_posix()]}
