"""A case's voxels, read and checked."""

from __future__ import annotations

from collections.abc import Callable, Collection, Generator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing
from dataclasses import dataclass, replace
from pathlib import Path
from typing import TypeVar

import numpy as np
from brainseg_unet_scripts.heads import fill_outside
from tqdm import tqdm

from monai_brainseg.data.cases import Case
from monai_brainseg.data.formats import find_form, read_files, squeeze
from monai_brainseg.data.naming import SEQUENCES
from monai_brainseg.errors import InputError
from monai_brainseg.images.labels import find_tumor, flatten_colours
from monai_brainseg.images.volumes import SHIFT, Volume, hash_images, measure_shift

_Work = TypeVar("_Work")
_Result = TypeVar("_Result")

# Decoding and zlib leave Python's lock, so threads are enough; more than two mostly wait for the disk.
_THREADS = 2
# MONAI takes any string of a datalist for a path if a file or folder beside the datalist has that name.
_RESERVED = {"imagestr", "imagests", "labelstr", "labelsts", "dataset.json", "datalist.json"}
_SPACINGS, _EXTENT = (0.02, 50.0), 2000.0  # in mm, from a microscope to a whole body
_FILLED = "NaN or infinite voxels outside the head were taken as background"
_OTHER_GRID = "all files of a case must share one grid: resample them"


@dataclass(frozen=True)
class Study:
    """What the voxels of a case show.

    Attributes:
        case: the case.
        sequences: those that are its own, in the order of ``SEQUENCES``.
        hash: of these, see ``volumes.hash_images``.
        spacing_known: whether its files are in millimetres.
        tumor_voxels: size of its tumour in voxels.
        tumor_size: in cubic millimetres where the spacing is known, else in voxels.
        notes: what was not as it should be in its files, or was changed in reading.
    """

    case: Case
    sequences: tuple[str, ...]
    hash: str
    spacing_known: bool
    tumor_voxels: int
    tumor_size: float
    notes: tuple[str, ...] = ()


def examine_each(
    cases: Sequence[Case], examine: Callable[[Case], _Result]
) -> Generator[tuple[Case, _Result | InputError], None, None]:
    """Yield each case with what ``examine`` makes of it, or with the error that says why it cannot be used.

    A caller that stops early must close it (``contextlib.closing``), or the threads continue with the other cases.
    """

    def attempt(case: Case) -> _Result | InputError:
        try:
            if case.patient.lower() in _RESERVED:
                raise InputError(case.label[0], f"a patient cannot be called {case.patient}", "rename the files")
            return examine(case)
        except InputError as error:
            return error
        except OSError as error:  # no permission
            return InputError(error.filename, f"cannot be read ({error.strerror})", "change its permissions")

    with closing(do_each(attempt, cases, "reading")) as results:
        yield from zip(cases, results, strict=True)


def do_each(work: Callable[[_Work], _Result], items: Sequence[_Work], title: str) -> Generator[_Result, None, None]:
    """Yield the results in order under a progress bar; after an error, what has not started is dropped."""
    pool = ThreadPoolExecutor(_THREADS)
    try:
        yield from tqdm(pool.map(work, items), title, len(items), disable=None, unit="case")
    finally:
        pool.shutdown(cancel_futures=True)


def examine_case(case: Case, tumor_labels: Collection[int] = ()) -> Study:
    """Read a case and check everything that can be wrong with it.

    Raises:
        InputError: as ``read_images`` and ``read_label``.
    """
    images = read_images(case)
    return describe_case(case, images, read_label(case, images["flair"], tumor_labels))


def describe_case(case: Case, images: Mapping[str, Volume], label: Volume) -> Study:
    """Return what the sequences of a case, as ``read_images`` gives them, and its mask say."""
    flair = images["flair"]
    own = find_own(images)
    tumor = int(label.voxels.sum(dtype=np.int64))
    digest = hash_images(list(own.values()))
    notes = [*case.doubts, *case.notes, *collect_notes({**own, "the mask": label})]
    if tumor > label.voxels.size / 2:
        notes.append("more than half of the image is tumour: is the mask inverted?")
    return Study(case, tuple(own), digest, flair.spacing_known, tumor, tumor * flair.voxel_size, tuple(notes))


def collect_notes(volumes: Mapping[str, Volume]) -> tuple[str, ...]:
    """Return the notes of volumes as sentences; one that several share names them all."""
    told: dict[str, list[str]] = {}
    for name, volume in volumes.items():
        for note in volume.notes:
            told.setdefault(note, []).append(name)
    return tuple(f"{', '.join(names)}: {note}" for note, names in told.items())


def find_own(images: Mapping[str, Volume]) -> dict[str, Volume]:
    """Return the sequences that were scanned: the LGG set holds a copy of FLAIR in place of one that was not."""
    flair = images["flair"]
    return {s: v for s, v in images.items() if s == "flair" or not np.array_equal(v.voxels, flair.voxels)}


