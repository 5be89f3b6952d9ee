"""Frames of DICOM files, ordered and checked, become a volume on the scanner's grid."""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from monai_brainseg.dicom.codecs import register_codecs
from monai_brainseg.dicom.headers import Frame, be_silent, read_dataset, read_frames, read_header, unreadable
from monai_brainseg.errors import InputError
from monai_brainseg.images.volumes import LPS_TO_RAS, Volume

# Share of the distance between slices. Some scanners write positions with few digits.
_UNEVEN = 0.1
_SEPARATE = "separate the mixed series"


def read_series(files: Sequence[Path]) -> Volume:
    """Read the slices of a series into one volume, float32, values rescaled as the files say.

    Args:
        files: a slice each, or files of several frames, in any order.

    Returns:
        ``[x, y, z]`` = [column, row, slice], along the normal of the slices, with its affine in millimetres.

    Raises:
        InputError: a file is missing, unreadable or compressed in a way that cannot be decoded; slices are missing,
            share a position, or differ in direction or size.
    """
    frames = order_frames(files)
    voxels = np.empty((len(frames), *frames[0].size), np.float32)
    slices: dict[Path, list[int]] = defaultdict(list)
    for number, frame in enumerate(frames):
        slices[frame.file].append(number)
    for file, numbers in slices.items():
        voxels[numbers] = read_values(file, [frames[number] for number in numbers])
    if frames[0].inverted:
        voxels = voxels.max() - voxels
    known = frames[0].spacing is not None
    return Volume(np.ascontiguousarray(voxels.transpose(2, 1, 0)), LPS_TO_RAS @ _make_affine(frames), known)


def order_frames(files: Sequence[Path]) -> list[Frame]:
    """Return the frames of files in the order of a volume's slices: along their normal, by number without positions.

    Raises:
        InputError: see ``read_series``; pixels are not read.
    """
    frames = [frame for file in files for frame in read_frames(file, read_header(file))]
    first = frames[0]
    for frame in frames:
        for what, one, other in (
            ("size", frame.size, first.size),
            ("photometric interpretation", frame.inverted, first.inverted),
            ("pixel spacing", np.round(frame.spacing or (), 3).tolist(), np.round(first.spacing or (), 3).tolist()),
        ):
            if one != other:
                raise InputError(frame.place, f"has another {what} than {first.name}", _SEPARATE)
    placed = [frame for frame in frames if frame.position and frame.directions]
    if not placed:
        _check_numbers(frames)
        # Old scanners, anonymised files.
        return sorted(frames, key=lambda frame: (frame.number, frame.file, frame.index or 0))
    if len(placed) < len(frames):
        lost = next(frame for frame in frames if frame not in placed)
        raise InputError(lost.place, f"has no position, but {placed[0].name} has one", "export the series again")
    return _order_placed(frames)


def _check_numbers(frames: Sequence[Frame]) -> None:
    """Refuse files without positions whose numbers do not tell their order either."""
    seen: dict[float, Frame] = {}
    for frame in frames:
        first = seen.setdefault(frame.number, frame)
        if first.file != frame.file:
            what = f"has no position, and no other number than {first.name}: their order is not known"
            raise InputError(frame.place, what, "export the series again")


def _order_placed(frames: Sequence[Frame]) -> list[Frame]:
    turns = np.array([frame.directions for frame in frames])
    if np.abs(turns - turns[0]).max() > 1e-3:
        odd = frames[int(np.abs(turns - turns[0]).max(axis=1).argmax())]
        raise InputError(odd.place, f"has another direction than {frames[0].name}", _SEPARATE)
    axes = turns[0].reshape(2, 3)
    if np.abs(axes @ axes.T - np.eye(2)).max() > 1e-2:
        raise InputError(frames[0].place, "its rows and columns are not at right angles", "export the series again")
    depths = np.array([frame.position for frame in frames]) @ np.cross(*axes)
    order = np.argsort(depths, kind="stable")
    ordered = [frames[number] for number in order]
    if len(ordered) > 1:
        _check_distances(ordered, np.cross(*axes), np.diff(depths[order]))
    return ordered


