"""A folder of predictions against a datalist: a row a patient, a summary with intervals, and a page of both."""

from __future__ import annotations

import csv
import hashlib
import io
import math
import platform
from collections.abc import Iterable, Sequence
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

import numpy as np
from tqdm import tqdm

from monai_brainseg.data.splits import Item, select_items
from monai_brainseg.errors import InputError
from monai_brainseg.files import make_folder, write_json, write_whole
from monai_brainseg.records import list_versions
from monai_brainseg.reporting.example_pictures import Overlay, choose_examples, draw_overlay
from monai_brainseg.reporting.learning_curves import read_training_run
from monai_brainseg.reporting.report import Evidence, make_report
from monai_brainseg.scoring.intervals import DRAWS
from monai_brainseg.scoring.operating_points import ChosenPoints, check_unused, choose_points, read_points
from monai_brainseg.scoring.patients import OVERLAPS, PatientScores, find_predictions, score_patient
from monai_brainseg.scoring.summaries import summarise
from monai_brainseg.scoring.summary_text import count_patients
from monai_brainseg.weights.provenance import judge, read_seen, read_seen_by_mask

RULES = {
    "average": "per-patient figures: every patient counts once; whole volume, original grid, no smoothing",
    "empty_masks": "if both masks are empty, dice, iou, precision, recall and surface dice are 1 and hd95 is 0; if one "
    "is empty, those scores are 0 and hd95 is undefined",
    "missing_prediction": "is a failure: dice, iou, precision, recall, specificity and surface dice are 0 and hd95 is "
    "undefined; its tumour voxels, lesions and tumour slices are missed; its tumour-free slices are false alarms of "
    "unknown area; auroc ranks it wrongly; its tumour-free voxels stay true negatives in the pooled counts",
    "undefined": "is null and counted beside the figure; a mean leaves it out, a median counts it as infinite",
    "interval": f"95 %, percentiles of {DRAWS} bootstrap draws of whole people; draws in which the figure is undefined "
    "are left out; null for a single person",
    "units": "millimetres and millilitres if datalist and mask both give the spacing; otherwise voxels of size 1 on "
    "every side",
    "surface_dice": "share of border voxels within the tolerance of the other border; a border voxel has a face "
    "neighbour outside the mask",
    "hd95": "the larger of both directions' 95th percentile distance between centres of border voxels",
    "lesions": "connected over faces, edges and corners; found, or not false, if one voxel is shared",
    "slices": "along the last axis; dice is of slices with tumour in the truth; a false alarm is a slice without "
    "tumour in which one voxel or more is predicted; its area is the mean over false alarms",
    "presence": "tumour is present in a slice or patient if its mask holds one voxel or more",
    "pooled": "all voxels of all patients as one image, for comparison with publications that pool",
    "operating_points": "chosen on folds only, on probabilities before any clean-up: balanced has the highest mean "
    "per-patient dice, recall the highest mean per-patient F2; elsewhere they are only measured",
}


