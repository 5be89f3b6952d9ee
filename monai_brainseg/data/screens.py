"""Volumes as on a reading screen: axial slices, the patient's right on the left, the nose up."""

from __future__ import annotations

import nibabel as nib
import numpy as np

from monai_brainseg.data.volumes import Volume


def measure_spacing(volume: Volume) -> np.ndarray:
    """Return the distance between voxel centres along each axis, in units of the affine."""
    return np.linalg.norm(volume.affine[:3, :3], axis=0)


def turn_to_screen(volume: Volume, *arrays: np.ndarray) -> list[np.ndarray]:
    """Return arrays on a volume's grid as ``[column, row, slice]`` of the screen, slices upwards.

    Args:
        volume: whose affine tells where its axes lead.
        arrays: ``[x, y, z]``, of its shape.
    """
    turn = _find_turn(volume)
    return [nib.orientations.apply_orientation(array, turn) for array in arrays]


def measure_aspect(volume: Volume) -> float:
    """Return height over width of a pixel on the screen."""
    spacing = measure_spacing(volume)[np.argsort(_find_turn(volume)[:, 0])]
    return float(spacing[1] / spacing[0])


def find_fullest(mask: np.ndarray) -> int:
    """Return the slice of ``[column, row, slice]`` with most of a mask; the middle one where it is empty."""
    areas = mask.sum(axis=(0, 1))
    return int(areas.argmax()) if areas.any() else len(areas) // 2


def _find_turn(volume: Volume) -> np.ndarray:
    found = nib.orientations.io_orientation(volume.affine)
    return np.asarray(nib.orientations.ornt_transform(found, nib.orientations.axcodes2ornt("LPS")))
