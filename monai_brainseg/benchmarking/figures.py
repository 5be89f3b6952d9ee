"""The figures of a benchmark: scores of several networks on the same patients, and paired differences of them.

A patient's score is its mean over the networks that scored it (one for each seed); intervals and tests are then over
patients. So an interval covers the choice of patients, but not the variation between trainings.
"""

from __future__ import annotations

import csv
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
from scipy.stats import wilcoxon

from monai_brainseg.scoring import metrics
from monai_brainseg.scoring.intervals import Indices, draw_patients, estimate, estimate_ratio, summarise_values
from monai_brainseg.scoring.metrics import Counts

_SEED = 0
_OVERLAPS = ("dice", "iou", "precision", "recall")
_COUNTS = ("true_positives", "false_positives", "false_negatives", "true_negatives")

Rows = Mapping[str, Mapping[str, str]]


@dataclass(frozen=True)
class Scores:
    """What one network scored.

    Attributes:
        key: fold and seed of the network.
        rows: of ``metrics.csv``, by patient.
    """

    key: tuple[int, int]
    rows: Rows

    def keep(self, patients: Iterable[str]) -> Scores:
        """Return those of some patients."""
        return Scores(self.key, {patient: self.rows[patient] for patient in patients if patient in self.rows})


def read_scores(key: tuple[int, int], folder: Path) -> Scores:
    """Read ``metrics.csv`` of an evaluation."""
    with (folder / "metrics.csv").open(newline="", encoding="utf-8-sig") as file:
        return Scores(key, {row["patient"]: row for row in csv.DictReader(file)})


def average(networks: Sequence[Scores], score: str) -> dict[str, float]:
    """Return each patient's mean score over the networks that scored it; undefined scores are left out."""
    values: dict[str, list[float]] = {}
    for network in networks:
        for patient, row in network.rows.items():
            if row[score] != "":
                values.setdefault(patient, []).append(float(row[score]))
    return {patient: float(np.mean(values[patient])) for patient in sorted(values)}


def pair_networks(one: Sequence[Scores], other: Sequence[Scores]) -> tuple[list[Scores], list[Scores]]:
    """Keep networks of the same fold and seed, and of these the patients that both scored."""
    others = {network.key: network for network in other}
    pairs = [(network, others[network.key]) for network in one if network.key in others]
    return [left.keep(right.rows) for left, right in pairs], [right.keep(left.rows) for left, right in pairs]


def summarise_networks(networks: Sequence[Scores], people: Mapping[str, str]) -> dict[str, Any]:
    """Return the scores of a recipe on some patients, each a figure with its interval.

    Args:
        networks: what each of them scored, one patient at least.
        people: the person of each patient.

    Returns:
        means per patient, the median Dice, pooled scores of all voxels, and the mean Dice of slices with tumour.
    """
    dice = average(networks, "dice")
    sample = draw_patients([people[patient] for patient in dice], np.random.default_rng(_SEED))
    figures: dict[str, Any] = {"patients": len(dice), "networks": len(networks)}
    for name in _OVERLAPS:
        summary = summarise_values(list(average(networks, name).values()), sample)
        figures[name] = {"value": summary["mean"], "interval": summary["mean_interval"]}
        if name == "dice":
            figures["dice median"] = {"value": summary["median"], "interval": summary["median_interval"]}
    counts = np.array([_sum(networks, patient) for patient in dice])

    def pool(drawn: Indices) -> Counts:
        return Counts(*counts[drawn, : len(_COUNTS)].astype(int).sum(axis=0).tolist())

    for name in _OVERLAPS:
        figures[f"pooled {name}"] = estimate(lambda drawn, name=name: getattr(metrics, name)(pool(drawn)), sample)  # type: ignore[misc]
    figures["dice of tumour slices"] = estimate_ratio(counts[:, 4], counts[:, 5], sample, "no slice has tumour")
    return figures


def compare(one: Mapping[str, float], other: Mapping[str, float], people: Mapping[str, str]) -> dict[str, Any]:
    """Return how much higher the mean of one score is than that of another, over patients.

    Where both are of the same patients, this is the mean of paired differences, and Wilcoxon's signed-rank test says
    how likely differences so far from 0 are by chance (two-sided; Wilcoxon, Biometrics Bulletin 1, 1945).

    Args:
        one: patient to score.
        other: likewise, of the same patients or of others.
        people: the person of each patient; they are drawn for the interval.

    Returns:
        ``people`` and ``difference``; where the patients are the same also ``p``, None if no pair differs.
    """
    patients = sorted({*one, *other})
    sample = draw_patients([people[patient] for patient in patients], np.random.default_rng(_SEED))
    left, right = (np.array([scores.get(patient, np.nan) for patient in patients]) for scores in (one, other))

    def differ(drawn: Indices) -> float | None:
        first, second = left[drawn], right[drawn]
        first, second = first[~np.isnan(first)], second[~np.isnan(second)]
        return float(first.mean() - second.mean()) if len(first) and len(second) else None

    figures: dict[str, Any] = {
        "people": len({people[patient] for patient in patients}),
        "difference": estimate(differ, sample),
    }
    if one.keys() == other.keys():
        figures["p"] = float(wilcoxon(left - right).pvalue) if (left != right).any() else None
    return figures


def _sum(networks: Sequence[Scores], patient: str) -> list[float]:
    """Add up a patient's voxel counts, the Dice of its tumour slices, and their number, over networks."""
    rows = [network.rows[patient] for network in networks if patient in network.rows]
    slices = [float(row["tumour_slices"]) for row in rows]
    dices = [float(row["slice_dice"] or 0) * count for row, count in zip(rows, slices, strict=True)]
    return [*(sum(float(row[name]) for row in rows) for name in _COUNTS), sum(dices), sum(slices)]
