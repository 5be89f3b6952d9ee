"""Volumes as on a reading screen: axial slices, the patient's right on the left, the nose up."""

from __future__ import annotations

import nibabel as nib
import numpy as np

from monai_brainseg.images.volumes import Volume


def turn_to_screen(volume: Volume, *arrays: np.ndarray) -> list[np.ndarray]:
    """Return arrays on a volume's grid as ``[column, row, slice]`` of the screen, slices upwards.

    Args:
        volume: its affine gives the directions of its axes.
        arrays: ``[x, y, z]``, of its shape.
    """
    turn = find_turn(volume)
    return [nib.orientations.apply_orientation(array, turn) for array in arrays]


def turn_spacing(volume: Volume) -> np.ndarray:
    """Return the spacing along ``[column, row, slice]`` of the screen."""
    return np.asarray(volume.spacing[np.argsort(find_turn(volume)[:, 0])])


def measure_aspect(volume: Volume) -> float:
    """Return height over width of a pixel on the screen."""
    width, height, _ = turn_spacing(volume)
    return float(height / width)


def find_fullest(mask: np.ndarray) -> int:
    """Return the slice of ``[column, row, slice]`` with most of a mask; the middle one if it is empty."""
    areas = mask.sum(axis=(0, 1))
    return int(areas.argmax()) if areas.any() else len(areas) // 2


def find_turn(volume: Volume) -> np.ndarray:
    """Return how to turn a volume's axes, in the form that nibabel's ``apply_orientation`` takes."""
    found = nib.orientations.io_orientation(volume.affine)
    return np.asarray(nib.orientations.ornt_transform(found, nib.orientations.axcodes2ornt("LPS")))
