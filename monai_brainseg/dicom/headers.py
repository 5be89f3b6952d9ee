"""Headers of DICOM files: read by pydicom without a word about the person, and what they say of each frame."""

from __future__ import annotations

import logging
import warnings
from collections.abc import Iterator, MutableSequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai_brainseg.errors import InputError
from monai_brainseg.files import require_file

DICOM_ENDINGS = (".dcm", ".dicom", ".ima")

# JPEG of 8 and 12 bits, and near-lossless JPEG-LS; JPEG 2000 may be either.
_LOSSY = ("1.2.840.10008.1.2.4.50", "1.2.840.10008.1.2.4.51", "1.2.840.10008.1.2.4.81")
_MOST_FRAMES = 100_000
_SHARED, _EACH = "SharedFunctionalGroupsSequence", "PerFrameFunctionalGroupsSequence"
# What tells apart two volumes that a scanner puts into one series.
VARIANTS = {
    "EchoTime": "echo time", "EchoNumbers": "echo", "ImageType": "image type", "SequenceName": "sequence",
    "DiffusionBValue": "b-value", "TemporalPositionIdentifier": "time", "InversionTime": "inversion time",
    "TriggerTime": "trigger time", "AcquisitionNumber": "acquisition",
}  # fmt: skip
PERSONAL = (
    "PatientName", "PatientID", "PatientBirthDate", "PatientBirthName", "OtherPatientNames", "OtherPatientIDs",
    "AccessionNumber", "ReferringPhysicianName",
)  # fmt: skip
_TAGS = (
    *VARIANTS, *PERSONAL, _SHARED, _EACH, "SOPClassUID", "SOPInstanceUID", "StudyInstanceUID", "SeriesInstanceUID",
    "FrameOfReferenceUID", "Modality", "StudyID", "StudyDate", "StudyTime", "SeriesNumber", "SeriesDescription",
    "ProtocolName", "InstanceNumber", "Rows", "Columns", "NumberOfFrames", "SamplesPerPixel",
    "PhotometricInterpretation", "ImagePositionPatient", "ImageOrientationPatient", "PixelSpacing", "SliceThickness",
    "LossyImageCompression",
    "SpacingBetweenSlices", "RescaleSlope", "RescaleIntercept",
)  # fmt: skip


@dataclass(frozen=True)
class Frame:
    """A slice: the whole image of a file, or one of its frames.

    Attributes:
        file: where it is.
        index: its place in the file, from 0; None if it is the only one.
        number: by which the scanner orders slices.
        position: of the middle of its first pixel, ``(x, y, z)`` in millimetres, in DICOM's LPS; None if unknown.
        directions: of a row, then of a column; None if unknown.
        size: rows and columns.
        spacing: of rows and of columns in millimetres; None if unknown.
        depth: distance to the next slice, or thickness, in millimetres, as the header says; 1 if it does not.
        scale: slope and intercept of its values.
        inverted: whether low values are bright.
    """

    file: Path
    index: int | None
    number: float
    position: tuple[float, ...] | None
    directions: tuple[float, ...] | None
    size: tuple[int, int]
    spacing: tuple[float, ...] | None
    depth: float
    scale: tuple[float, float]
    inverted: bool

    @property
    def name(self) -> str:
        """What a message calls it, after the name of its file."""
        return self.file.name if self.index is None else f"frame {self.index + 1} of {self.file.name}"

    @property
    def place(self) -> str:
        """What a message calls it, with the path of its file."""
        return str(self.file) if self.index is None else f"{self.file}: frame {self.index + 1}"


def is_dicom(file: Path) -> bool:
    """Has a file a DICOM ending, in any case, or DICOM's mark in its content?"""
    if file.suffix.lower() in DICOM_ENDINGS:
        return True
    try:
        with file.open("rb") as stream:
            start = stream.read(132)
    except OSError:
        return False
    # Old files lack the mark. They begin with an element of group 8, such as its length.
    bare = start[:2] == b"\x08\x00" and start[2:4] in (b"\x00\x00", b"\x01\x00", b"\x05\x00", b"\x08\x00", b"\x16\x00")
    return start[128:] == b"DICM" or bare


def read_header(file: Path) -> Any:
    """Return the elements of a file that are needed, as a pydicom ``Dataset`` without pixels.

    Raises:
        InputError: the file is missing or is not DICOM, or pydicom is not installed.
    """
    header = read_dataset(file, stop_before_pixels=True, specific_tags=list(_TAGS))
    if not find_class(header) and not header.get("Rows"):
        raise unreadable(file)
    return header