def _check_distances(frames: Sequence[Frame], normal: np.ndarray, steps: np.ndarray) -> None:
    """Refuse slices at one position, gaps, and slices that do not lie above one another."""
    if steps.min() < 1e-3:
        one, again = sorted(frames[int(steps.argmin()) :][:2], key=lambda frame: (frame.file, frame.index or 0))
        raise InputError(again.place, f"has the position of {one.name}", f"{_SEPARATE} (echoes, times, copies)")
    usual = float(np.median(steps))
    if np.abs(steps - usual).max() > _UNEVEN * usual:
        gap = int(np.abs(steps - usual).argmax())
        distances = f"{steps[gap]:.4g} mm, but the others are {usual:.4g} mm apart"
        what = f"its distance from {frames[gap].name} is {distances}"
        raise InputError(frames[gap + 1].place, what, "slices are missing: export them all")
    places = np.array([frame.position for frame in frames])
    shifts = places - np.linspace(places[0], places[-1], len(places))
    aside = np.linalg.norm(shifts - np.outer(shifts @ normal, normal), axis=1)
    if aside.max() > 2 * _UNEVEN * usual:
        odd = frames[int(aside.argmax())]
        raise InputError(odd.place, f"lies {aside.max():.3g} mm beside the line of the other slices", _SEPARATE)


def _make_affine(frames: Sequence[Frame]) -> np.ndarray:
    """Return the affine in LPS of the middles of the voxels, by DICOM PS3.3 C.7.6.2.1.1."""
    first, last = frames[0], frames[-1]
    rows, columns = first.spacing or (1.0, 1.0)
    along = np.array(first.directions or (1, 0, 0, 0, 1, 0)).reshape(2, 3)
    affine = np.eye(4)
    affine[:3, 0], affine[:3, 1] = along[0] * columns, along[1] * rows
    affine[:3, 2] = np.cross(*along) * first.depth
    if first.position and last.position:
        affine[:3, 3] = first.position
        if len(frames) > 1:
            affine[:3, 2] = np.subtract(last.position, first.position) / (len(frames) - 1)
    return affine


def read_values(file: Path, frames: Sequence[Frame]) -> np.ndarray:
    """Return the values of some frames of a file, float32 ``[frame, row, column]``.

    Raises:
        InputError: the pixels are missing, damaged, coloured, or compressed in a way that cannot be decoded.
    """
    dataset = read_dataset(file)
    with be_silent():
        pixels = _decode(file, dataset)
        if dataset.get("ModalityLUTSequence"):
            from pydicom.pixels import apply_modality_lut

            pixels = apply_modality_lut(pixels, dataset)
    stored = pixels.reshape(-1, *pixels.shape[-2:])
    if stored.shape[1:] != frames[0].size or len(stored) <= max(frame.index or 0 for frame in frames):
        raise unreadable(file)
    slopes, intercepts = np.array([frame.scale for frame in frames]).T
    if not (np.isfinite(slopes).all() and slopes.all() and np.isfinite(intercepts).all()):
        raise InputError(file, "its rescale slope is 0 or not a number", "export it again")
    chosen = stored[[frame.index or 0 for frame in frames]]
    return (chosen * slopes[:, None, None] + intercepts[:, None, None]).astype(np.float32)


def _decode(file: Path, dataset: Any) -> np.ndarray:
    from pydicom.pixels import get_decoder
    from pydicom.uid import UID, ExplicitVRLittleEndian, ImplicitVRLittleEndian

    if int(dataset.get("SamplesPerPixel") or 1) != 1:
        raise InputError(file, "is coloured", "export the grey images of the series")
    if "TransferSyntaxUID" not in dataset.file_meta:
        implicit = dataset.original_encoding[0]
        dataset.file_meta.TransferSyntaxUID = ImplicitVRLittleEndian if implicit else ExplicitVRLittleEndian
    register_codecs()
    syntax = UID(dataset.file_meta.TransferSyntaxUID)
    try:
        known = get_decoder(syntax).is_available
    except NotImplementedError:
        known = False
    if not known:
        what = f"is compressed as {syntax.name}, which cannot be decoded here"
        raise InputError(file, what, "export it without compression, or pip install 'pylibjpeg[all]'")
    try:
        return np.asarray(dataset.pixel_array)
    except Exception:  # pydicom and its decoders raise what damaged pixels lead to
        raise unreadable(file) from None
