"""Images of one DICOM series: which are copies of another, and which volumes a series holds."""

from __future__ import annotations

import filecmp
from collections import Counter, defaultdict
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from monai_brainseg.dicom.headers import VARIANTS, Frame, read_frames, read_text
from monai_brainseg.dicom.volumes import read_values
from monai_brainseg.errors import InputError

_TITLES = ("in", *VARIANTS.values(), "file")


@dataclass(frozen=True)
class Image:
    """A file of a series: its UID, its frames, and what may tell it from others of the series, as in ``_TITLES``."""

    file: Path
    uid: str
    frames: tuple[Frame, ...]
    variants: tuple[str, ...]

    @property
    def places(self) -> tuple[Any, ...]:
        """Where its frames are; its UID if they do not say it."""
        if not all(frame.position and frame.directions for frame in self.frames):
            return (self.uid or self.file,)
        return tuple(tuple(np.round((*f.position, *f.directions), 3)) for f in self.frames)  # type: ignore[misc]


def read_image(file: Path, header: Any) -> Image:
    """Return what is needed of a file with this header.

    Raises:
        InputError: the header is damaged.
    """
    several = file.name if read_text(header, "NumberOfFrames") not in ("", "1") else ""
    variants = (str(file.parent), *(read_text(header, keyword) for keyword in VARIANTS), several)
    return Image(file, read_text(header, "SOPInstanceUID"), read_frames(file, header), variants)


def leave_copies(images: Sequence[Image]) -> tuple[list[Image], list[Image]]:
    """Separate images from their copies: of one place and equal pixels."""
    kept: dict[tuple[Any, ...], list[Image]] = defaultdict(list)
    copies = []
    for image in images:
        if any(_is_copy(image, other) for other in kept[image.places]):
            copies.append(image)
        else:
            kept[image.places].append(image)
    return [image for several in kept.values() for image in several], copies


def _is_copy(image: Image, other: Image) -> bool:
    """Are two images of one place the same? Empty slices of two echoes are not."""
    if (image.uid != other.uid or not image.uid) and image.variants[1:-1] != other.variants[1:-1]:
        return False
    try:
        if filecmp.cmp(image.file, other.file, shallow=False):
            return True
        return np.array_equal(read_values(image.file, image.frames), read_values(other.file, other.frames))
    except (InputError, OSError):
        return False


def divide_series(images: Sequence[Image]) -> list[tuple[str, list[Image]]]:
    """Return the volumes of a series, each with what tells it apart; one, if nothing separates repeated places."""
    repeats = _count_repeats(images)
    single = [(index,) for index in range(len(_TITLES))] if repeats > 1 else []
    for indices in (*single, tuple(range(len(_TITLES)))) if repeats > 1 else ():
        parts: dict[tuple[str, ...], list[Image]] = defaultdict(list)
        for image in images:
            parts[tuple(image.variants[index] for index in indices)].append(image)
        if len(parts) == repeats and all(_count_repeats(part) == 1 for part in parts.values()):
            vary = [len({key[n] for key in parts}) > 1 for n in range(len(indices))]
            names = [[_title(i, key[n]) for n, i in enumerate(indices) if vary[n]] for key in parts]
            return [(", ".join(name), part) for name, part in zip(names, parts.values(), strict=True)]
    return [("", list(images))]


def _count_repeats(images: Sequence[Image]) -> int:
    """Return how many times the place that is there most often is there."""
    return max(Counter(place for image in images for place in image.places).values())


def _title(index: int, value: str) -> str:
    """Return "echo time 90" or "in one/SE2", by which a user can tell volumes apart."""
    return f"{_TITLES[index]} {'/'.join(Path(value).parts[-2:]) if index == 0 else value or 'none'}"
