"""Scores of many patients as one summary: by patient, site, slice, lesion, and pooled, in plain JSON values."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import astuple
from typing import Any

import numpy as np
import numpy.typing as npt

from monai_brainseg.scoring import metrics
from monai_brainseg.scoring.intervals import Indices, Sample, draw_patients, estimate, estimate_ratio, summarise_values
from monai_brainseg.scoring.metrics import Counts
from monai_brainseg.scoring.operating_points import measure_points, summarise_probabilities
from monai_brainseg.scoring.patients import OVERLAPS, PatientScores

WORST = 5


def summarise(
    patients: Sequence[PatientScores],
    tolerance: float,
    rng: np.random.Generator,
    thresholds: Mapping[str, float] | None = None,
) -> dict[str, Any]:
    """Return every figure of an evaluation.

    Args:
        patients: their scores, one patient at least.
        tolerance: the one that their surface Dice was measured at.
        rng: source of the bootstrap's draws.
        thresholds: operating points to measure.
    """
    sample = _draw(patients, rng)
    overlaps = {name: summarise_values([patient.overlap(name) for patient in patients], sample) for name in OVERLAPS}
    ranked = sorted(patients, key=lambda patient: (patient.overlap("dice"), patient.patient))
    listed = [{"patient": each.patient, "dice": each.overlap("dice"), "missing": each.missing} for each in ranked]
    return {
        "headline": {
            "score": "mean per-patient volume dice",
            "value": overlaps["dice"]["mean"],
            "interval": overlaps["dice"]["mean_interval"],
            "patients": len(patients),
            "people": len({patient.subject for patient in patients}),
        },
        "missing": [patient.patient for patient in patients if patient.missing],
        "per_patient": overlaps,
        "patients": listed,
        "worst": listed[:WORST],
        "sites": {
            site: {"patients": len(group)}
            | {"dice": summarise_values([each.overlap("dice") for each in group], _draw(group, rng))}
            for site, group in _group(patients, lambda patient: patient.site)
        },
        "distances_and_volumes": {
            unit: _summarise_lengths(group, tolerance, _draw(group, rng))
            for unit, group in _group(patients, lambda patient: patient.distance_unit)
        },
        "lesions": _summarise_lesions(patients, sample),
        "slices": _summarise_slices(patients, sample),
        "presence": summarise_presence(patients, sample),
        "pooled": summarise_pooled(patients, sample),
        "probabilities": summarise_probabilities(patients, sample),
        "operating_points": measure_points(patients, thresholds or {}, sample),
    }


def summarise_presence(patients: Sequence[PatientScores], sample: Sample) -> dict[str, Any]:
    """Return sensitivity, specificity and AUROC of "is there tumour", by slice and by patient.

    The masks decide. AUROC ranks by the highest probability where every prediction has a probability map, otherwise by
    the number of predicted voxels; a missing prediction is ranked below all with tumour and above all without.
    """
    predicted = [patient for patient in patients if not patient.missing]
    mapped = bool(predicted) and all(patient.peaks is not None for patient in predicted)
    by_slice = [_weigh(each, each.slices, each.peaks if mapped else None) for each in patients]
    by_patient = [
        _weigh(each, [each.counts], [max(each.peaks)] if mapped and each.peaks else None) for each in patients
    ]
    return {
        "score": "highest probability" if mapped else "predicted tumour voxels",
        "by_slice": _summarise_decisions([each.slice_decisions for each in patients], by_slice, "slice", sample),
        "by_patient": _summarise_decisions([each.decision for each in patients], by_patient, "patient", sample),
    }


def summarise_pooled(patients: Sequence[PatientScores], sample: Sample) -> dict[str, Any]:
    """Return scores of all voxels of all patients as if they were one image, as many publications do."""
    counts = np.array([astuple(patient.counts) for patient in patients])

    def pool(drawn: Indices) -> Counts:
        return Counts(*counts[drawn].sum(axis=0).tolist())

    def figure(score: Callable[[Counts], float]) -> dict[str, Any]:
        return estimate(lambda drawn: score(pool(drawn)), sample)

    figures = {name: figure(getattr(metrics, name)) for name in OVERLAPS}
    report = report_classes(pool(np.arange(len(counts))))
    return {**figures, "f1": figures["dice"], "classification_report": report}


def report_classes(counts: Counts) -> dict[str, Any]:
    """Return the report of both classes under the names of scikit-learn's ``classification_report``."""
    rows: dict[str, dict[str, float]] = {
        name: {
            "precision": metrics.precision(found),
            "recall": metrics.recall(found),
            "f1-score": metrics.dice(found),
            "support": found.truth,
        }
        for name, found in (("background", counts.of_background()), ("tumor", counts))
    }
    shares = {name: row["support"] / counts.total for name, row in rows.items()}
    averages = {
        average: {
            score: sum(share[name] * row[score] for name, row in rows.items())
            for score in ("precision", "recall", "f1-score")
        }
        | {"support": counts.total}
        for average, share in (("macro avg", dict.fromkeys(rows, 0.5)), ("weighted avg", shares))
    }
    accuracy = (counts.true_positives + counts.true_negatives) / counts.total
    return {**rows, "accuracy": accuracy, **averages}


