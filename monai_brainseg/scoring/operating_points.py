"""Named thresholds: chosen on the folds, then only measured elsewhere.

``balanced`` has the highest mean per-patient Dice, ``recall`` (recall first) the highest mean per-patient F2, in which
recall weighs twice as much as precision (see ``probabilities.score_thresholds``). They are choices, so they are made on
other patients than those of the results.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np

from monai_brainseg.errors import InputError
from monai_brainseg.files import read_json
from monai_brainseg.scoring.intervals import Sample, estimate, summarise_values
from monai_brainseg.scoring.patients import PatientScores
from monai_brainseg.scoring.probabilities import (
    BINS,
    THRESHOLDS,
    Histogram,
    Scores,
    average_precision,
    calibration_error,
    measure_calibration,
    precision_recall,
    score_thresholds,
)

# What each point is the best of: the beta of its F-beta, and that in words.
POINTS = {"balanced": (1.0, "highest mean per-patient Dice"), "recall": (2.0, "highest mean per-patient F2")}

_REMEDY = "give the summary.json of an evaluation of the folds (--part training) with probability maps"


@dataclass(frozen=True)
class ChosenPoints:
    """Thresholds by name, and what they were chosen on: file (None for this one), fold and patients."""

    thresholds: Mapping[str, float]
    chosen_on: Mapping[str, Any]


def choose_points(patients: Sequence[PatientScores]) -> dict[str, float]:
    """Return the threshold of each point, 1/256 to 255/256, of equal ones that nearest to 0.5; none without maps."""
    counts = gather_histograms(patients)
    if counts is None:
        return {}
    thresholds = {}
    for name, (beta, _) in POINTS.items():
        means = _score(patients, counts, beta).mean(axis=0)[1:]
        best = np.flatnonzero(means == means.max()) + 1
        thresholds[name] = float(THRESHOLDS[best[np.abs(best - BINS // 2).argmin()]])
    return thresholds


def measure_points(
    patients: Sequence[PatientScores], thresholds: Mapping[str, float], sample: Sample
) -> dict[str, Any]:
    """Return for each point its threshold, pooled precision and recall, and per-patient Dice and F2 with intervals."""
    counts = gather_histograms(patients)
    if counts is None:
        return {}
    precisions, recalls = precision_recall(counts.sum(axis=0))
    points = {}
    for name, threshold in thresholds.items():
        index = math.ceil(threshold * BINS)
        points[name] = {
            "threshold": index / BINS,
            "criterion": POINTS[name][1],
            "precision": _to_json(precisions[index]),
            "recall": _to_json(recalls[index]),
            "dice": summarise_values(_score(patients, counts, 1.0)[:, index].tolist(), sample),
            "f2": summarise_values(_score(patients, counts, 2.0)[:, index].tolist(), sample),
        }
    return points


def summarise_probabilities(patients: Sequence[PatientScores], sample: Sample) -> dict[str, Any] | None:
    """Return the pooled precision-recall curve, its average precision and mean per-patient scores by threshold.

    None unless every prediction has a probability map. A missing prediction counts as probability 0 in the pooled
    curve, and scores 0 at every threshold.
    """
    counts = gather_histograms(patients)
    if counts is None:
        return None
    precisions, recalls = precision_recall(counts.sum(axis=0))
    given, observed, voxels = measure_calibration(counts.sum(axis=0))
    return {
        "average_precision": estimate(
            lambda drawn: average_precision(counts[drawn].sum(axis=0)), sample, "no voxel is tumour"
        ),
        "calibration_error": estimate(
            lambda drawn: calibration_error(counts[drawn].sum(axis=0)), sample, "no voxel has a probability of 1/256"
        ),
        "calibration": {
            "probability": [_to_json(value) for value in given],
            "tumor_share": [_to_json(value) for value in observed],
            "voxels": voxels.tolist(),
        },
        "curve": {
            "threshold": THRESHOLDS.tolist(),
            "precision": [_to_json(value) for value in precisions],
            "recall": [_to_json(value) for value in recalls],
            "mean_dice": _score(patients, counts, 1.0).mean(axis=0).tolist(),
            "mean_f2": _score(patients, counts, 2.0).mean(axis=0).tolist(),
        },
    }


def gather_histograms(patients: Sequence[PatientScores]) -> Histogram | None:
    """Return ``[patients, 2, BINS]``; None where a prediction, or every patient, is without a probability map."""
    if all(patient.missing for patient in patients):
        return None
    counts = [patient.histogram for patient in patients]
    return None if any(each is None for each in counts) else np.stack([each for each in counts if each is not None])


def read_points(file: Path) -> ChosenPoints:
    """Read the operating points of an evaluation's ``summary.json``.

    Raises:
        InputError: the file is missing, is not valid JSON, holds no operating points, or they were chosen on patients
            that the weights had seen.
    """
    summary = read_json(file, _REMEDY)
    try:
        thresholds = {name: float(summary["operating_points"][name]["threshold"]) for name in POINTS}
        chosen = summary["protocol"]["operating_points"]
        fold, patients, origin = chosen["fold"], list(chosen["patients"]), chosen["file"] or str(file)
        seen = summary.get("provenance", {}).get("state") == "seen"
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise InputError(file, "holds no operating points", _REMEDY) from error
    if not all(0 < threshold < 1 for threshold in thresholds.values()):
        raise InputError(file, "has operating points outside 0 to 1", _REMEDY)
    if seen:
        raise InputError(
            file,
            "its operating points were chosen on patients that the weights had seen, where every threshold scores well",
            "predict each fold with weights that did not see it",
        )
    return ChosenPoints(thresholds, {"file": origin, "fold": fold, "patients": patients})


def check_unused(points: ChosenPoints, patients: Sequence[str]) -> None:
    """Refuse points that were chosen on some of the patients to score.

    Raises:
        InputError: names one of them.
    """
    shared = sorted(set(points.chosen_on["patients"]) & set(patients))
    if shared:
        raise InputError(
            points.chosen_on["file"],
            f"its operating points were chosen on {len(shared)} of the patients to score, such as {shared[0]}",
            "choose them on other patients",
        )


def _score(patients: Sequence[PatientScores], counts: Histogram, beta: float) -> Scores:
    """Return F-beta, ``[patients, BINS]``; 0 where the prediction is missing."""
    return score_thresholds(counts, beta) * ~np.array([[patient.missing] for patient in patients])


def _to_json(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
