"""Figures of a benchmark against the same computed otherwise."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy import stats

from monai_brainseg.benchmarking.figures import Scores, average, compare, pair_networks, summarise_networks

PEOPLE = {f"p{number}": f"p{number}" for number in range(40)}


def make_scores(key: tuple[int, int], dices: dict[str, float]) -> Scores:
    row = {"iou": "0.5", "precision": "0.5", "recall": "0.5", "tumour_slices": "2", "slice_dice": "0.25"}
    counts = {"true_positives": "10", "false_positives": "5", "false_negatives": "15", "true_negatives": "70"}
    return Scores(key, {patient: {**row, **counts, "dice": str(dice)} for patient, dice in dices.items()})


def test_paired_difference_and_its_test_are_those_of_scipy() -> None:
    rng = np.random.default_rng(0)
    one = rng.random(30)
    other = one - 0.05 + 0.1 * rng.random(30)
    figures = compare(dict(zip(PEOPLE, one, strict=False)), dict(zip(PEOPLE, other, strict=False)), PEOPLE)
    assert figures["difference"]["value"] == pytest.approx(np.mean(one - other))
    assert figures["p"] == pytest.approx(stats.wilcoxon(one, other).pvalue)
    interval = stats.bootstrap((one - other,), np.mean, method="percentile", n_resamples=9999, rng=1)
    low, high = interval.confidence_interval
    assert figures["difference"]["interval"] == pytest.approx([low, high], abs=0.002)


def test_wilcoxon_of_few_pairs_is_the_exact_count_of_signs() -> None:
    one = {"p0": 0.9, "p1": 0.8, "p2": 0.7, "p3": 0.6, "p4": 0.5}
    other = {"p0": 0.8, "p1": 0.6, "p2": 0.4, "p3": 0.2, "p4": 0.0}
    # All five differences have one sign: 2 of the 32 ways to sign them are as far from 0.
    assert compare(one, other, PEOPLE)["p"] == pytest.approx(2 / 32)


def test_same_scores_differ_by_nothing_without_a_p() -> None:
    scores = {"p0": 0.5, "p1": 0.7}
    figures = compare(scores, scores, PEOPLE)
    assert figures["difference"]["value"] == 0
    assert figures["p"] is None


def test_other_patients_are_compared_by_their_means_and_not_paired() -> None:
    figures = compare({"p0": 0.5, "p1": 0.7}, {"p1": 0.1, "p2": 0.3, "p3": 0.2}, PEOPLE)
    assert figures["difference"]["value"] == pytest.approx(0.6 - 0.2)
    assert figures["people"] == 4
    assert "p" not in figures


def test_studies_of_one_person_are_drawn_together() -> None:
    one, other = {"p0": 1.0, "p1": 0.0}, {"p0": 0.0, "p1": 1.0}
    assert compare(one, other, {"p0": "same", "p1": "same"})["difference"]["interval"] is None
    assert compare(one, other, PEOPLE)["difference"]["interval"] == [-1.0, 1.0]


@given(st.lists(st.lists(st.floats(0, 1), min_size=3, max_size=3), min_size=1, max_size=4))
@settings(deadline=None)
def test_patients_are_averaged_over_networks_first(dices: list[list[float]]) -> None:
    networks = [make_scores((0, seed), dict(zip(PEOPLE, row, strict=False))) for seed, row in enumerate(dices)]
    assert list(average(networks, "dice").values()) == pytest.approx(np.mean(dices, axis=0))


def test_pooled_scores_and_tumour_slices_count_everything_once() -> None:
    figures = summarise_networks([make_scores((0, seed), {"p0": 0.1, "p1": 0.9}) for seed in (0, 1)], PEOPLE)
    assert figures["dice"]["value"] == pytest.approx(0.5)
    assert figures["pooled dice"]["value"] == pytest.approx(20 / 40)
    assert figures["pooled precision"]["value"] == pytest.approx(10 / 15)
    assert figures["pooled recall"]["value"] == pytest.approx(10 / 25)
    assert figures["dice of tumour slices"]["value"] == pytest.approx(0.25)
    assert (figures["patients"], figures["networks"]) == (2, 2)


def test_networks_are_paired_by_fold_and_seed_and_keep_the_patients_of_both() -> None:
    one = [make_scores((0, 0), {"p0": 0.1, "p1": 0.2}), make_scores((1, 0), {"p2": 0.3})]
    other = [make_scores((0, 0), {"p1": 0.5, "p3": 0.6}), make_scores((0, 1), {"p0": 0.7})]
    left, right = pair_networks(one, other)
    assert [list(network.rows) for network in left] == [list(network.rows) for network in right] == [["p1"]]
    assert average(left, "dice") == {"p1": 0.2}
    assert average(right, "dice") == {"p1": 0.5}
