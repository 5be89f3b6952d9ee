"""DICOM files of a phantom's FLAIR, by pydicom alone: a file a slice, or one enhanced file of all."""

from __future__ import annotations

import warnings
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
from pydicom.dataset import Dataset, FileMetaDataset
from pydicom.sequence import Sequence as Items
from pydicom.uid import EnhancedMRImageStorage, ExplicitVRLittleEndian, MRImageStorage, generate_uid
from support.fixed_bundles import draw_phantom

SPACING, DEPTH = 4.0, 10.0
PERSON = {"PatientName": "Zyxwvut^Quentina", "PatientID": "PID778899", "PatientBirthDate": "19010203"}


def draw_flair(seed: int = 0, slices: int = 8) -> np.ndarray:
    """Return ``[x, y, z]``, uint16."""
    return draw_phantom(size=48, slices=slices, seed=seed).images[..., 1].astype(np.uint16)


def make_uid(*words: object) -> str:
    return str(generate_uid(entropy_srcs=["brainseg", *map(str, words)]))


def _make(voxels: np.ndarray, kind: str, series: str, changes: dict[str, Any]) -> Dataset:
    dataset = Dataset()
    dataset.file_meta = FileMetaDataset()
    dataset.file_meta.TransferSyntaxUID = ExplicitVRLittleEndian
    known = {
        **PERSON, "PatientSex": "F", "StudyID": "1", "StudyDate": "20200101", "StudyTime": "120000",
        "AccessionNumber": "", "ReferringPhysicianName": "", "SOPClassUID": kind, "Modality": "MR",
        "Manufacturer": "none", "SeriesNumber": 4, "SeriesDescription": "AX T2 FLAIR",
        "StudyInstanceUID": make_uid("study"), "SeriesInstanceUID": make_uid("series", series),
        "FrameOfReferenceUID": make_uid("frame"), "PositionReferenceIndicator": "", "Laterality": "",
        "Rows": voxels.shape[1], "Columns": voxels.shape[0], "SamplesPerPixel": 1, "BitsAllocated": 16,
        "PhotometricInterpretation": "MONOCHROME2", "BitsStored": 16, "HighBit": 15, "PixelRepresentation": 0,
        "InstanceNumber": 1,
    }  # fmt: skip
    for name, value in (known | changes).items():
        if value is not None:
            setattr(dataset, name, value)
    return dataset


def _save(dataset: Dataset, file: Path) -> Path:
    dataset.file_meta.MediaStorageSOPClassUID = dataset.SOPClassUID
    dataset.file_meta.MediaStorageSOPInstanceUID = dataset.SOPInstanceUID
    file.parent.mkdir(parents=True, exist_ok=True)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of odd values, which tests write on purpose
        dataset.save_as(file, enforce_file_format=True)
    return file


def write_series(
    folder: Path, voxels: np.ndarray | None = None, *, series: str = "a", ending: str = ".dcm", **changes: Any
) -> list[Path]:
    """Write a file a slice; a change is a value, or a function of the slice's number."""
    voxels = draw_flair() if voxels is None else voxels
    files = []
    for z in range(voxels.shape[2]):
        placed = {
            "SOPInstanceUID": make_uid("image", series, z), "InstanceNumber": z + 1, "PixelSpacing": [SPACING, SPACING],
            "SliceThickness": DEPTH, "ImagePositionPatient": [0.0, 0.0, DEPTH * z],
            "ImageOrientationPatient": [1.0, 0, 0, 0, 1, 0],
        }  # fmt: skip
        own = {name: value(z) if callable(value) else value for name, value in changes.items()}
        dataset = _make(voxels, MRImageStorage, series, placed | own)
        dataset.PixelData = np.ascontiguousarray(voxels[..., z].T).tobytes()
        files.append(_save(dataset, folder / f"IM{z:06d}{ending}"))
    return files


def write_enhanced(
    file: Path, voxels: np.ndarray | None = None, order: Sequence[int] | None = None, **changes: Any
) -> Path:
    """Write one enhanced MR file; its frames are these slices, in this order."""
    voxels = draw_flair() if voxels is None else voxels
    order = range(voxels.shape[2]) if order is None else order
    dataset = _make(voxels, EnhancedMRImageStorage, str(file), changes)
    dataset.SOPInstanceUID = make_uid("image", file)
    dataset.NumberOfFrames = len(order)
    shared = Dataset()
    shared.PixelMeasuresSequence = _item(PixelSpacing=[SPACING, SPACING], SliceThickness=DEPTH)
    dataset.SharedFunctionalGroupsSequence = Items([shared])
    dataset.PerFrameFunctionalGroupsSequence = Items([describe_frame(z) for z in order])
    dataset.PixelData = b"".join(np.ascontiguousarray(voxels[..., z].T).tobytes() for z in order)
    return _save(dataset, file)


def describe_frame(z: int, turn: Sequence[float] = (1, 0, 0, 0, 1, 0), slope: float = 1.0) -> Dataset:
    """Return the functional groups of a frame."""
    groups = Dataset()
    groups.PlanePositionSequence = _item(ImagePositionPatient=[0.0, 0.0, DEPTH * z])
    groups.PlaneOrientationSequence = _item(ImageOrientationPatient=list(map(float, turn)))
    groups.PixelValueTransformationSequence = _item(RescaleIntercept=0, RescaleSlope=slope, RescaleType="US")
    return groups


def _item(**values: Any) -> Items:
    one = Dataset()
    for name, value in values.items():
        setattr(one, name, value)
    return Items([one])


def change(file: Path, **values: Any) -> None:
    """Set elements of a file; None removes one."""
    dataset = pydicom.dcmread(file)
    for name, value in values.items():
        if value is None:
            delattr(dataset, name)
        else:
            setattr(dataset, name, value)
    dataset.save_as(file)


def write_other(file: Path, kind: str, **changes: Any) -> Path:
    """Write an object that is not an image of the scanner, with the study of ``write_series``."""
    dataset = _make(np.zeros((8, 8, 1), np.uint16), kind, str(file), changes)
    dataset.SOPInstanceUID = make_uid("other", file)
    return _save(dataset, file)
