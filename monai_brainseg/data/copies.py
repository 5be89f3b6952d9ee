"""Copies of a file: a study may have the same voxels as ``x.nii`` and as ``x.nii.gz``, or in two folders."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import numpy as np

from monai_brainseg.data.formats import read_files
from monai_brainseg.errors import InputError
from monai_brainseg.images.image_files import strip_ending
from monai_brainseg.images.volumes import SHIFT, measure_shift

COPIES = "are copies of another file"


def name_volume(file: Path) -> str:
    """Return the name of a volume's file without its ending."""
    return strip_ending(file.name) or file.name


def split_copies(files: Sequence[Path]) -> tuple[Path, list[Path]]:
    """Return the first of some files of one name, and its copies.

    Raises:
        InputError: one of them holds other voxels, or cannot be read.
    """
    first, *others = files
    for other in others:
        if not _are_copies(first, other):
            raise InputError(other, f"differs from {_tell(first, other)}, which has its name", "rename or remove one")
    return first, others


def _tell(file: Path, other: Path) -> str:
    return file.name if file.parent == other.parent else str(file)


def _are_copies(file: Path, other: Path) -> bool:
    """Do two files hold the same voxels on the same grid?"""
    one, two = read_files((file,)), read_files((other,))
    return np.array_equal(one.voxels, two.voxels) and measure_shift(one, two) <= SHIFT