def _draw(patients: Sequence[PatientScores], rng: np.random.Generator) -> Sample:
    return draw_patients([patient.subject for patient in patients], rng)


def _group(
    patients: Iterable[PatientScores], key: Callable[[PatientScores], str]
) -> list[tuple[str, list[PatientScores]]]:
    groups: dict[str, list[PatientScores]] = {}
    for patient in patients:
        groups.setdefault(key(patient), []).append(patient)
    return sorted(groups.items())


def _summarise_lengths(group: Sequence[PatientScores], tolerance: float, sample: Sample) -> dict[str, Any]:
    """Summarise what has a unit, of patients who share it."""
    return {
        "patients": len(group),
        "tolerance": tolerance,
        "hd95": summarise_values([patient.hd95 for patient in group], sample),
        "surface_dice": summarise_values([patient.surface_dice for patient in group], sample),
        "volume_unit": group[0].volume_unit,
        "volume_error": summarise_values([patient.volume_error for patient in group], sample),
        "absolute_volume_error": summarise_values([abs(patient.volume_error) for patient in group], sample),
        "area_unit": group[0].area_unit,
        "false_alarm_area": estimate_ratio(
            [sum(patient.false_alarm_areas) for patient in group],
            [len(patient.false_alarm_areas) for patient in group],
            sample,
            "nothing is predicted on tumour-free slices",
        ),
    }


def _summarise_lesions(patients: Sequence[PatientScores], sample: Sample) -> dict[str, Any]:
    found, missed, false = np.array([patient.lesions for patient in patients]).T
    return {
        "found": int(found.sum()),
        "missed": int(missed.sum()),
        "false": int(false.sum()),
        "found_share": estimate_ratio(found, found + missed, sample, "no lesion in the truth"),
        "false_per_patient": estimate_ratio(false, np.ones_like(false), sample),
    }


def _summarise_slices(patients: Sequence[PatientScores], sample: Sample) -> dict[str, Any]:
    decisions = [patient.slice_decisions for patient in patients]
    tumour_free = [each.of_background().truth for each in decisions]
    return {
        "tumour_slices": sum(each.truth for each in decisions),
        "dice": estimate_ratio(
            [sum(patient.slice_dices) for patient in patients],
            [len(patient.slice_dices) for patient in patients],
            sample,
            "no slice has tumour",
        ),
        "tumour_free_slices": sum(tumour_free),
        "false_alarm_rate": estimate_ratio(
            [each.false_positives for each in decisions], tumour_free, sample, "every slice has tumour"
        ),
    }


def _weigh(
    patient: PatientScores, counts: Sequence[Counts], peaks: Sequence[float] | None
) -> tuple[npt.NDArray[np.bool_], npt.NDArray[np.float64]]:
    """Return whether tumour is there and the evidence for it, of a patient's slices or of the whole patient."""
    present = np.array([count.truth > 0 for count in counts])
    if patient.missing:
        return present, np.where(present, -np.inf, np.inf)
    return present, np.array(peaks if peaks is not None else [count.predicted for count in counts], dtype=float)


def _summarise_decisions(
    decisions: Sequence[Counts],
    evidence: Sequence[tuple[npt.NDArray[np.bool_], npt.NDArray[np.float64]]],
    unit: str,
    sample: Sample,
) -> dict[str, Any]:
    def rank(drawn: Indices) -> float | None:
        present, scores = (np.concatenate([evidence[patient][part] for patient in drawn]) for part in (0, 1))
        return metrics.auroc(present, scores)

    none, every = f"no {unit} has tumour", f"every {unit} has tumour"
    with_tumour = [each.truth for each in decisions]
    without = [each.of_background().truth for each in decisions]
    return {
        "with_tumour": sum(with_tumour),
        "without_tumour": sum(without),
        "sensitivity": estimate_ratio([each.true_positives for each in decisions], with_tumour, sample, none),
        "specificity": estimate_ratio([each.true_negatives for each in decisions], without, sample, every),
        "auroc": estimate(rank, sample, every if sum(with_tumour) else none),
    }
