"""A folder of predictions against a datalist: a row a patient, a summary with intervals, and how they came about."""

from __future__ import annotations

import csv
import hashlib
import io
import json
import math
import platform
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from importlib.metadata import version
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from monai_brainseg.errors import InputError
from monai_brainseg.intervals import DRAWS
from monai_brainseg.scoring import OVERLAPS, PatientScores, find_predictions, score_patient
from monai_brainseg.splits import Item, read_datalist
from monai_brainseg.summaries import summarise
from monai_brainseg.volumes import unwritable, write_whole

RULES = {
    "average": "per-patient figures: every patient once, whole volume, original grid, nothing smoothed",
    "empty_masks": "both masks empty: dice, iou, precision, recall and surface dice 1, hd95 0; one mask empty: those "
    "scores 0, hd95 undefined",
    "missing_prediction": "a failure: dice, iou, precision, recall, specificity and surface dice 0, hd95 undefined; "
    "all its tumour voxels, lesions and tumour slices missed; its tumour-free slices false alarms of unknown area; "
    "ranked wrongly in auroc; its tumour-free voxels stay true negatives in the pooled counts",
    "undefined": "null and counted beside the figure; left out of a mean, counted as infinite in a median",
    "interval": f"95 %, percentiles of {DRAWS} bootstrap draws of whole people; draws in which the figure is undefined "
    "are left out; null for a single person",
    "units": "millimetres and millilitres where datalist and mask know the spacing; otherwise voxels, one unit long on "
    "every side",
    "surface_dice": "share of border voxels within the tolerance of the other border; a border voxel has a face "
    "neighbour outside the mask",
    "hd95": "the larger of both directions' 95th percentile distance between centres of border voxels",
    "lesions": "connected over faces, edges and corners; found, or not false, if one voxel is shared",
    "slices": "along the last axis; dice on slices with tumour in the truth; a false alarm is a slice without any "
    "where one voxel or more is predicted, its area the mean over false alarms",
    "presence": "tumour is present in a slice or patient if its mask holds one voxel or more",
    "pooled": "all voxels of all patients as one image, for comparison with publications that pool",
}


def evaluate(
    datalist: Path,
    predictions: Path,
    output: Path,
    *,
    part: str = "test",
    fold: int | None = None,
    tolerance: float = 2.0,
    seed: int = 0,
    command: Sequence[str] = (),
) -> dict[str, Any]:
    """Score a folder of predictions and write ``metrics.csv`` and ``summary.json``; nothing is written on failure.

    One patient at a time is in memory. A patient without a prediction is scored as a failure and listed.

    Args:
        datalist: ``datalist.json`` of a prepared folder, or that folder.
        predictions: folder of ``<patient>.nii.gz``, see ``scoring.score_patient``.
        output: folder for both files.
        part: ``test``, ``training`` or ``all``.
        fold: only this fold of the training part.
        tolerance: of surface Dice, in mm, in voxels for patients of unknown spacing.
        seed: of the bootstrap.
        command: what the record gives as the command.

    Returns:
        The summary as written.

    Raises:
        InputError: the datalist has no such patients, the folder holds none of their predictions, a file cannot be
            read or compared, or the output cannot be written.
    """
    if not (math.isfinite(tolerance) and tolerance >= 0):
        raise InputError(f"--tolerance {tolerance}: must be a distance of 0 or more")
    items = select_items(datalist, part, fold)
    found = _find_files(items, predictions)
    try:
        output.mkdir(parents=True, exist_ok=True)
    except OSError as error:
        raise unwritable(output, error) from error
    bar = tqdm(items, desc="evaluate", unit="patient", disable=None)
    patients = [score_patient(item, predictions, tolerance) for item in bar]
    others = {file.name for file in predictions.glob("*.nii.gz")} - {file.name for file in found}
    summary = {
        "protocol": {"part": part, "fold": fold, "tolerance": tolerance, "rules": RULES},
        **summarise(patients, tolerance, np.random.default_rng(seed)),
        "not_scored": sorted(others),
        "run": {
            "command": list(command),
            "seed": seed,
            "datalist_sha256": hash_files([datalist / "datalist.json" if datalist.is_dir() else datalist]),
            "truth_sha256": hash_files(Path(item["label"]) for item in items),
            "predictions_sha256": hash_files(found),
            **_describe_run(),
        },
    }
    write_whole(output / "metrics.csv", _format_rows(patients).encode())
    write_whole(output / "summary.json", (json.dumps(summary, indent=1, allow_nan=False) + "\n").encode())
    return summary


def _describe_run() -> dict[str, Any]:
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "device": "cpu",
        "python": platform.python_version(),
        "versions": {name: version(name) for name in ("monai-brainseg", "monai", "torch", "numpy", "scipy")},
    }


def select_items(datalist: Path, part: str, fold: int | None = None) -> list[Item]:
    """Return the cases of a part of a datalist.

    Raises:
        InputError: the datalist cannot be used, or no case is left; names the folds there are.
    """
    listed = read_datalist(datalist)
    if fold is not None and part != "training":
        raise InputError(f"--fold {fold}: the {part} part has no folds; add --part training")
    items = [item for name in ("test", "training") if part in (name, "all") for item in listed[name]]
    if fold is not None:
        folds = sorted({item["fold"] for item in items})
        items = [item for item in items if item["fold"] == fold]
        if not items:
            raise InputError(f"{datalist}: has no fold {fold}; its folds are {', '.join(map(str, folds))}")
    if not items:
        raise InputError(f"{datalist}: lists no patient in its {part} part; choose another --part")
    return items


