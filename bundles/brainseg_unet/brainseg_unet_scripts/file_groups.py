"""Which files of a folder belong together: sequences of one study by their numbers and heads, and copies of a file."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Collection, Mapping, Sequence
from functools import cache
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from skimage.metrics import normalized_mutual_information

from brainseg_unet_scripts.errors import BundleError

NUMBERED = re.compile(r"(?P<case>.+)_(?P<number>\d{4})(?:\.nii(?:\.gz)?)?", re.IGNORECASE)
_MOST_CHANNELS = 4  # that other data sets number in this way
# How much better two images of one head fit each other than when one of them is moved or mirrored. Of 288 pairs of
# sequences (28 patients of BraTS, 62 of the LGG set, 6 phantoms) the least is 1.125 and all others are 1.17 or more; of
# 497 pairs of two people the largest is 1.21, and 1 in 100 is above 1.14.
_ONE_HEAD = 1.15
_SIDE, _BINS, _MOVE = 64, 32, 2
_REMEDY = "give those of one person with `brainseg predict --flair --pre --post`, or rename those of several people"


@cache
def count_sequences() -> int:
    """Return how many sequences the bundle declares in its metadata: _0000 (pre), _0001 (FLAIR) and _0002 (post)."""
    metadata = Path(__file__).resolve().parent.parent / "configs" / "metadata.json"
    content = json.loads(metadata.read_text(encoding="utf-8"))
    return int(content["network_data_format"]["inputs"]["image"]["num_channels"])


def is_study(numbers: Collection[int]) -> bool:
    """Can files with these numbers be the sequences of one study: a single one, or all from 0 without a gap?"""
    sequences = count_sequences()
    if len(numbers) == 1:
        return max(numbers) < sequences
    return len(numbers) <= sequences and sorted(numbers) == list(range(len(numbers)))


def are_people(files: Mapping[int, Any], read: Callable[[Any], np.ndarray | None] | None = None) -> bool:
    """Are numbered files studies of their own? Only their names are looked at, and of few files the images.

    Args:
        files: of one name, by number.
        read: returns the ``[x, y, z]`` of a file, or None; for other formats than NIfTI.

    Returns:
        True, or False if they may be the sequences of one study.

    Raises:
        BundleError: their numbers have a gap or go too far, and yet they may be of one person.
    """
    numbers = sorted(files)
    if is_study(numbers):
        return False
    if len(numbers) == 1 or numbers[-1] >= _MOST_CHANNELS and numbers != list(range(len(numbers))):
        return True
    one, other, *_ = (files[number] for number in numbers)
    if is_one_head([*map(read or _read, (one, other))]):
        listed = ", ".join(f"_{number:04d}" for number in numbers)
        raise BundleError(one, f"may be a sequence of one person with {listed}, but _0000 to _0002 are needed", _REMEDY)
    return True


def check_heads(files: Sequence[Any], images: Sequence[np.ndarray] | None = None) -> None:
    """Refuse sequences that show different heads.

    Args:
        files: of the sequences.
        images: ``[x, y, z]`` of each; read if not given.

    Raises:
        BundleError: they do.
    """
    if len(files) > 1 and not is_one_head([_read(file) for file in files] if images is None else images):
        names = ", ".join(Path(file).name for file in files[1:])
        raise BundleError(files[0], f"does not show the head of {names}: they are not of one study", _REMEDY)


def is_one_head(images: Sequence[np.ndarray | None]) -> bool:
    """Do images show one head? Each is compared with the first by normalised mutual information.

    The information (Studholme et al., Pattern Recognition 32, 1999) does not depend on the contrast. How large it is
    depends on much else, so it is compared with that of one image moved and mirrored. An image that cannot be read
    (None) or has one value everywhere counts as the same head: whoever reads it will report it.
    """
    thin = [_thin(image) for image in images if image is not None]
    return all(_fit(thin[0], other) >= _ONE_HEAD for other in thin[1:])


def are_copies(file: Any, other: Any) -> bool:
    """Do two NIfTI files hold the same voxels on the same grid?"""
    images = [nib.load(file), nib.load(other)]
    one, two = (np.asanyarray(image.dataobj) for image in images)
    return np.array_equal(one, two) and np.allclose(images[0].affine, images[1].affine, rtol=0, atol=1e-4)


def _fit(one: np.ndarray, other: np.ndarray) -> float:
    if one.shape != other.shape:
        return 0.0
    if one.min() == one.max() or other.min() == other.max():
        return np.inf
    moved = [np.roll(one, step, axis) for axis in (0, 1) for step in (-_MOVE, _MOVE)]
    best = max(_inform(each, other) for each in (*moved, one[::-1]))
    return _inform(one, other) / best if best > 0 else np.inf


def _inform(one: np.ndarray, other: np.ndarray) -> float:
    return float(normalized_mutual_information(one, other, bins=_BINS)) - 1


def _thin(image: np.ndarray) -> np.ndarray:
    thin = np.nan_to_num(image[tuple(slice(None, None, -(-side // _SIDE)) for side in image.shape[:3])])
    return np.clip(thin, *np.percentile(thin, (1, 99)))


def _read(file: Any) -> np.ndarray | None:
    try:
        image = nib.load(file)
        return np.asarray(image.dataobj, dtype=np.float32) if len(image.shape) == 3 else None
    except Exception:  # reading it as a study will report the problem
        return None
