"""A look at a mask: slices of FLAIR side by side with the mask's outline."""

from __future__ import annotations

import math

import numpy as np
from scipy import ndimage
from skimage.transform import resize

from monai_brainseg.data.screens import measure_aspect, turn_to_screen
from monai_brainseg.data.volumes import Volume

_COLUMNS, _ROWS = 4, 3
_WIDTH = 256  # pixels of a slice's longer side
_RED = np.array([255, 77, 0], dtype=np.uint8)


def draw_montage(flair: Volume, mask: np.ndarray) -> np.ndarray:
    """Return twelve slices at most, evenly spread over those with tumour, or over all where there is none.

    Args:
        flair: the volume.
        mask: ``[x, y, z]`` bool, of its shape.

    Returns:
        ``[row, column, 3]`` uint8: slices from below upwards, as on a reading screen, the mask's outline in red.
    """
    grey, marked = turn_to_screen(flair, flair.voxels, mask)
    slices = _choose_slices(marked)
    low, high = np.percentile(grey[..., slices], (0.5, 99.5))
    tiles = [_draw(grey[..., z], marked[..., z], float(low), float(high), measure_aspect(flair)) for z in slices]
    columns = min(_COLUMNS, len(tiles))
    tiles += [np.zeros_like(tiles[0])] * (-len(tiles) % columns)
    rows = [np.concatenate(tiles[start : start + columns], axis=1) for start in range(0, len(tiles), columns)]
    return np.concatenate(rows, axis=0)


def _choose_slices(marked: np.ndarray) -> list[int]:
    shown = np.flatnonzero(marked.any(axis=(0, 1)))
    shown = shown if len(shown) else np.arange(marked.shape[2])
    return sorted(set(shown[np.linspace(0, len(shown) - 1, min(len(shown), _COLUMNS * _ROWS)).round().astype(int)]))


def _draw(grey: np.ndarray, marked: np.ndarray, low: float, high: float, aspect: float) -> np.ndarray:
    height, width = grey.shape[1] * aspect, grey.shape[0]
    factor = _WIDTH / max(height, width)
    shape = (max(1, math.ceil(height * factor)), max(1, math.ceil(width * factor)))
    scaled = np.clip((grey.T.astype(np.float32) - low) / max(high - low, 1e-12), 0, 1)
    pixels = (resize(scaled, shape, order=1, anti_aliasing=False) * 255).round().astype(np.uint8)
    inside = resize(marked.T, shape, order=0, anti_aliasing=False) > 0
    picture = np.repeat(pixels[..., np.newaxis], 3, axis=-1)
    picture[inside & ~ndimage.binary_erosion(inside)] = _RED
    return picture
