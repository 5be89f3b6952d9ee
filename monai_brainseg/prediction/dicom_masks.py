"""Masks as DICOM segmentation objects, which viewers show over the series that they were made from."""

from __future__ import annotations

import io
import warnings
from collections.abc import Sequence
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import numpy as np

from monai_brainseg import __version__
from monai_brainseg.dicom.headers import read_dataset
from monai_brainseg.dicom.volumes import order_frames
from monai_brainseg.errors import InputError
from monai_brainseg.files import write_whole

_LIBRARY = "highdicom"
MISSING = f"DICOM SEG needs {_LIBRARY}"
_INSTALL = "install it with: pip install 'monai-brainseg[dicom]'"


def can_write() -> bool:
    """Is the library that writes DICOM SEG installed?"""
    return find_spec(_LIBRARY) is not None


def write_segmentation(mask: np.ndarray, files: Sequence[Path], file: Path, network: str) -> None:
    """Write a mask as a binary DICOM SEG that refers to the images of a series, on their grid.

    It belongs to their study, and therefore names the same patient.

    Args:
        mask: ``[x, y, z]`` bool.
        files: the series' slices, or its one file of several frames.
        file: ``.dcm``.
        network: what made the mask, with a version.

    Raises:
        InputError: highdicom is missing, the images lack attributes that DICOM requires, or the file cannot be written.
    """
    with warnings.catch_warnings():
        # pydicom's warnings may contain the patient's name.
        warnings.simplefilter("ignore")
        data = _make(mask, files, file, network)
    write_whole(file, data)


def _make(mask: np.ndarray, files: Sequence[Path], file: Path, network: str) -> bytes:
    try:
        import highdicom as hd
        from pydicom.sr.codedict import codes
    except ImportError as error:
        raise InputError(file.name, MISSING, _INSTALL) from error
    try:
        sources, pixels = _read_sources(mask, files)
        maker = hd.AlgorithmIdentificationSequence(network, codes.DCM.ArtificialIntelligence, __version__)
        segment = hd.seg.SegmentDescription(
            segment_number=1,
            segment_label="tumor",
            segmented_property_category=codes.SCT.MorphologicallyAbnormalStructure,
            segmented_property_type=codes.SCT.Neoplasm,
            algorithm_type=hd.seg.SegmentAlgorithmTypeValues.AUTOMATIC,
            algorithm_identification=maker,
        )
        made = hd.seg.Segmentation(
            source_images=sources,
            pixel_array=np.ascontiguousarray(pixels),
            segmentation_type=hd.seg.SegmentationTypeValues.BINARY,
            segment_descriptions=[segment],
            series_instance_uid=hd.UID(),
            series_number=9000,
            sop_instance_uid=hd.UID(),
            instance_number=1,
            manufacturer="brainseg",
            manufacturer_model_name=network,
            software_versions=__version__,
            device_serial_number="0",
            series_description="tumor, by a network, for research only",
            omit_empty_frames=bool(pixels.any()),
        )
        buffer = io.BytesIO()
        made.save_as(buffer)
    except Exception as error:  # many files of scanners lack required attributes
        # The error's text is left out: it may repeat what the images say about a person.
        kind = type(error).__name__
        reason = f"required attributes are missing or wrong: {kind}"
        raise InputError(
            file.name, f"no DICOM SEG can be made of these images ({reason})", "use the NIfTI mask"
        ) from None
    return buffer.getvalue()


def _read_sources(mask: np.ndarray, files: Sequence[Path]) -> tuple[list[Any], np.ndarray]:
    """Return the images, and the mask as ``[frame, row, column]`` in their order."""
    frames, pixels = order_frames(files), mask.transpose(2, 1, 0)
    sources = [read_dataset(file) for file in dict.fromkeys(frame.file for frame in frames)]
    if len(sources) == 1:
        _share_geometry(sources[0])
        # The frames of a file may be stored in another order.
        pixels = pixels[np.argsort([frame.index or 0 for frame in frames])]
    return sources, pixels


def _share_geometry(source: Any) -> None:
    """Write what all frames of an image share once, as highdicom wants it; scanners may repeat it for each frame."""
    each = source.get("PerFrameFunctionalGroupsSequence")
    if each:
        shared = source.SharedFunctionalGroupsSequence[0]
        for name in ("PlaneOrientationSequence", "PixelMeasuresSequence"):
            if name not in shared:
                setattr(shared, name, each[0].get(name))