def read_images(case: Case) -> dict[str, Volume]:
    """Read the sequences that a case has, in the order of ``SEQUENCES``; grey slices are FLAIR.

    Raises:
        InputError: a file is unreadable, holds voxels that are not numbers, or is on another grid than FLAIR.
    """
    read: dict[tuple[Path, ...], Volume] = {}
    for files in case.images.values():
        if files not in read:
            read[files] = read_files(files)
    flair = read[case.images["flair"]]
    if case.form == "slices" and flair.voxels.ndim == 3 and case.channels:
        images = {"flair": flair}
    else:
        images = {s: _take(case, s, read[case.images[s]]) for s in SEQUENCES if s in case.images}
    for sequence, volume in images.items():
        _check_grid(case.images[sequence][0], volume, images["flair"], case.images["flair"][0])
        _check_spacing(case.images[sequence][0], volume)
    return {sequence: _check_voxels(case.images[sequence][0], volume) for sequence, volume in images.items()}


def _check_voxels(file: Path, volume: Volume) -> Volume:
    """Return a volume that is finite, with background where NaN or infinite values lie outside the head."""
    finite = volume
    if not np.isfinite(volume.voxels).all():
        filled = fill_outside(volume.voxels)
        if filled is None:
            raise InputError(file, "has NaN or infinite voxels inside the head", "repair it, or leave it out")
        finite = replace(volume, voxels=filled, notes=(*volume.notes, _FILLED))
    if np.abs(finite.voxels).max() > np.finfo(np.float32).max:
        raise InputError(file, "has voxels too large for float32", "scale it, or leave it out")
    return finite


def read_label(case: Case, image: Volume, tumor_labels: Collection[int] = ()) -> Volume:
    """Read a case's mask as uint8, 1 where there is tumour, on the grid of ``image``.

    Args:
        case: the case.
        image: a sequence of it.
        tumor_labels: the values that are tumour; every one above 0 if empty.

    Raises:
        InputError: the mask is unreadable, has fractional or negative values, or is on another grid.
    """
    label, file = squeeze(read_files(case.label, mask=True)), case.label[0]
    voxels, notes = label.voxels, label.notes
    if find_form(file) == "slices" and voxels.ndim == 4:
        voxels, coloured = flatten_colours(voxels, tumor_labels, file)
        notes = (*notes, *coloured)
    _check_grid(file, replace(label, voxels=voxels), image, case.images["flair"][0])
    tumor, levels = find_tumor(voxels, tumor_labels, file)
    return Volume(tumor.astype(np.uint8), image.affine, image.spacing_known, (*notes, *levels))


def _take(case: Case, sequence: str, volume: Volume) -> Volume:
    file = case.images[sequence][0]
    if not case.channels:
        volume = squeeze(volume)
        if volume.voxels.ndim != 3:
            remedy = "say what they are with --channels, or give one file for each sequence"
            raise InputError(file, f"holds {volume.voxels.shape[3]} channels", remedy)
        return volume
    count = max(case.channels.values()) + 1
    channels = volume.voxels.shape[3] if volume.voxels.ndim == 4 else 1
    if channels != count:
        remedy = "name as many with --channels, or leave it out"
        raise InputError(file, f"holds {channels} channels where {count} were expected", remedy)
    return replace(volume, voxels=volume.voxels[..., case.channels[sequence]])


def _check_spacing(file: Path, volume: Volume) -> None:
    """Refuse sizes that no scanner makes: resampled, such a volume would fill the memory or vanish.

    If the spacing is unknown, a pixel counts as 1, and the limit is on the number of pixels.
    """
    sizes = volume.spacing
    extent = float((sizes * volume.voxels.shape[:3]).max())
    most = _EXTENT if volume.spacing_known else max(_EXTENT, *volume.voxels.shape[:3])
    if sizes.min() < _SPACINGS[0] or sizes.max() > _SPACINGS[1] or extent > most:
        spacing = " x ".join(f"{size:.3g}" for size in sizes)
        unit = " mm" if volume.spacing_known else ""
        raise InputError(
            file,
            f"has a spacing of {spacing}{unit} and is {extent:.4g}{unit} across",
            "correct its header, or convert it again from the original images",
        )


def _check_grid(file: Path, volume: Volume, flair: Volume, flair_file: Path) -> None:
    shape, expected = volume.voxels.shape, flair.voxels.shape
    if shape != expected:
        sizes = f"{'x'.join(map(str, shape))}, but {flair_file.name} is {'x'.join(map(str, expected))}"
        raise InputError(file, f"is {sizes}", _OTHER_GRID)
    if measure_shift(volume, flair) > SHIFT:
        raise InputError(file, f"its affine differs from that of {flair_file.name}", _OTHER_GRID)