def read_dataset(file: Path, **options: Any) -> Any:
    """Return what ``pydicom.dcmread`` reads, also without the mark at the start.

    Raises:
        InputError: the file is missing or is not DICOM, or pydicom is not installed.
    """
    require_file(file)
    try:
        import pydicom
        import pydicom.pixels  # that of version 3
    except ImportError as error:
        raise InputError(file, "DICOM needs pydicom 3, which is not installed", "pip install 'pydicom>=3'") from error
    with be_silent():
        try:
            return pydicom.dcmread(file, force=True, **options)
        except Exception:  # pydicom raises what a damaged file leads to, and may repeat its texts
            raise unreadable(file) from None


def read_frames(file: Path, header: Any) -> tuple[Frame, ...]:
    """Return the frames of a file in their stored order.

    Raises:
        InputError: the header is damaged, or lacks what an image must have.
    """
    with be_silent():
        try:
            count = int(header.get("NumberOfFrames") or 1)
            each = header.get(_EACH) or []
            if count > _MOST_FRAMES or (each and len(each) != count):
                raise InputError(file, f"says {count} frames, but describes {len(each)}", "export it again")
            indices = range(count) if each or count > 1 else [None]
            return tuple(_read_frame(file, header, index) for index in indices)
        except InputError:
            raise
        except Exception:
            raise unreadable(file) from None


def _read_frame(file: Path, header: Any, index: int | None) -> Frame:
    def find(group: str, keyword: str) -> Any:
        return look_up(header, index, group, keyword)

    spacing = _to_numbers(find("PixelMeasuresSequence", "PixelSpacing"), 2)
    depth = find("PixelMeasuresSequence", "SpacingBetweenSlices") or find("PixelMeasuresSequence", "SliceThickness")
    slope, intercept = (find("PixelValueTransformationSequence", f"Rescale{what}") for what in ("Slope", "Intercept"))
    return Frame(
        file,
        index,
        float(header.get("InstanceNumber") or 0) if index is None else float(index),
        _to_numbers(find("PlanePositionSequence", "ImagePositionPatient"), 3),
        _to_numbers(find("PlaneOrientationSequence", "ImageOrientationPatient"), 6),
        (int(header.Rows), int(header.Columns)),
        spacing if spacing and min(spacing) > 0 else None,
        abs(float(depth or 1)),
        (1.0 if slope is None else float(slope), float(intercept or 0)),
        header.get("PhotometricInterpretation") == "MONOCHROME1",
    )


def look_up(header: Any, index: int | None, group: str, keyword: str) -> Any:
    """Return an element of a frame: from its functional group, that of all frames, or the header; None without."""
    each = header.get(_EACH) or []
    for groups in ([each[index or 0]] if each else []), header.get(_SHARED) or []:
        for one in groups:
            for item in one.get(group) or []:
                if item.get(keyword) is not None:
                    return item.get(keyword)
    return header.get(keyword)


def find_class(header: Any) -> str:
    """Return the UID of what kind of object it is; empty if it does not say."""
    meta = getattr(header, "file_meta", None) or {}
    return str(header.get("SOPClassUID") or meta.get("MediaStorageSOPClassUID") or "")


def is_lossy(header: Any) -> bool:
    """Has compression changed the pixels, by what the header says or by what it is?"""
    meta = getattr(header, "file_meta", None) or {}
    return read_text(header, "LossyImageCompression") == "01" or meta.get("TransferSyntaxUID") in _LOSSY


def read_text(header: Any, keyword: str) -> str:
    """Return an element as text; empty if it is missing or damaged."""
    with be_silent():
        try:
            value = header.get(keyword)
        except Exception:
            return ""
    if value is None:
        return ""
    several = isinstance(value, MutableSequence)
    return "/".join(map(str, value)) if several else str(value).strip()


def read_times(header: Any) -> tuple[Any, Any]:
    """Return echo time and inversion time in milliseconds, the latter one or several; None where they are not known."""
    with be_silent():
        try:
            echo = look_up(header, 0, "MREchoSequence", "EffectiveEchoTime") or header.get("EchoTime")
            return echo, look_up(header, 0, "MRModifierSequence", "InversionTimes") or header.get("InversionTime")
        except Exception:
            return None, None


@contextmanager
def be_silent() -> Iterator[None]:
    """Hide what pydicom says of odd values, which it repeats: they may be a person's."""
    logging.getLogger("pydicom").setLevel(logging.CRITICAL)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")
        yield


def unreadable(path: Path) -> InputError:
    """Return the error of a file that is damaged or is not DICOM."""
    return InputError(path, "cannot be read as DICOM", "export it again, or leave it out")


def _to_numbers(values: Any, count: int) -> tuple[float, ...] | None:
    """Return so many finite numbers, or None if the element is missing or empty."""
    if values is None or isinstance(values, str) or len(values) == 0:
        return None
    numbers = tuple(map(float, values))
    if len(numbers) != count or not all(abs(number) < 1e9 for number in numbers):
        raise ValueError(f"{count} finite numbers expected")
    return numbers
