"""DICOM series: found, ordered and read by ITK, into a volume on the scanner's grid."""

from __future__ import annotations

import re
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from monai_brainseg.data.itk_volumes import LPS_TO_RAS, load_itk, use_alone
from monai_brainseg.data.volumes import Volume
from monai_brainseg.errors import InputError

DICOM_ENDINGS = (".dcm", ".dicom", ".ima")

# Series of a study that are not images of a head: reports, segmentations, other masks.
_NO_IMAGES = ("SR", "SEG", "RTSTRUCT", "PR", "KO", "DOC")
_STUDY, _SERIES, _MODALITY = "0020|000d", "0020|000e", "0008|0060"
_DESCRIPTION, _PROTOCOL, _NUMBER = "0008|103e", "0018|1030", "0020|0011"
_POSITION, _ORIENTATION = "0020|0032", "0020|0037"
# Share of the distance between slices. Some scanners write positions with few digits.
_UNEVEN = 0.1


@dataclass(frozen=True)
class Series:
    """One series of a study.

    Attributes:
        study: UID of the study. The patient's identity is not read.
        uid: UID of the series.
        number: number of the series, given by the scanner.
        description: name that the scanner gave it.
        files: its slices in order.
    """

    study: str
    uid: str
    number: str
    description: str
    files: tuple[Path, ...]

    def __str__(self) -> str:
        return f"{self.number or self.uid}: {self.description or 'no description'} ({len(self.files)} files)"


def is_dicom(file: Path) -> bool:
    """Has a file a DICOM ending, or no ending and DICOM's mark in its content?"""
    if file.suffix.lower() in DICOM_ENDINGS:
        return True
    # An ending may be the last number of a UID.
    if file.suffix and not file.suffix[1:].isdigit():
        return False
    try:
        with file.open("rb") as stream:
            return stream.read(132)[128:] == b"DICM"
    except OSError:
        return False


@use_alone()
def list_series(folder: Path) -> list[Series]:
    """Return the image series of a folder, without its subfolders, sorted by number.

    Raises:
        InputError: none of the files can be read as DICOM, or ITK is not installed.
    """
    itk = load_itk(folder)
    names = itk.GDCMSeriesFileNames.New()
    names.SetUseSeriesDetails(True)
    names.SetDirectory(str(folder))
    groups = [tuple(map(Path, names.GetFileNames(uid))) for uid in names.GetSeriesUIDs()]
    if not groups:
        raise InputError(folder, "holds no DICOM image that can be read", "export it again")
    series = [_describe(files) for files in groups]
    return sorted((one for one in series if one is not None), key=lambda one: (_to_number(one.number), one.uid))


def choose_series(series: Sequence[Series], wanted: str | None, folder: Path) -> Series:
    """Return the series that was asked for, else the one whose description says FLAIR, else the only one.

    Args:
        series: of one study.
        wanted: number, UID, or a part of the description.
        folder: where they are.

    Raises:
        InputError: no series or several match; the message lists all series.
    """
    meant = [one for one in series if _is_meant(one, wanted)] if wanted else []
    if not wanted:
        flair = [one for one in series if says_flair(one.description)]
        meant = flair or list(series)
    if len(meant) == 1:
        return meant[0]
    problem = f"no series matches {wanted!r}" if wanted and not meant else f"{len(meant)} series match"
    listed = "; ".join(map(str, series)) or "none"
    raise InputError(folder, f"{problem} (the folder has: {listed})", "choose one with --series NUMBER")


def says_flair(description: str) -> bool:
    """Does a series' description name FLAIR? Siemens also calls it dark fluid."""
    return bool(re.search(r"flair|dark.?fl", description, re.IGNORECASE))


