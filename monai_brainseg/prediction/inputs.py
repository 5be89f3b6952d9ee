"""The studies to segment, found among files and folders of every kind."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path

from monai_brainseg.data.case_voxels import count_channels
from monai_brainseg.data.cases import Case, Found, find_form, find_prepared
from monai_brainseg.data.dicom import is_dicom
from monai_brainseg.data.image_files import find_header
from monai_brainseg.data.naming import SEQUENCES, clean_name, parse_channels, parse_naming
from monai_brainseg.data.slices import SLICE_ENDINGS
from monai_brainseg.data.splits import select_items
from monai_brainseg.errors import InputError
from monai_brainseg.files import list_files
from monai_brainseg.prediction.groupings import (
    NO_IMAGES,
    add_dicom,
    add_named,
    add_slices,
    add_volumes,
)

PARTS = ("test", "training", "all")

_KINDS = (
    "a folder of slices (.tif, .png, .jpg), NIfTI files (.nii, .nii.gz) or other volumes (.nrrd, .mha, .mgz, .hdr), "
    "DICOM files or a prepared folder"
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
        series: of DICOM studies, see ``dicom.choose_series``.
        channels: what the channels of files with several are, see ``naming.parse_channels``.
        leave_out: a folder that may be inside an input, such as that of the masks.

    Raises:
        InputError: an input is missing, there is no study among them, or an option is for inputs that are not there.
    """
    found = Found()
    loose: list[Path] = []
    for path in inputs:
        if not path.exists():
            raise InputError(path, "no such file or folder", "check the path")
        if path.is_dir() and (path / "datalist.json").is_file():
            prepared = find_prepared(select_items(path, part, fold, labelled=False))
            found.cases += prepared.cases
            found.bad |= prepared.bad
        else:
            loose += list_files(path) if path.is_dir() else [path]
    files = _sort_forms(dict.fromkeys(map(find_header, _leave_out(loose, leave_out))), found)
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
        raise InputError(inputs[0], "holds no study", f"name {_KINDS}")
    if named:
        found.cases = [_name_channels(case, named) for case in found.cases]
    found.cases = _tell_apart(found.cases)
    return found


def _name_channels(case: Case, channels: Mapping[str, int]) -> Case:
    """Return a case whose file of several channels holds what was named; one of a single file each stays as it is."""
    file = case.images["flair"][0]
    if case.form == "dicom" or len(set(case.images.values())) > 1 or count_channels(file) == 1:
        return case
    sequences = [sequence for sequence in SEQUENCES if sequence in channels]
    return replace(case, images=dict.fromkeys(sequences, case.images["flair"]), channels=channels)


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
    return case if len(images) == 1 else replace(case, images=images, channels={})


def _find_one(path: Path, series: str | None, channels: str | None) -> Case:
    found = find_studies([path], series=series, channels=channels)
    if len(found.cases) != 1:
        names = [case.patient for case in found.cases]
        raise found.bad.popitem()[1] if found.bad else InputError(path, f"holds {len(names)} studies", "name one file")
    return found.cases[0]


def _leave_out(files: Sequence[Path], folder: Path | None) -> list[Path]:
    if folder is None or not folder.is_dir():
        return list(files)
    place = folder.resolve()
    return [file for file in files if place not in file.resolve().parents]


def _sort_forms(files: Iterable[Path], found: Found) -> dict[str, list[Path]]:
    forms: dict[str, list[Path]] = defaultdict(list)
    for file in files:
        if file.suffix.lower() in SLICE_ENDINGS and file.stem.lower().endswith("_mask"):
            found.left_out[NO_IMAGES].append(str(file))
        elif find_form(file) != "dicom" or is_dicom(file):
            forms[find_form(file)].append(file)
        elif file.name != "DICOMDIR":
            found.left_out[NO_IMAGES].append(str(file))
    return forms


def _tell_apart(cases: Sequence[Case]) -> list[Case]:
    """Put folders before names that several studies share, until each is one file's, whatever the disk's case."""
    depth = 0
    cases = list(cases)
    while len({case.patient.casefold() for case in cases}) < len(cases):
        depth += 1
        names = [case.patient.casefold() for case in cases]
        folders = [_list_folders(case) for case in cases]
        if depth > max(map(len, folders)):
            twice = next(case for case in cases if names.count(case.patient.casefold()) > 1)
            raise InputError(twice.images["flair"][0], "is given twice", "name it once")
        cases = [
            replace(case, patient=clean_name(f"{above[depth - 1]}_{case.patient}"))
            if names.count(case.patient.casefold()) > 1 and depth <= len(above)
            else case
            for case, above in zip(cases, folders, strict=True)
        ]
    return sorted(cases, key=lambda case: case.patient)


def _list_folders(case: Case) -> list[str]:
    """Return the names of the folders around a study, from the innermost; not the one that named it."""
    folders = [folder.name for folder in case.images["flair"][0].resolve().parents if folder.name]
    return folders[1:] if folders[:1] == [case.subject] else folders
