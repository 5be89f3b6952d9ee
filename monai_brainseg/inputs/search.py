"""The studies to segment, found among files and folders of every kind."""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from monai_brainseg.data.bids import DERIVED, is_data_set, is_derived
from monai_brainseg.data.cases import Case, Found, find_prepared
from monai_brainseg.data.formats import count_channels, find_form
from monai_brainseg.data.naming import SEQUENCES, T1_FLAIR, parse_channels, parse_naming, read_name
from monai_brainseg.data.splits import select_items
from monai_brainseg.dicom.headers import is_dicom
from monai_brainseg.errors import InputError
from monai_brainseg.files import clean_name, list_files, locate, name_folder
from monai_brainseg.images.image_files import find_header, strip_ending
from monai_brainseg.images.slices import SLICE_ENDINGS
from monai_brainseg.inputs.groupings import (
    NO_IMAGES,
    add_dicom,
    add_slices,
)
from monai_brainseg.inputs.volume_groupings import add_named, add_volumes, make_whole

PARTS = ("test", "training", "all")

_KINDS = (
    "a folder of slices (.tif, .png, .jpg, .bmp), NIfTI files (.nii, .nii.gz) or other volumes (.nrrd, .mha, .mgz, "
    ".hdr), DICOM files (of a medium, the folder with its DICOMDIR) or a prepared folder"
)


def find_studies(
    inputs: Sequence[Path],
    *,
    naming: str | None = None,
    part: str = "test",
    fold: int | None = None,
    series: str | None = None,
    channels: str | None = None,
    leave_out: Path | None = None,
) -> Found:
    """Find the studies among files and folders; of images, only headers are read.

    Args:
        inputs: files or folders, searched to the bottom.
        naming: patterns of NIfTI names, see ``naming.parse_naming``; the label's may be left out.
        part: of prepared folders: "test", "training" or "all".
        fold: of prepared folders only this one, of the training part.
        series: of DICOM studies, see ``series.choose_series``.
        channels: what the channels of files with several are, see ``naming.parse_channels``.
        leave_out: a folder that may be inside an input, such as that of the masks.

    Raises:
        InputError: an input is missing, there is no study among them, or an option is for inputs that are not there.
    """
    found = Found()
    loose: list[Path] = []
    for path in inputs:
        if not path.exists() and not path.is_symlink():
            raise InputError(path, "no such file or folder", "check the path")
        if path.is_dir() and (path / "datalist.json").is_file():
            prepared = find_prepared(select_items(path, part, fold, labelled=False))
            found.cases += prepared.cases
            found.bad |= prepared.bad
        else:
            loose += _list_images(path, found) if path.is_dir() else [path]
    # A file given twice is one file; a link and its file are two, as their names may differ.
    given = {locate(file): file for file in map(find_header, reversed(loose))}
    files = _sort_forms(_leave_out(sorted(given.values()), leave_out), found)
    if fold is not None and not any((path / "datalist.json").is_file() for path in inputs):
        raise InputError(f"--fold {fold}", "only a prepared folder has folds", "leave it out")
    if series is not None and not files["dicom"]:
        raise InputError(f"--series {series}", "only DICOM files have a series", "leave it out")
    patterns = parse_naming(naming, required=("flair",)) if naming else None
    named = parse_channels(channels) if channels else {}
    volumes = sorted([*files["nifti"], *files["volume"]])
    add_slices(found, files["slices"])
    (add_named(found, volumes, patterns) if patterns else add_volumes(found, volumes))
    add_dicom(found, files["dicom"], series)
    if not found.cases and not found.bad:
        left = [reason for reason, files in found.left_out.items() if files and reason != NO_IMAGES]
        why = f" ({len(found.left_out[left[0]])} left out, because they {left[0]})" if left else ""
        raise InputError(inputs[0], f"holds no study{why}", f"name {_KINDS}")
    if named:
        found.cases = [_name_channels(case, named) for case in found.cases]
    _tell_apart(found)
    return found


def _name_channels(case: Case, channels: Mapping[str, int]) -> Case:
    """Return a case whose file of several channels holds what was named; one of a single file each stays as it is."""
    file = case.images["flair"][0]
    if case.form == "dicom" or len(set(case.images.values())) > 1 or count_channels(file) == 1:
        return case
    return case.name_channels(channels)