@use_alone()
def read_series(files: Sequence[Path]) -> Volume:
    """Read the slices of a series into one volume, float32, values rescaled as the files say.

    Args:
        files: in order, or one file of several frames.

    Returns:
        ``[x, y, z]`` = [column, row, slice] with its affine in millimetres.

    Raises:
        InputError: a file is missing or unreadable, slices are missing, differ in direction or share a position, or ITK
            is not installed.
    """
    itk = load_itk(files[0])
    headers = [_read_header(file) for file in files]
    if len(files) > 1:
        _check_slices(files, headers)
    try:
        source = list(map(str, files)) if len(files) > 1 else str(files[0])
        image = itk.imread(source, itk.F, imageio=itk.GDCMImageIO.New())
        voxels = itk.array_from_image(image)
        direction, origin = itk.array_from_matrix(image.GetDirection()), np.array(image.GetOrigin())
        spacing = np.array(image.GetSpacing())
    except Exception as error:  # ITK raises RuntimeError, or what its readers do
        raise _unreadable(files[0].parent if len(files) > 1 else files[0]) from error
    if voxels.ndim == 2:
        voxels, direction = voxels[np.newaxis], np.block([[direction, np.zeros((2, 1))], [0, 0, 1]])
        origin, spacing = np.append(origin, 0.0), np.append(spacing, 1.0)
    affine = np.eye(4)
    affine[:3, :3], affine[:3, 3] = direction * spacing, origin
    if voxels.ndim != 3 or not np.isfinite(affine).all() or np.linalg.det(affine[:3, :3]) == 0:
        raise InputError(files[0], "is not a volume of grey slices", "export the series again")
    return Volume(np.ascontiguousarray(voxels.transpose(2, 1, 0)), LPS_TO_RAS @ affine, spacing_known=True)


def _describe(files: tuple[Path, ...]) -> Series | None:
    header = _read_header(files[0])
    if header.get(_MODALITY) in _NO_IMAGES:
        return None
    description = header.get(_DESCRIPTION) or header.get(_PROTOCOL, "")
    return Series(header.get(_STUDY, ""), header.get(_SERIES, ""), header.get(_NUMBER, ""), description, files)


@use_alone()
def _read_header(file: Path) -> dict[str, str]:
    """Return the tags that are needed; names and birth dates are not read."""
    itk = load_itk(file)
    if not file.is_file():
        raise InputError(file, "no such file", "check the path")
    try:
        reader = itk.GDCMImageIO.New()
        reader.SetFileName(str(file))
        reader.ReadImageInformation()
        tags: Any = reader.GetMetaDataDictionary()
        wanted = (_STUDY, _SERIES, _MODALITY, _DESCRIPTION, _PROTOCOL, _NUMBER, _POSITION, _ORIENTATION)
        return {tag: str(tags[tag]).strip() for tag in wanted if tags.HasKey(tag)}
    except Exception as error:
        raise _unreadable(file) from error


def _check_slices(files: Sequence[Path], headers: Sequence[dict[str, str]]) -> None:
    places = _read_numbers(header.get(_POSITION) for header in headers)
    turns = _read_numbers(header.get(_ORIENTATION) for header in headers)
    if len(places) != len(files) or len(turns) != len(files):
        return  # old scanners, secondary captures: there is nothing to compare
    if np.abs(turns - turns[0]).max() > 1e-3:
        odd = int(np.abs(turns - turns[0]).max(axis=1).argmax())
        raise InputError(files[odd], f"has another direction than {files[0].name}", "separate the mixed series")
    depths = places @ np.cross(turns[0, :3], turns[0, 3:])
    order = np.argsort(depths)
    if np.diff(depths[order]).min() < 1e-3:
        again = order[int(np.diff(depths[order]).argmin()) :][:2]
        raise InputError(
            files[again[1]], f"has the position of {files[again[0]].name}", "separate the mixed series (echoes, times)"
        )
    steps = np.diff(depths)
    usual = float(np.median(steps))
    if np.abs(steps - usual).max() > _UNEVEN * abs(usual):
        gap = int(np.abs(steps - usual).argmax())
        distances = f"{abs(steps[gap]):.4g} mm, but the others are {abs(usual):.4g} mm apart"
        raise InputError(
            files[gap + 1], f"its distance from {files[gap].name} is {distances}", "slices are missing: export them all"
        )


def _read_numbers(texts: Iterable[str | None]) -> np.ndarray:
    return np.array([[float(number) for number in text.split("\\")] for text in texts if text])


def _is_meant(series: Series, wanted: str) -> bool:
    return wanted in (series.uid, series.number) or (
        not wanted.isdigit() and wanted.casefold() in series.description.casefold()
    )


def _to_number(text: str) -> float:
    try:
        return float(text)
    except ValueError:
        return float("inf")


def _unreadable(path: Path) -> InputError:
    return InputError(path, "cannot be read as DICOM", "export it again, or leave it out")
