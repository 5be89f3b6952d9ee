"""Masks in the form and on the grid of the images that they were made of."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np

from monai_brainseg.data.volumes import compress, write_slices
from monai_brainseg.errors import InputError
from monai_brainseg.files import write_whole

# NIfTI fields for free text, which may name the patient.
_TEXTS = ("descrip", "aux_file", "db_name", "intent_name", "data_type")


def write_mask_slices(mask: np.ndarray, files: Sequence[Path], folder: Path) -> list[Path]:
    """Write ``[x, y, z]`` bool as ``<name>_mask.tif``, 0 and 255, one for each file of the images.

    Raises:
        InputError: a file cannot be written.
    """
    written = [folder / f"{file.stem}_mask.tif" for file in files]
    write_slices(mask.astype(np.uint8) * np.uint8(255), written)
    return written


def write_like(voxels: np.ndarray, source: Path, file: Path) -> None:
    """Write a mask (bool) or a map (float) ``[x, y, z]`` as NIfTI with the affines, units and codes of another file.

    Args:
        voxels: of the other file's shape.
        source: that file, 3D or 4D.
        file: ``.nii.gz``.

    Raises:
        InputError: the file cannot be written, or the other one has gone.
    """
    try:
        image = nib.load(source)
    except Exception as error:
        raise InputError(source, "cannot be read any more", "give it again") from error
    header = image.header.copy()
    if header.endianness != nib.Nifti1Header().endianness:
        header = header.as_byteswapped()
    header.extensions.clear()
    for name in _TEXTS:
        if name in header:
            header[name] = b""
    # Ranges, scales and times are of the image.
    for name in ("cal_max", "cal_min", "toffset", "slice_duration", "slice_start", "slice_end", "slice_code"):
        header[name] = 0
    dtype = np.uint8 if voxels.dtype == bool else np.float32
    header.set_data_dtype(dtype)
    header.set_slope_inter(1, 0)
    header.set_intent("none")
    header.set_xyzt_units(header.get_xyzt_units()[0], "unknown")
    header["pixdim"][4:] = 1
    made = type(image)(voxels.astype(dtype, copy=False), None, header)
    write_whole(file, compress(made.to_bytes()))
