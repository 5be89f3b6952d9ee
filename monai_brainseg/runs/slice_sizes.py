"""How much memory a case's slices take, by the header of its first file."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import nibabel as nib
import numpy as np
from monai.transforms import LoadImage
from nibabel.filebasedimages import ImageFileError

from monai_brainseg.errors import InputError

GIB = 2**30
VOXEL_BYTES = 4 * 2  # three sequences and the mask, in float16


def count_bytes(item: Mapping[str, Any]) -> int:
    """Return what the slices of a case take on the device, by its first file, of which a NIfTI's header is enough.

    Raises:
        InputError: the file cannot be read, or is not a volume.
    """
    files = item["image"]
    file = files[0] if isinstance(files, (list, tuple)) else files
    is_nifti = str(file).endswith((".nii", ".nii.gz"))
    try:
        shape = nib.load(file).shape if is_nifti else LoadImage(image_only=True)(file).shape
    except (OSError, RuntimeError, ImageFileError) as error:
        raise InputError(file, f"cannot be read ({' '.join(str(error).split())[:100]})", "write it again") from error
    if len(shape) not in (3, 4) or len(shape) == 4 and shape[3] not in (1, 3):
        values = "x".join(map(str, shape))
        raise InputError(file, f"holds {values} values", "a volume has three axes, or a fourth one of 1 or 3 sequences")
    return int(np.prod(shape[:3])) * VOXEL_BYTES