def hash_files(files: Iterable[Path]) -> str:
    """Return the SHA-256 over names and contents of files, the same in whatever order and folder they lie."""
    lines = sorted(f"{file.name} {hashlib.sha256(file.read_bytes()).hexdigest()}\n" for file in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _find_files(items: Sequence[Item], predictions: Path) -> list[Path]:
    """Return the predictions that are there; one at least, since an empty folder is a mistyped one."""
    if not predictions.is_dir():
        raise InputError(f"{predictions}: no such folder; name the one that holds the predicted masks")
    masks = [find_predictions(item["patient"], predictions) for item in items]
    found = [file for files in masks if files[0].exists() for file in files if file.exists()]
    if not found:
        raise InputError(
            f"{predictions}: holds no prediction of any of {_number(len(items))}, such as {masks[0][0].name}"
        )
    return found


def to_row(patient: PatientScores) -> dict[str, Any]:
    """Return a patient's row of ``metrics.csv``; what is undefined is None, an empty cell."""
    counts, slices, dices = patient.counts, patient.slice_decisions, patient.slice_dices
    return {
        "patient": patient.patient,
        "site": patient.site,
        **{name: patient.overlap(name) for name in OVERLAPS},
        "hd95": patient.hd95 if math.isfinite(patient.hd95) else None,
        "surface_dice": patient.surface_dice,
        "distance_unit": patient.distance_unit,
        "lesions_found": patient.lesions.found,
        "lesions_missed": patient.lesions.missed,
        "lesions_false": patient.lesions.false,
        "true_volume": patient.to_volume(counts.truth),
        "predicted_volume": patient.to_volume(counts.predicted),
        "volume_error": patient.volume_error,
        "volume_unit": patient.volume_unit,
        "slice_dice": sum(dices) / len(dices) if dices else None,
        "tumour_slices": slices.truth,
        "tumour_slices_found": slices.true_positives,
        "tumour_free_slices": slices.of_background().truth,
        "false_alarm_slices": slices.false_positives,
        "false_alarm_area": None if patient.missing else sum(patient.false_alarm_areas),
        "area_unit": patient.area_unit,
        "true_positives": counts.true_positives,
        "false_positives": counts.false_positives,
        "false_negatives": counts.false_negatives,
        "true_negatives": counts.true_negatives,
        "missing": int(patient.missing),
    }


def _format_rows(patients: Sequence[PatientScores]) -> str:
    rows = [to_row(patient) for patient in patients]
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()


def format_summary(summary: dict[str, Any]) -> str:
    """Return what the command prints: the Dice of each patient, worst first, a short table, the headline last."""
    headline, missing, presence = summary["headline"], summary["missing"], summary["presence"]["by_slice"]
    rows = dict(summary["per_patient"])
    for unit, lengths in summary["distances_and_volumes"].items():
        rows |= {f"surface dice ({lengths['tolerance']:g} {unit})": lengths["surface_dice"]}
        rows |= {f"hd95 ({unit})": lengths["hd95"], f"volume error ({lengths['volume_unit']})": lengths["volume_error"]}
    lines = [f"{'patient':32} dice", *(f"{each['patient']:32}{each['dice']:.3f}" for each in summary["patients"]), ""]
    lines.append(f"{'per patient':28}{'mean':>9} {'95 % interval':22}{'median':>9} {'95 % interval':22}undefined")
    for name, row in rows.items():
        mean, median = (f"{_show(row[key]):>9} {_span(row[key + '_interval']):22}" for key in ("mean", "median"))
        lines.append(f"{name:28}{mean}{median}{row['undefined'] or ''}".rstrip())
    figures = {
        "slices with tumour: dice": summary["slices"]["dice"],
        "slices with tumour: found": presence["sensitivity"],
        "slices without: false alarms": summary["slices"]["false_alarm_rate"],
        "lesions found": summary["lesions"]["found_share"],
        "pooled voxels: dice": summary["pooled"]["dice"],
    }
    lines += [f"{name:28}{_show(row['value']):>9} {_span(row['interval'])}".rstrip() for name, row in figures.items()]
    if missing:
        lines.append(f"NO PREDICTION, scored as failure, for {_number(len(missing))}: {', '.join(missing)}")
    interval = f"95 % interval {_span(headline['interval'])}" if headline["interval"] else "no interval"
    lines.append(f"{headline['score']} {_show(headline['value'])} ({interval}) over {_number(headline['patients'])}")
    return "\n".join(lines)


def _number(patients: int) -> str:
    return "1 patient" if patients == 1 else f"{patients} patients"


def _show(value: float | None) -> str:
    return "undefined" if value is None else f"{value:.3f}" if abs(value) < 100 else f"{value:.0f}"


def _span(interval: Sequence[float | None] | None) -> str:
    return f"{_show(interval[0])} to {_show(interval[1])}" if interval else ""
