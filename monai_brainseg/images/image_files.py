"""Files of volumes: their endings, files in two parts, and nibabel's image of each, opened by its content."""

from __future__ import annotations

import gzip
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np

NIFTI_ENDINGS = (".nii.gz", ".nii")
# Other formats: FreeSurfer's, Analyze or NIfTI in two files, and those that ITK reads.
_NIBABEL_ENDINGS = (".mgz", ".mgh", ".hdr")
ITK_ENDINGS = (".nrrd", ".nhdr", ".mha", ".mhd")
VOLUME_ENDINGS = (*NIFTI_ENDINGS, *_NIBABEL_ENDINGS, *ITK_ENDINGS)
# Of files of voxels beside a header of the same name.
_DATA_ENDINGS = {".hdr": (".img",), ".mhd": (".raw", ".zraw"), ".nhdr": (".raw", ".raw.gz")}


def strip_ending(name: str) -> str | None:
    """Return a file's name without the ending of a volume, whatever its case; None if it has none."""
    return next((name[: -len(each)] for each in VOLUME_ENDINGS if name.lower().endswith(each)), None)


def list_parts(file: Path) -> tuple[Path, ...]:
    """Return a volume's file, and after a header the files of voxels that belong to it."""
    endings = _DATA_ENDINGS.get(file.suffix.lower(), ())
    beside = [file.with_name(file.stem + form) for each in endings for form in (each, each.upper())]
    return (file, *(each for each in beside if each.is_file()))


def find_header(file: Path) -> Path:
    """Return the header that a file of voxels belongs to, any other file as it is."""
    for ending, several in _DATA_ENDINGS.items():
        for data in several:
            if file.name.lower().endswith(data):
                forms = [file.with_name(file.name[: -len(data)] + form) for form in (ending, ending.upper())]
                if headers := [each for each in forms if each.is_file()]:
                    return headers[0]
    return file


@contextmanager
def open_image(path: Path) -> Iterator[tuple[Any, tuple[str, ...]]]:
    """Give nibabel's image of a file, whose voxels can be read within the block, and notes.

    A file that is compressed although its ending denies it, or the reverse, is opened by its content.
    """
    name = path.name.lower()
    if name.endswith(".hdr"):
        yield nib.load(path), ()
        return
    packed = is_packed(path)
    with gzip.open(path) if packed else path.open("rb") as stream:
        notes = (
            ()
            if packed == name.endswith("gz")
            else (f"the file is {'' if packed else 'not '}compressed, against its ending",)
        )
        kind = nib.MGHImage if name.endswith((".mgh", ".mgz")) else _find_nifti(stream)
        holder = nib.FileHolder(fileobj=stream)
        yield kind.from_file_map({part: holder for part, _ in kind.files_types}), notes


def _find_nifti(stream: Any) -> Any:
    """Return nibabel's class for a NIfTI file of version 1 or 2, by the length of its header."""
    start = stream.read(nib.Nifti2Header.sizeof_hdr)
    stream.seek(0)
    return nib.Nifti2Image if nib.Nifti2Header.may_contain_header(start) else nib.Nifti1Image


def is_packed(path: Path) -> bool:
    """Is a file compressed by gzip?"""
    with path.open("rb") as stream:
        return stream.read(2) == b"\x1f\x8b"


def find_affine(image: Any) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return an image's affine, and notes: NIfTI's qform if its sform, which counts, cannot be inverted."""
    affine = np.asarray(image.affine, dtype=np.float64)
    if not is_nifti(image):
        unsure = isinstance(image, nib.AnalyzeImage)
        return affine, ("the format Analyze does not tell left from right",) if unsure else ()
    if not can_invert(affine) and int(image.header["qform_code"]) > 0:
        return np.asarray(image.get_qform(), dtype=np.float64), ("the sform is empty, and the qform was used",)
    return affine, ()


def is_nifti(image: Any) -> bool:
    """Is nibabel's image NIfTI, in one file or in two?"""
    return isinstance(image, (nib.Nifti1Pair, nib.Nifti2Pair))


def can_invert(affine: np.ndarray) -> bool:
    """Is an affine finite, and does it have a volume?"""
    return bool(np.isfinite(affine).all()) and float(np.linalg.det(affine[:3, :3])) != 0


def knows_spacing(image: Any) -> bool:
    """Is the affine in millimetres? NIfTI says so; MGH and Analyze have no other unit."""
    if is_nifti(image):
        return bool(image.header.get_xyzt_units()[0] == "mm")
    return bool((np.asarray(image.header.get_zooms()[:3]) > 0).all())
