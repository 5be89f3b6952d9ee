"""A preview of a mask: slices of FLAIR side by side with the mask's outline."""

from __future__ import annotations

import io

import numpy as np

from monai_brainseg.images.display_axes import measure_aspect, turn_to_screen
from monai_brainseg.images.volumes import Volume
from monai_brainseg.reporting.slice_pictures import Slice, draw_slices

_COLUMNS, _ROWS = 4, 3
_LONGEST = 256  # pixels of a slice's longer side


def draw_montage(flair: Volume, mask: np.ndarray) -> bytes:
    """Return twelve slices at most, evenly spread over those with tumour, or over all slices if there is none.

    Args:
        flair: the volume.
        mask: ``[x, y, z]`` bool, of its shape.

    Returns:
        PNG of the slices from below upwards, as on a reading screen, with the mask's outline.
    """
    grey, marked = turn_to_screen(flair, flair.voxels, mask)
    slices = [Slice(grey[..., z].T, {"tumour": marked[..., z].T}) for z in _choose_slices(marked)]
    figure = draw_slices(slices, measure_aspect(flair), columns=min(_COLUMNS, len(slices)), longest=_LONGEST)
    file = io.BytesIO()
    figure.savefig(file, format="png", metadata={"Software": None})
    return file.getvalue()


def _choose_slices(marked: np.ndarray) -> list[int]:
    shown = np.flatnonzero(marked.any(axis=(0, 1)))
    shown = shown if len(shown) else np.arange(marked.shape[2])
    return sorted(set(shown[np.linspace(0, len(shown) - 1, min(len(shown), _COLUMNS * _ROWS)).round().astype(int)]))
