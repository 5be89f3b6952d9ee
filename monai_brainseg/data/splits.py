"""Whole patients into folds and a test part, and the datalist that records it."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, TypedDict

import numpy as np

from monai_brainseg.data.datalist_fields import find_wrong_field
from monai_brainseg.errors import InputError
from monai_brainseg.files import read_json, write_json

_PARTS = ("training", "test")
_DRAWS = 100
_PREPARE = "write it again with brainseg prepare"


class _Files(TypedDict):
    image: list[str]
    label: str
    patient: str


class Item(_Files, total=False):
    """One case of a datalist.

    Attributes:
        image: its files in channel order (pre, FLAIR, post), or FLAIR alone.
        label: its mask.
        patient: the name of the case, of its mask and of its scores.
        subject: the person, who may have several cases.
        site: where the case was scanned, or "unknown".
        source: of merged folders, the data set that the case is of.
        fold: of a training case, the fold that validates on it.
        spacing_known: whether the files are in millimetres.
        replaced: the sequences that are copies of FLAIR.
        tumor_voxels: size of the tumour.
        hash: of the voxels of all sequences, see ``volumes.hash_images``.
        notes: what was not as it should be in its files, or was changed in reading.
    """

    subject: str
    site: str
    source: str
    fold: int
    spacing_known: bool
    replaced: list[str]
    tumor_voxels: int
    hash: str
    notes: list[str]


class _Parts(TypedDict):
    training: list[Item]
    test: list[Item]


class Datalist(_Parts, total=False):
    """The cases of both parts of a prepared data set, and how it was prepared.

    ``split`` is "slice" in the datalists that ``brainseg benchmark`` writes to measure the leak of a split by slice,
    where a person is in two folds. In every other datalist the field is missing, and a person is in one part only.
    """

    name: str
    split: str
    description: str
    prepared_by: str
    seed: int
    folds: int


def split_by_patient(
    sites: Mapping[str, str],
    tumor_sizes: Mapping[str, float],
    rng: np.random.Generator,
    test_share: float = 0.15,
    folds: int = 5,
) -> dict[str, int | None]:
    """Assign each patient to a fold or to the test part.

    Patients are lined up by site, and by tumour size within a site (falling in every second one, so that neighbours
    stay alike where sites meet). The line is cut into as many runs as there are test patients, and one of each run
    is drawn. What is left is cut into runs of ``folds``, and each run is dealt out, one patient to each fold. So
    folds differ by at most one patient in size and by at most two of one site. Of 100 such draws the one is taken whose
    parts are most alike in tumour size, by the mean rank.

    This is a randomised block design (Fisher, The Design of Experiments, 1935) with rerandomisation (Morgan and
    Rubin, Annals of Statistics 40, 2012).

    Args:
        sites: the site of each patient; patients are persons, so all studies of one stay together.
        tumor_sizes: tumour volume of each patient, in any unit.
        rng: source of the draws.
        test_share: share of the patients in the test part, from 0 up to 1.
        folds: number of folds, at least 2.

    Returns:
        patient to fold, from 0, or to None for the test part; sorted by patient and independent of the order given.

    Raises:
        InputError: too few patients to put one into each fold.
    """
    count = int(test_share * len(sites) + 0.5)  # Python's round takes halves to the even number
    if len(sites) - count < folds:
        raise InputError(
            f"{len(sites)} patients",
            f"are too few for {folds} folds and {count} test patients",
            "add patients, or lower --folds or --test-share",
        )
    line: list[str] = []
    for index, site in enumerate(sorted(set(sites.values()))):
        members = sorted((tumor_sizes[patient], patient) for patient in sites if sites[patient] == site)
        line += [patient for _, patient in (members[::-1] if index % 2 else members)]
    ranks = {patient: rank for rank, patient in enumerate(sorted(line, key=lambda one: (tumor_sizes[one], one)))}

    def spread(parts: list[list[str]]) -> float:
        return float(np.std([np.mean([ranks[patient] for patient in part]) for part in parts if part]))

    *dealt, test = min((_draw_parts(line, count, folds, rng) for _ in range(_DRAWS)), key=spread)
    assigned: dict[str, int | None] = dict.fromkeys(test)
    assigned |= {patient: fold for fold, part in enumerate(dealt) for patient in part}
    return dict(sorted(assigned.items()))


def _draw_parts(line: Sequence[str], count: int, folds: int, rng: np.random.Generator) -> list[list[str]]:
    """Draw ``count`` test patients and deal the others to folds; the test part is last."""
    test = [line[rng.choice(run)] for run in np.array_split(np.arange(len(line)), count)] if count else []
    rest = [patient for patient in line if patient not in test]
    parts: list[list[str]] = [[] for _ in range(folds)]
    for start in range(0, len(rest), folds):
        for patient, fold in zip(rest[start : start + folds], rng.permutation(folds), strict=False):
            parts[fold].append(patient)
    return [*parts, test]


def write_datalist(datalist: Datalist, path: Path) -> None:
    """Write a datalist; paths become relative to it, and a list of one image becomes that image.

    ASCII, since MONAI opens it in the encoding of the system.

    Raises:
        InputError: the file cannot be written.
    """
    content: dict[str, Any] = dict(datalist)
    for part in _PARTS:
        content[part] = [_relate(item, path.parent) for item in content[part]]
    write_json(path, content)


def read_datalist(path: Path, check_files: bool = True) -> Datalist:
    """Read and check a datalist.

    Args:
        path: the file, or the prepared folder that holds it as ``datalist.json``.
        check_files: whether the files of every case must exist.

    Returns:
        the datalist; paths are joined to its folder, and ``image`` is always a list.

    Raises:
        InputError: it is missing or not a datalist, or lists no case, a patient twice, one person in two parts, a
            training case without a fold, or a missing file.
    """
    file = path / "datalist.json" if path.is_dir() else path
    if not file.is_file():
        raise InputError(file, "no such datalist", _PREPARE)
    content = read_json(file, _PREPARE)
    if not isinstance(content, dict) or not isinstance(content.get("training"), list) or not content["training"]:
        raise InputError(file, 'has no "training" list of cases', _PREPARE)
    if not isinstance(content.get("test", []), list):
        raise InputError(file, 'its "test" part is not a list of cases', _PREPARE)
    datalist: dict[str, Any] = {**content}
    for part in _PARTS:
        datalist[part] = [_resolve(item, file, part) for item in content.get(part, [])]
        if check_files:
            _check_files(datalist[part], file)
    _check_patients(datalist["training"], datalist["test"], file, by_slice=datalist.get("split") == "slice")
    return Datalist(**datalist)  # type: ignore[typeddict-item]


def _relate(item: Item, folder: Path) -> dict[str, Any]:
    image = [Path(file).relative_to(folder).as_posix() for file in item["image"]]
    label = Path(item["label"]).relative_to(folder).as_posix()
    return {**item, "image": image if len(image) > 1 else image[0], "label": label}


def _resolve(item: Any, file: Path, part: str) -> dict[str, Any]:
    """Check one entry and join its paths to the folder of the datalist."""
    for key in ("patient", "image", "label", *(["fold"] if part == "training" else [])):
        if not isinstance(item, dict) or key not in item:
            name = item.get("patient", "an entry") if isinstance(item, dict) else "an entry"
            raise InputError(file, f'{name!s:.40} of "{part}" has no {key!r}', _PREPARE)
    if (wrong := find_wrong_field(item)) is not None:
        raise InputError(file, f"{wrong} in an entry of {part!r}", _PREPARE)
    image = [item["image"]] if isinstance(item["image"], str) else item["image"]
    return {**item, "image": [str(file.parent / one) for one in image], "label": str(file.parent / item["label"])}


def _check_files(items: Sequence[Item], file: Path) -> None:
    for item in items:
        for one in (*item["image"], item["label"]):
            if not Path(one).is_file():
                raise InputError(one, f"is missing, but {file} lists it for {item['patient']}", _PREPARE)


def _check_patients(training: Sequence[Item], test: Sequence[Item], file: Path, by_slice: bool) -> None:
    parts: dict[str, tuple[str, int | None]] = {}
    seen: set[str] = set()
    for part, items in zip(_PARTS, (training, test), strict=True):
        for item in items:
            if item["patient"] in seen:
                raise InputError(file, f"lists the patient {item['patient']} twice", _PREPARE)
            seen.add(item["patient"])
            subject, where = item.get("subject", item["patient"]), (part, None if by_slice else item.get("fold"))
            if parts.setdefault(subject, where) != where:
                raise InputError(file, f"has {subject} in two parts of the split", _PREPARE)


def select_items(datalist: Path, part: str, fold: int | None = None, *, labelled: bool = True) -> list[Item]:
    """Return the cases of a part of a datalist.

    Args:
        datalist: the file, or the prepared folder that holds it.
        part: "training", "test" or "all".
        fold: of the training part, only this one.
        labelled: whether the mask of each must exist.

    Raises:
        InputError: the datalist cannot be used, or no case is left; the message names the folds.
    """
    listed = read_datalist(datalist, check_files=False)
    if fold is not None and part != "training":
        raise InputError(f"--fold {fold}", f"the {part} part has no folds", "add --part training")
    items = [item for name in ("test", "training") if part in (name, "all") for item in listed[name]]
    if fold is not None:
        folds = sorted({item["fold"] for item in items})
        items = [item for item in items if item["fold"] == fold]
        if not items:
            raise InputError(datalist, f"has no fold {fold}", f"its folds are {', '.join(map(str, folds))}")
    if not items:
        raise InputError(datalist, f"lists no patient in its {part} part", "choose another --part")
    for item in items:
        if labelled and not Path(item["label"]).is_file():
            raise InputError(item["label"], f"is missing, but {datalist} lists it as the truth of {item['patient']}")
    return items
