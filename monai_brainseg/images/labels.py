"""The values of a mask: labels, the two levels of a picture, or colours; and which voxels are tumour."""

from __future__ import annotations

from collections.abc import Collection
from pathlib import Path

import numpy as np

from monai_brainseg.errors import InputError

# 255 times a slope of 1/255 is not 1 to the last bit.
_WHOLE = 1e-3
# Labels are few and small. Masks with two levels, saved as JPEG or resampled, have 9 levels or more, or a few within a
# tenth of both ends (measured on ellipsoids of 2 to 40 pixels; only resampled tumours of 2 or 3 pixels have more than
# half of their size in between).
_SMALL, _FEW, _NEAR, _END, _BETWEEN = 20, 8, 0.1, 0.25, 0.5
_NAMED = 6
_THRESHOLD = (
    "grey levels near both ends, as JPEG or resampling leaves them: half the highest and more is tumour; if they are "
    "labels, name those of tumour with --tumor-labels"
)
_COLOURS = "each colour that is not black is tumour"


def round_labels(voxels: np.ndarray) -> np.ndarray:
    """Return a mask whose values are whole where they are so within a thousandth.

    A mask that would be empty by this stays as it is.
    """
    if voxels.dtype.kind != "f":
        return voxels
    whole = np.rint(voxels)
    rounded = np.where(np.abs(voxels - whole) <= _WHOLE, whole, voxels)
    return rounded if rounded.any() else voxels


def find_tumor(voxels: np.ndarray, tumor_labels: Collection[int], file: Path) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return where a mask marks tumour, and notes on how its values were taken.

    Args:
        voxels: ``[x, y, z]``.
        tumor_labels: the values that are tumour; every one above 0 if empty.
        file: of the mask, for errors.

    Raises:
        InputError: a value is no label, or there are grey levels that cannot be told from labels.
    """
    voxels = round_labels(voxels)
    values = np.unique(voxels)
    if not np.isfinite(values).all():
        raise _refuse(file, values[~np.isfinite(values)][0])
    if tumor_labels:
        _check_whole(values, file)
        return np.isin(voxels, list(tumor_labels)), ()
    whole = bool((values % 1 == 0).all())
    if whole and values[0] >= 0 and (values[-1] <= _SMALL or np.count_nonzero(values) <= 1):
        return voxels > 0, ()
    return _split_levels(voxels, values, file)


def _split_levels(voxels: np.ndarray, values: np.ndarray, file: Path) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the upper of two levels of a picture whose levels are blurred."""
    top = float(np.median(voxels[voxels > values[-1] / 2])) if values[-1] > 0 else 0.0
    upper = voxels >= top / 2
    if top <= 0 or values[0] < -_END * top or not _has_two_levels(voxels / top, values / top):
        _check_whole(values, file)
        named = ", ".join(f"{value:g}" for value in values[:_NAMED])
        more = f", ... {values[-1]:g}" if len(values) > _NAMED else ""
        raise InputError(
            file,
            f"has the levels {named}{more}, which are neither two levels nor small labels",
            "export it as 0 and 255, or name the labels with --tumor-labels",
        )
    return upper, (_THRESHOLD,)


def _has_two_levels(voxels: np.ndarray, values: np.ndarray) -> bool:
    """Are voxels, scaled to 1, mostly background, and few between it and tumour? No image is like that."""
    few = np.count_nonzero(values) <= _FEW
    if few and ((values > _NEAR) & (values < 1 - _NEAR)).any():
        return False
    between = np.count_nonzero((voxels > _END) & (voxels < 1 - _END))
    return bool(between <= _BETWEEN * np.count_nonzero(voxels >= 0.5) and np.mean(voxels <= _NEAR) > 0.5)


def flatten_colours(
    voxels: np.ndarray, tumor_labels: Collection[int], file: Path
) -> tuple[np.ndarray, tuple[str, ...]]:
    """Return the highest colour of each voxel of ``[x, y, z, colour]``, and a note unless all colours are grey.

    Raises:
        InputError: labels are named, which colours do not have.
    """
    highest = voxels.max(axis=-1)
    if (voxels == voxels[..., :1]).all():
        return highest, ()
    if tumor_labels:
        raise InputError(file, "has colours, not labels", "leave --tumor-labels out, or export labels as grey values")
    return highest, (_COLOURS,)


def _check_whole(values: np.ndarray, file: Path) -> None:
    odd = values[(values < 0) | (values % 1 != 0)]
    if odd.size:
        raise _refuse(file, odd[0])


def _refuse(file: Path, value: float) -> InputError:
    return InputError(file, f"has the label {value:g}", "labels are whole numbers from 0: export the mask again")
