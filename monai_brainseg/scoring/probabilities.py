"""Probability maps as counts by threshold: what precision, recall and Dice any threshold would give.

A map is counted and not kept: how many voxels, of background and of tumour, lie in each of 256 bins of equal width. A
threshold is the lower edge of a bin, k/256, and a voxel at or above it is tumour, so that what follows from the counts
is exact at these thresholds. Other evenly spaced thresholds are counted in the same way.
"""

from __future__ import annotations

import numpy as np
import numpy.typing as npt

from monai_brainseg.scoring.metrics import Mask

BINS = 256
THRESHOLDS = np.arange(BINS) / BINS
RANGES = 10  # of probability, in a reliability diagram

Histogram = npt.NDArray[np.int64]
Scores = npt.NDArray[np.float64]


def count_bins(probability: np.ndarray, truth: Mask, thresholds: Scores = THRESHOLDS) -> Histogram:
    """Count voxels by the last threshold that their probability reaches.

    Args:
        probability: of tumour, 0 to 1, of any shape; what is above 1 counts as 1.
        truth: mask of the same shape.
        thresholds: from 0, in even steps.

    Returns:
        ``[2, thresholds]``: background, tumour.
    """
    size, steps = len(thresholds), float(round(1 / thresholds[1]))
    # Nearly all voxels lie in the first bin, and to sort them into it one by one would take several times as long.
    likely = probability >= 1 / steps
    bins = np.minimum((probability[likely] * steps).astype(np.intp), size - 1)
    marked = truth[likely]
    counts = np.stack([np.bincount(bins[each], minlength=size) for each in (~marked, marked)])
    tumour = np.count_nonzero(truth)
    counts[:, 0] += (truth.size - tumour - np.count_nonzero(~marked), tumour - np.count_nonzero(marked))
    return counts


def precision_recall(counts: Histogram) -> tuple[Scores, Scores]:
    """Return precision and recall at each threshold.

    Args:
        counts: ``[2, thresholds]``, background and tumour.

    Returns:
        precision and recall, ``[thresholds]`` each; NaN where nothing is predicted, or where there is no tumour.
    """
    false, true = count_above(counts)
    with np.errstate(invalid="ignore"):
        return true / (true + false), true / true[0]


def average_precision(counts: Histogram) -> float | None:
    """Return the sum over thresholds of precision times the recall gained, the area under the curve as steps.

    As scikit-learn's ``average_precision_score`` of the maps rounded down to 1/256; Su et al., "A relationship between
    the average precision and the area under the ROC curve", ICTIR (2015).

    Args:
        counts: ``[2, BINS]``, background and tumour.

    Returns:
        0 to 1; None where there is no tumour.
    """
    if not counts[1].any():
        return None
    precision, _ = precision_recall(counts)
    return float(np.nansum(precision * counts[1]) / counts[1].sum())


def score_thresholds(counts: Histogram, beta: float) -> Scores:
    """Return F-beta of each patient at each threshold; beta 1 is Dice.

    (1 + beta^2) TP / ((1 + beta^2) TP + beta^2 FN + FP), in which recall weighs beta times as much as precision (van
    Rijsbergen, "Information retrieval", 2nd edition, 1979). Without smoothing: 1 where truth and prediction are both
    empty, 0 where only one is.

    Args:
        counts: ``[patients, 2, BINS]``.
        beta: the weight.

    Returns:
        ``[patients, BINS]``.
    """
    above = count_above(counts)
    false, true = above[:, 0], above[:, 1]
    hits = (1 + beta**2) * true
    whole = hits + beta**2 * (true[:, :1] - true) + false
    return np.where(whole > 0, hits / np.maximum(whole, 1), 1.0)


def measure_calibration(counts: Histogram) -> tuple[Scores, Scores, Histogram]:
    """Return how often voxels are tumour, by the probability that they were given (a reliability diagram).

    DeGroot and Fienberg, "The comparison and evaluation of forecasters", The Statistician 32 (1983). Voxels below 1/256
    are left out: nearly all are air.

    Args:
        counts: ``[2, BINS]``, background and tumour.

    Returns:
        Of ten ranges of equal width: the mean probability, by the middles of the bins, the share that is tumour (both
        NaN where there is no voxel), and the number of voxels.
    """
    middles = THRESHOLDS + 0.5 / BINS
    ranges = (middles * RANGES).astype(int)
    kept = np.where(THRESHOLDS > 0, counts, 0)
    voxels, tumour, given = (
        np.bincount(ranges, weights, RANGES) for weights in (kept.sum(0), kept[1], kept.sum(0) * middles)
    )
    with np.errstate(invalid="ignore"):
        return given / voxels, tumour / voxels, voxels.astype(np.int64)


def calibration_error(counts: Histogram) -> float | None:
    """Return the mean over voxels of the difference between probability and share of tumour in their range.

    The expected calibration error of Naeini et al., "Obtaining well calibrated probabilities using Bayesian binning",
    AAAI (2015), of the voxels that ``measure_calibration`` counts.

    Args:
        counts: ``[2, BINS]``, background and tumour.

    Returns:
        0 to 1; None without such voxels.
    """
    given, observed, voxels = measure_calibration(counts)
    return float(np.nansum(np.abs(given - observed) * voxels) / voxels.sum()) if voxels.any() else None


def count_above(counts: Histogram) -> Histogram:
    """Return how many voxels lie at or above each threshold."""
    return counts[..., ::-1].cumsum(axis=-1)[..., ::-1]
