"""Where the head is in a volume."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from skimage.filters import threshold_otsu

# A pixel and its four neighbours; slices are too far apart to say anything about each other.
_IN_PLANE = ndimage.generate_binary_structure(2, 1)[..., np.newaxis]
_AROUND = np.ones((3, 3, 3))
# Share of the largest slice's tissue. Masks of heads of phantoms, as they are and eroded by up to 16 pixels, have 0.07
# at most; half a slice that is missing has 0.4.
_RAGGED = 0.1


def find_head(voxels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Separate the head roughly from the air around it, in a volume of any scale and with any background value.

    Tissue is what is brighter than halfway from the background to Otsu's threshold (IEEE Transactions on Systems, Man,
    and Cybernetics 9, 1979). The head is the tissue without specks, a pixel wider, and what it surrounds in each slice.

    Args:
        voxels: ``[x, y, z]``, slices along z.

    Returns:
        tissue and head, bool of the same shape; true everywhere if all voxels are equal.
    """
    # Otsu counts in 256 steps, so that a few very bright voxels would take all of them.
    bulk = np.clip(voxels, *np.percentile(voxels, (0.1, 99.9))).astype(np.float32)
    threshold = threshold_otsu(bulk.ravel())
    tissue = bulk > (np.median(bulk[bulk <= threshold]) + threshold) / 2
    if not tissue.any():
        return np.ones_like(tissue), np.ones_like(tissue)
    solid = ndimage.binary_dilation(ndimage.binary_opening(tissue, _IN_PLANE), _IN_PLANE, iterations=2)
    return tissue, tissue | ndimage.binary_fill_holes(solid, _IN_PLANE)


def fill_outside(voxels: np.ndarray) -> np.ndarray | None:
    """Return a volume with background where it holds NaN or infinite values, as other programs leave them outside.

    Background is 0, or the lowest value of a volume with values below 0, such as z-scores.

    Args:
        voxels: ``[x, y, z]``, slices along z.

    Returns:
        the same shape; None if such values are inside the head: surrounded by others, so that no way leads to a side of
        the slices; or whole planes between others with tissue; or between tissue of the slices below and above in more
        places than a ragged edge has. Masks have holes that are open to the top or the bottom: those that end in the
        outer quarters of the slices are outside.
    """
    missing = ~np.isfinite(voxels)
    if missing.all() or not missing.any():
        return None if missing.all() else voxels
    filled = np.where(missing, min(0, voxels[~missing].min()), voxels)
    tissue = find_head(filled)[0] & ~missing
    areas = tissue.sum(axis=(0, 1))
    between = (missing[..., 1:-1] & tissue[..., :-2] & tissue[..., 2:]).sum(axis=(0, 1))
    lost = between.max(initial=0) > _RAGGED * areas.max()
    lost |= any(_is_plane_lost(missing, tissue, axis) for axis in range(3))
    return None if lost or _is_enclosed(missing) else filled


def _is_enclosed(missing: np.ndarray) -> bool:
    """Is a part surrounded, so that no way leads out?"""
    parts, count = ndimage.label(missing, _AROUND)
    sides = np.union1d(parts[[0, -1]], parts[:, [0, -1]])
    quarter = missing.shape[2] // 4
    deep = parts[..., quarter : missing.shape[2] - quarter]
    open_ends = np.setdiff1d(parts[..., [0, -1]], deep)
    return bool(np.setdiff1d(np.arange(1, count + 1), np.union1d(sides, open_ends)).size)


def _is_plane_lost(missing: np.ndarray, tissue: np.ndarray, axis: int) -> bool:
    """Is a whole plane across an axis missing between others with tissue?"""
    others = tuple({0, 1, 2} - {axis})
    shown, empty = np.flatnonzero(tissue.any(others)), np.flatnonzero(missing.all(others))
    return len(shown) > 0 and bool(((empty > shown[0]) & (empty < shown[-1])).any())
