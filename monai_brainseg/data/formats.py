"""Files of every format as volumes: which form they have, their voxels and their channels."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

from monai_brainseg.dicom.volumes import read_series
from monai_brainseg.images.image_files import ITK_ENDINGS, NIFTI_ENDINGS, open_image, strip_ending
from monai_brainseg.images.itk_volumes import read_itk
from monai_brainseg.images.slices import SLICE_ENDINGS, decode_slices
from monai_brainseg.images.volumes import Volume, read_nifti, read_slices


def find_form(file: Path) -> str:
    """Return "slices", "nifti", "volume" (in another format) or "dicom"; case does not matter."""
    if file.suffix.lower() in SLICE_ENDINGS:
        return "slices"
    if file.name.lower().endswith(NIFTI_ENDINGS):
        return "nifti"
    return "dicom" if strip_ending(file.name) is None else "volume"


def read_files(files: tuple[Path, ...], mask: bool = False) -> Volume:
    """Read the slices, the volume or the DICOM series of one image, see the reader of each.

    Args:
        files: of one form.
        mask: whether the colours of a palette are taken, see ``slices.decode_slices``.

    Raises:
        InputError: a file is missing or cannot be used.
    """
    form = find_form(files[0])
    if form == "slices":
        return read_slices(files, mask)
    if form == "dicom":
        return read_series(files)
    return read_itk(files[0]) if files[0].name.lower().endswith(ITK_ENDINGS) else read_nifti(files[0])


def squeeze(volume: Volume) -> Volume:
    """Drop a last axis of one channel, which some writers add."""
    return replace(volume, voxels=volume.voxels[..., 0]) if volume.voxels.shape[3:] == (1,) else volume


def count_channels(file: Path) -> int:
    """Return the channels of an image; 1 if it cannot be read, which reading it will report."""
    try:
        if find_form(file) == "slices":
            return decode_slices(file).pixels.shape[3:][0]
        if file.name.lower().endswith(ITK_ENDINGS):
            return read_itk(file).voxels.shape[3:][0]
        with open_image(file) as (image, _):
            return int(image.shape[3 if len(image.shape) == 4 else 4])
    except Exception:  # also where there is no such axis
        return 1
