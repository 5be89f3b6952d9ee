"""The cases of a data set of slices: a folder for each patient, and a mask beside each slice."""

from __future__ import annotations

import re
from collections import defaultdict
from collections.abc import Iterable, Sequence
from pathlib import Path

from monai_brainseg.data.cases import Case, Found, make_labelled
from monai_brainseg.data.naming import CHANNELS, SEQUENCES
from monai_brainseg.errors import InputError

_SLICE = re.compile(r"(?P<patient>.+)_(?P<number>\d+)(?P<mask>_mask)?\.(?:tiff?|png|jpe?g|bmp)", re.IGNORECASE)


def find_slices(files: Sequence[Path]) -> Found:
    """Find ``<patient>/<patient>_<n>.tif`` with ``_<n>_mask.tif``; the published archive holds that tree twice."""
    found = Found("kaggle_3m")
    folders: dict[str, dict[Path, list[re.Match[str]]]] = defaultdict(lambda: defaultdict(list))
    for file in files:
        if match := _SLICE.fullmatch(file.name):
            folders[match["patient"]][file.parent].append(match)
            found.claimed.add(file)
    if not any(file.stem.lower().endswith("_mask") for file in found.claimed):
        return Found("kaggle_3m")
    for patient, copies in sorted(folders.items()):
        first, *others = sorted(copies, key=lambda folder: (len(folder.parts), folder))
        try:
            for other in others:
                if _list_sizes(other, copies[other]) != _list_sizes(first, copies[first]):
                    raise InputError(other, f"differs from {first}, which is the same patient", "remove one of them")
            found.cases.append(_make_slice_case(patient, first, copies[first]))
            found.left_out["are a second copy of a patient"] += map(str, others)
        except InputError as error:
            found.bad[patient] = error
        except OSError as error:  # a link whose file is missing, a folder without permission
            found.bad[patient] = InputError(error.filename, f"cannot be read ({error.strerror})", "fetch or remove it")
    return found


def _list_sizes(folder: Path, slices: Iterable[re.Match[str]]) -> set[tuple[str, int]]:
    return {(match.string, (folder / match.string).stat().st_size) for match in slices}


def _make_slice_case(patient: str, folder: Path, slices: Iterable[re.Match[str]]) -> Case:
    """Pair slices with masks and order them by number, because as text ``_10`` comes before ``_2``."""
    images: dict[int, Path] = {}
    masks: dict[int, Path] = {}
    for match in slices:
        kind, number, file = masks if match["mask"] else images, int(match["number"]), folder / match.string
        if number in kind:
            raise InputError(file, f"has the same number as {kind[number].name}", "remove one of them")
        kind[number] = file
    for number in sorted(images.keys() ^ masks.keys()):
        file, other = (images[number], "mask") if number in images else (masks[number], "image")
        raise InputError(file, f"has no {other} beside it", "add it")
    numbers = sorted(images)
    for expected, number in enumerate(numbers, start=min(numbers[0], 1)):
        if number != expected:
            raise InputError(folder, f"slice {expected} of {patient} is missing", "add it")
    stack = tuple(images[number] for number in numbers)
    return make_labelled(patient, dict.fromkeys(SEQUENCES, stack), tuple(masks[number] for number in numbers), CHANNELS)
