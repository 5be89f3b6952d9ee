"""Where the head is in a volume."""

from __future__ import annotations

import numpy as np
from scipy import ndimage
from skimage.filters import threshold_otsu

# A pixel and its four neighbours; slices lie too far apart to say anything of each other.
_IN_PLANE = ndimage.generate_binary_structure(2, 1)[..., np.newaxis]


def find_head(voxels: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
    """Tell the head from the air around it, roughly, in a volume of any scale, also with a background that is not 0.

    Tissue is what is brighter than halfway from the background to Otsu's threshold (IEEE Transactions on Systems, Man,
    and Cybernetics 9, 1979). The head is the tissue less specks, a pixel wider, and what it surrounds in each slice.

    Args:
        voxels: ``[x, y, z]``, slices along z.

    Returns:
        tissue and head, bool of the same shape; everything where all voxels are the same.
    """
    # Otsu counts in 256 steps, so that a few very bright voxels would take all of them.
    bulk = np.clip(voxels, *np.percentile(voxels, (0.1, 99.9))).astype(np.float32)
    threshold = threshold_otsu(bulk.ravel())
    tissue = bulk > (np.median(bulk[bulk <= threshold]) + threshold) / 2
    if not tissue.any():
        return np.ones_like(tissue), np.ones_like(tissue)
    solid = ndimage.binary_dilation(ndimage.binary_opening(tissue, _IN_PLANE), _IN_PLANE, iterations=2)
    return tissue, tissue | ndimage.binary_fill_holes(solid, _IN_PLANE)
