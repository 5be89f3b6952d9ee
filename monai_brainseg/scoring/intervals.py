"""Figures over patients with their 95 % bootstrap intervals.

Whole people are drawn with replacement, never slices or voxels, because those of one person are nearly copies; the
interval runs from the 2.5th to the 97.5th percentile of the figure over the draws (Efron and Tibshirani, "An
introduction to the bootstrap", 1993). The random generator is passed in.

A figure is ``{"value": ..., "interval": [low, high]}`` in plain JSON values: None means undefined.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt

DRAWS = 2000

# Indices of patients, and a figure of those; None if it is undefined for them.
Indices = npt.NDArray[np.intp]
Statistic = Callable[[Indices], float | None]


@dataclass(frozen=True)
class Sample:
    """Some patients, and bootstrap draws of them.

    Attributes:
        size: how many patients there are.
        draws: indices of the patients of each draw; none where all patients are one person.
    """

    size: int
    draws: Sequence[Indices]


def draw_patients(subjects: Sequence[str], rng: np.random.Generator) -> Sample:
    """Draw people with replacement, and with each all their cases.

    Args:
        subjects: the person of each patient (a case: one person may have several), [patients].
        rng: source of the draws.
    """
    names, person = np.unique(np.asarray(subjects), return_inverse=True)
    if len(names) < 2:
        return Sample(len(subjects), ())
    cases = [np.flatnonzero(person == index) for index in range(len(names))]
    chosen = rng.integers(len(names), size=(DRAWS, len(names)))
    return Sample(len(subjects), [np.concatenate([cases[index] for index in draw]) for draw in chosen])


def estimate(statistic: Statistic, sample: Sample, reason: str | None = None) -> dict[str, Any]:
    """Return the figure of a statistic over all patients.

    Args:
        statistic: function of the indices of patients.
        sample: the patients.
        reason: why the figure may be undefined; becomes its ``reason`` if it is.

    Returns:
        ``value``, and ``interval`` over the draws in which it is defined, each end None if infinite.
    """
    value = statistic(np.arange(sample.size))
    if value is None:
        return {"value": None, "interval": None, "reason": reason}
    drawn = [figure for figure in map(statistic, sample.draws) if figure is not None]
    # No interpolation: a median may be infinite, and the difference of two infinities is not a number.
    ends = np.percentile(drawn, (2.5, 97.5), method="inverted_cdf") if drawn else ()
    return {"value": _finite(value), "interval": [_finite(end) for end in ends] or None}


def estimate_ratio(
    parts: npt.ArrayLike, wholes: npt.ArrayLike, sample: Sample, reason: str | None = None
) -> dict[str, Any]:
    """Return the figure of a sum of parts over a sum of wholes.

    Args:
        parts: each patient's share of the numerator, [patients].
        wholes: each patient's share of the denominator, [patients].
        sample: the patients.
        reason: what it means that the denominator is 0.
    """
    part, whole = np.asarray(parts, dtype=float), np.asarray(wholes, dtype=float)

    def statistic(patients: Indices) -> float | None:
        total = whole[patients].sum()
        return float(part[patients].sum() / total) if total else None

    return estimate(statistic, sample, reason)


def summarise_values(values: Sequence[float], sample: Sample) -> dict[str, Any]:
    """Return mean and median of one score over patients, with intervals.

    Args:
        values: the score of each patient; infinite if it is undefined.
        sample: the patients.

    Returns:
        ``mean`` and ``mean_interval`` over the patients where it is defined, ``median`` and ``median_interval`` over
        all, ``undefined`` the number of patients that only the median counts.
    """
    scores = np.asarray(values, dtype=float)
    defined = np.isfinite(scores)
    mean = estimate_ratio(np.where(defined, scores, 0.0), defined, sample)
    median = estimate(lambda patients: float(np.median(scores[patients])), sample)
    return {
        "mean": mean["value"],
        "mean_interval": mean["interval"],
        "median": median["value"],
        "median_interval": median["interval"],
        "undefined": int(np.count_nonzero(~defined)),
    }


def _finite(value: float) -> float | None:
    return float(value) if np.isfinite(value) else None
