"""Counts of probability maps against scikit-learn and brute force."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from sklearn.calibration import calibration_curve
from sklearn.metrics import average_precision_score, fbeta_score, precision_score, recall_score
from support.scored_patients import draw_map

from monai_brainseg.scoring.probabilities import (
    BINS,
    THRESHOLDS,
    average_precision,
    calibration_error,
    count_bins,
    measure_calibration,
    precision_recall,
    score_thresholds,
)


def test_precision_and_recall_are_scikit_learns_at_every_threshold() -> None:
    probability, truth = draw_map(0)
    precisions, recalls = precision_recall(count_bins(probability, truth))
    for index in range(0, BINS, 5):
        predicted = probability >= THRESHOLDS[index]
        if predicted.any():
            assert precisions[index] == pytest.approx(precision_score(truth, predicted), abs=1e-12)
        else:
            assert np.isnan(precisions[index])
        assert recalls[index] == pytest.approx(recall_score(truth, predicted), abs=1e-12)


@pytest.mark.parametrize("seed", range(4))
def test_average_precision_is_scikit_learns_within_a_bin(seed: int) -> None:
    probability, truth = draw_map(seed)
    found = average_precision(count_bins(probability, truth))
    assert found == pytest.approx(average_precision_score(truth, np.floor(probability * BINS)), abs=1e-9)
    assert found == pytest.approx(average_precision_score(truth, probability), abs=0.005)


def test_average_precision_is_undefined_without_tumour() -> None:
    assert average_precision(count_bins(np.array([0.2, 0.9]), np.array([False, False]))) is None


@given(arrays(np.float64, 30, elements=st.floats(0, 1)), arrays(bool, 30), st.sampled_from([1.0, 2.0]))
def test_scores_at_a_threshold_are_those_of_the_mask_cut_there(
    probability: np.ndarray, truth: np.ndarray, beta: float
) -> None:
    scores = score_thresholds(count_bins(probability, truth)[None], beta)[0]
    for index in (0, 1, 77, 128, 255):
        predicted = probability >= THRESHOLDS[index]
        # scikit-learn's answer to 0/0 is an option: two empty masks agree.
        assert scores[index] == pytest.approx(fbeta_score(truth, predicted, beta=beta, zero_division=1.0), abs=1e-12)


@pytest.mark.parametrize("dtype", [np.uint8, np.float16, np.float32, np.float64])
def test_maps_of_any_type_are_counted_alike(dtype: type) -> None:
    counts = count_bins(np.array([0, 1, 1, 0], dtype), np.array([False, True, False, True]))
    assert (counts[0, 0], counts[0, -1], counts[1, 0], counts[1, -1]) == (1, 1, 1, 1)
    assert counts.sum() == 4


def test_a_mask_of_nothing_is_probability_0_everywhere() -> None:
    truth = np.arange(10) < 3
    counts = count_bins(np.zeros(10, bool), truth)
    assert counts[:, 0].tolist() == [7, 3]
    assert counts.sum() == 10


@pytest.mark.parametrize("seed", range(4))
def test_calibration_is_scikit_learns_reliability_diagram_of_voxels_that_are_not_air(seed: int) -> None:
    probability, truth = draw_map(seed)
    given, observed, voxels = measure_calibration(count_bins(probability, truth))
    bins = np.floor(probability * BINS).clip(max=BINS - 1)
    middles, kept = (bins + 0.5) / BINS, bins > 0
    share, mean = calibration_curve(truth[kept], middles[kept], n_bins=10)
    np.testing.assert_allclose(observed[voxels > 0], share, atol=1e-12)
    np.testing.assert_allclose(given[voxels > 0], mean, atol=1e-12)
    assert voxels.sum() == kept.sum()
    assert np.isnan(given[voxels == 0]).all()


def test_calibration_error_is_none_of_honest_probabilities_and_the_difference_of_others() -> None:
    rng = np.random.default_rng(0)
    probability = rng.uniform(0.05, 1, 400_000)
    honest = count_bins(probability, rng.uniform(size=probability.size) < probability)
    assert calibration_error(honest) == pytest.approx(0, abs=0.005)
    always = count_bins(np.full(100, 0.7 + 0.5 / BINS), np.arange(100) < 40)
    assert calibration_error(always) == pytest.approx(0.3, abs=1 / BINS)
    assert calibration_error(count_bins(np.zeros(5), np.zeros(5, bool))) is None