def evaluate(
    datalist: str | Path,
    predictions: str | Path,
    output: str | Path,
    *,
    part: str = "test",
    fold: int | None = None,
    tolerance: float = 2.0,
    seed: int = 0,
    run: str | Path | None = None,
    operating_points: str | Path | None = None,
    allow_seen: bool = False,
    command: Sequence[str] = (),
) -> dict[str, Any]:
    """Score predictions and write ``metrics.csv``, ``summary.json`` and ``report.html``; nothing is written on failure.

    One patient at a time is in memory. A patient without a prediction is scored as a failure and is listed.

    Example::

        import monai_brainseg

        summary = monai_brainseg.evaluate("data/lgg", "masks", "scores")
        print(summary["per_patient"]["dice"]["mean"])

    Args:
        datalist: ``datalist.json`` of a prepared folder, or that folder.
        predictions: folder of ``<patient>.nii.gz``, see ``scoring.score_patient``.
        output: folder for the files.
        part: ``test``, ``training`` or ``all``.
        fold: only this fold of the training part.
        tolerance: of surface Dice, in mm, in voxels for patients of unknown spacing.
        seed: of the bootstrap.
        run: folder of the training run, for its learning curves.
        operating_points: ``summary.json`` of an evaluation of the folds, whose operating points are measured here;
            without it the training part chooses its own, and the others have none.
        allow_seen: score also patients that the weights behind the masks were trained or selected on.
        command: the command that the record names.

    Returns:
        The summary as written.

    Raises:
        InputError: the datalist has no such patients, the folder holds none of their predictions, a file cannot be read
            or compared, the operating points cannot be used, the weights have seen patients, or the output
            cannot be written.
    """
    datalist, predictions, output = Path(datalist), Path(predictions), Path(output)
    run, operating_points = (Path(each) if each else None for each in (run, operating_points))
    if not (math.isfinite(tolerance) and tolerance >= 0):
        raise InputError(f"--tolerance {tolerance}", "must be a distance of 0 or more")
    if seed < 0:
        raise InputError(f"--seed {seed}", "must be 0 or more")
    items = select_items(datalist, part, fold)
    found = _find_files(items, predictions)
    provenance = _judge(items, predictions, allow_seen)
    training = read_training_run(run) if run else None
    given = _read_points(operating_points, items, predictions) if operating_points else None
    make_folder(output)
    bar = tqdm(items, desc="evaluate", unit="patient", disable=None)
    patients = [score_patient(item, predictions, tolerance) for item in bar]
    points = given or _choose_points(patients, part, fold)
    others = {file.name for file in predictions.glob("*.nii.gz")} - {file.name for file in found}
    summary = {
        "protocol": {
            "part": part,
            "fold": fold,
            "tolerance": tolerance,
            "rules": RULES,
            "operating_points": points.chosen_on if points else None,
        },
        **summarise(patients, tolerance, np.random.default_rng(seed), points.thresholds if points else {}),
        "provenance": provenance,
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
    rows = [to_row(patient) | {"seen": _tell_seen(patient.patient, provenance)} for patient in patients]
    page = make_report(summary, Evidence(rows, _draw_examples(summary, items, predictions), training))
    write_whole(output / "metrics.csv", _format_rows(rows).encode())
    write_json(output / "summary.json", summary)
    write_whole(output / "report.html", page)
    return summary


def _read_points(file: Path, items: Sequence[Item], predictions: Path) -> ChosenPoints:
    points = read_points(file)
    check_unused(points, [item["patient"] for item in items])
    for mask, probability in (find_predictions(item["patient"], predictions) for item in items):
        if mask.exists() and not probability.exists():
            raise InputError(
                probability,
                "is missing, but --operating-points needs a probability map beside every prediction",
                "write probability maps too, or leave the option out",
            )
    return points


def _choose_points(patients: Sequence[PatientScores], part: str, fold: int | None) -> ChosenPoints | None:
    """Choose on folds only: a threshold chosen on test patients would make every score on them too good."""
    thresholds = choose_points(patients) if part == "training" else {}
    names = [patient.patient for patient in patients]
    return ChosenPoints(thresholds, {"file": None, "fold": fold, "patients": names}) if thresholds else None


def _draw_examples(summary: dict[str, Any], items: Sequence[Item], predictions: Path) -> dict[str, list[Overlay]]:
    named = {item["patient"]: item for item in items}
    groups = choose_examples([named[each["patient"]] for each in summary["patients"]])
    return {group: [draw_overlay(item, predictions) for item in members] for group, members in groups.items()}


def _tell_seen(patient: str, provenance: dict[str, Any]) -> int | None:
    """Return 1 if the weights have seen a patient, 0 if not, None if that is unknown."""
    return None if provenance["state"] == "unknown" else int(patient in provenance["patients"])


def _describe_run() -> dict[str, Any]:
    return {
        "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
        "device": "cpu",
        "python": platform.python_version(),
        "versions": list_versions("monai", "torch", "numpy", "scipy"),
    }


def hash_files(files: Iterable[Path]) -> str:
    """Return the SHA-256 over names and contents of files, the same for any order and folder."""
    lines = sorted(f"{file.name} {hashlib.sha256(file.read_bytes()).hexdigest()}\n" for file in files)
    return hashlib.sha256("".join(lines).encode()).hexdigest()


def _judge(items: Sequence[Item], predictions: Path, allow_seen: bool) -> dict[str, Any]:
    """Judge the patients who have a mask; one without is a failure of any weights."""
    masked = [item for item in items if find_predictions(item["patient"], predictions)[0].exists()]
    by_mask = read_seen_by_mask(predictions, [item["patient"] for item in masked])
    return judge(masked, read_seen(predictions), allow_seen, by_mask)


def _find_files(items: Sequence[Item], predictions: Path) -> list[Path]:
    """Return the predictions that exist: at least one, since an empty folder is probably a typing error."""
    if not predictions.is_dir():
        raise InputError(predictions, "no such folder", "name the one that holds the predicted masks")
    masks = [find_predictions(item["patient"], predictions) for item in items]
    found = [file for files in masks if files[0].exists() for file in files if file.exists()]
    if not found:
        what = f"holds no prediction for any of {count_patients(len(items))}, such as {masks[0][0].name}"
        raise InputError(predictions, what, "name the folder that holds them")
    return found


def to_row(patient: PatientScores) -> dict[str, Any]:
    """Return a patient's row of ``metrics.csv``; undefined values are None, an empty cell."""
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


def _format_rows(rows: Sequence[dict[str, Any]]) -> str:
    text = io.StringIO()
    writer = csv.DictWriter(text, list(rows[0]), lineterminator="\n")
    writer.writeheader()
    writer.writerows(rows)
    return text.getvalue()