def join_sequences(
    flair: Path,
    pre: Path | None = None,
    post: Path | None = None,
    series: str | None = None,
    channels: str | None = None,
) -> Case:
    """Return the study of given sequences, each a file or a folder of one.

    Raises:
        InputError: one of them is missing, or is not one sequence.
    """
    cases = {
        role: _find_one(path, series, channels)
        for role, path in (("flair", flair), ("pre", pre), ("post", post))
        if path
    }
    images = {role: cases[role].images["flair"] for role in SEQUENCES if role in cases}
    case = cases["flair"]
    if len(images) == 1:
        return replace(case, told="--flair")
    notes = tuple(f"{role}: {note}" for role in images for note in cases[role].notes)
    told = " and ".join(", ".join(f"--{role}" for role in images).rsplit(", ", 1))
    return replace(case, images=images, channels={}, notes=notes, told=told)


def _find_one(path: Path, series: str | None, channels: str | None) -> Case:
    # Who names the file knows better than its name.
    name = strip_ending(path.name) if path.is_file() else None
    if name is not None and read_name(name).role in (T1_FLAIR, "label"):
        case = make_whole(path)
        return _name_channels(case, parse_channels(channels)) if channels else case
    found = find_studies([path], series=series, channels=channels)
    if len(found.cases) != 1:
        names = [case.patient for case in found.cases]
        raise found.bad.popitem()[1] if found.bad else InputError(path, f"holds {len(names)} studies", "name one file")
    return found.cases[0]


def _list_images(folder: Path, found: Found) -> list[Path]:
    """Return the files below a folder, without the derivatives of a BIDS data set."""
    files = list_files(folder, lambda error: found.refuse(clean_name(name_folder(Path(error.where))), error))
    derived = {file for file in files if is_derived(file, folder)} if is_data_set(folder) else set()
    if derived:
        found.left_out[f"are in {', '.join(DERIVED)}: name that folder to use them"] += map(str, sorted(derived))
    return [file for file in files if file not in derived]


def _leave_out(files: Sequence[Path], folder: Path | None) -> list[Path]:
    if folder is None or not folder.is_dir():
        return list(files)
    # Of links, the folder that they are in counts, not that of their file, which may be in .git/annex.
    place = folder.resolve()
    folders = {file.parent for file in files}
    inside = {each for each in folders if place in (each.resolve(), *each.resolve().parents)}
    return [file for file in files if file.parent not in inside]


def _sort_forms(files: Iterable[Path], found: Found) -> dict[str, list[Path]]:
    forms: dict[str, list[Path]] = defaultdict(list)
    for file in files:
        if file.suffix.lower() in SLICE_ENDINGS and file.stem.lower().endswith("_mask"):
            found.left_out[NO_IMAGES].append(str(file))
        elif find_form(file) != "dicom" or is_dicom(file):
            forms[find_form(file)].append(file)
        else:
            found.left_out[NO_IMAGES].append(str(file))
    return forms


def _tell_apart(found: Found) -> None:
    """Put folders before names that several studies share, until each is one file's, whatever the disk's case."""
    cases, depth = list(found.cases), 0
    taken = {name.casefold() for name in found.bad}
    folders = [_list_folders(case) for case in cases]
    while depth < max(map(len, folders), default=0):
        names = [case.patient.casefold() for case in cases]
        cases = [
            replace(case, patient=clean_name(f"{above[depth]}_{case.patient}"))
            if depth < len(above) and (names.count(name) > 1 or name in taken)
            else case
            for case, name, above in zip(cases, names, folders, strict=True)
        ]
        depth += 1
    count = Counter(case.patient.casefold() for case in cases)
    found.cases = sorted((c for c in cases if count[c.patient.casefold()] == 1), key=lambda case: case.patient)
    for case in cases:
        if count[case.patient.casefold()] > 1:
            what = f"{count[case.patient.casefold()]} studies are called {case.patient}"
            found.refuse(case.patient, InputError(case.images["flair"][0], what, "rename all but one"))


def _list_folders(case: Case) -> list[str]:
    """Return the names of the folders around a study, from the innermost; not the one that named it."""
    place = locate(case.images["flair"][0])
    folders = [folder.name for folder in place.parents if folder.name]
    return folders[1:] if folders[:1] == [case.subject] else folders
