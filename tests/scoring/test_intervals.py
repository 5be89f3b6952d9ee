"""Figures and their intervals over patients."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from scipy.stats import bootstrap

from monai_brainseg.scoring.intervals import DRAWS, draw_patients, estimate, estimate_ratio, summarise_values

SCORES = st.lists(st.floats(0, 1), min_size=2, max_size=12)


def name_people(number: int) -> list[str]:
    return [f"p{index}" for index in range(number)]


def test_the_interval_of_a_mean_agrees_with_scipy() -> None:
    values = np.random.default_rng(1).beta(8, 2, size=60)
    ours = summarise_values(values.tolist(), draw_patients(name_people(60), np.random.default_rng(2)))
    theirs = bootstrap((values,), np.mean, method="percentile", n_resamples=20000, rng=np.random.default_rng(3))
    assert ours["mean"] == pytest.approx(values.mean(), abs=1e-12)
    width = theirs.confidence_interval.high - theirs.confidence_interval.low
    assert ours["mean_interval"] == pytest.approx(list(theirs.confidence_interval), abs=0.08 * width)
    assert ours["median"] == pytest.approx(np.median(values), abs=1e-12)


@settings(deadline=None, max_examples=20)
@given(SCORES)
def test_an_interval_lies_within_the_scores_and_holds_its_figure(scores: list[float]) -> None:
    summary = summarise_values(scores, draw_patients(name_people(len(scores)), np.random.default_rng(0)))
    for key in ("mean", "median"):
        low, high = summary[f"{key}_interval"]
        assert min(scores) - 1e-9 <= low <= high <= max(scores) + 1e-9
    low, high = summary["mean_interval"]
    assert low - 1e-9 <= summary["mean"] <= high + 1e-9


def test_the_same_seed_gives_the_same_interval_and_another_seed_another() -> None:
    values = np.random.default_rng(0).random(20).tolist()
    first, again, other = (
        summarise_values(values, draw_patients(name_people(20), np.random.default_rng(seed))) for seed in (5, 5, 6)
    )
    assert first == again
    assert first["mean_interval"] != other["mean_interval"]


def test_all_cases_of_a_person_are_drawn_together() -> None:
    sample = draw_patients(["a", "b", "a", "c", "a"], np.random.default_rng(0))
    assert (sample.size, len(sample.draws)) == (5, DRAWS)
    for draw in sample.draws:
        times = np.bincount(draw, minlength=5)
        assert times[0] == times[2] == times[4]
        assert times[0] + times[1] + times[3] == 3


def test_repeated_cases_of_one_person_do_not_narrow_the_interval() -> None:
    values = np.random.default_rng(0).random(12)
    once = summarise_values(values.tolist(), draw_patients(name_people(12), np.random.default_rng(1)))
    copies = draw_patients(name_people(12) * 5, np.random.default_rng(1))
    assert summarise_values(np.tile(values, 5).tolist(), copies)["mean_interval"] == pytest.approx(
        once["mean_interval"]
    )


def test_one_person_has_no_interval() -> None:
    sample = draw_patients(["a", "a"], np.random.default_rng(0))
    assert summarise_values([0.5, 0.7], sample)["mean_interval"] is None
    assert estimate(lambda _: 0.5, sample) == {"value": 0.5, "interval": None}


def test_an_undefined_score_is_counted_left_out_of_the_mean_and_infinite_in_the_median() -> None:
    sample = draw_patients(name_people(5), np.random.default_rng(0))
    some = summarise_values([1.0, 2.0, 6.0, math.inf, math.inf], sample)
    assert (some["mean"], some["median"], some["undefined"]) == (3.0, 6.0, 2)
    most = summarise_values([1.0, 2.0, math.inf, math.inf, math.inf], sample)
    assert (most["mean"], most["median"], most["undefined"]) == (1.5, None, 3)
    none = summarise_values([math.inf] * 5, sample)
    assert (none["mean"], none["mean_interval"], none["median"], none["undefined"]) == (None, None, None, 5)
    assert none["median_interval"] == [None, None]


def test_a_ratio_pools_and_says_why_it_is_undefined() -> None:
    sample = draw_patients(name_people(3), np.random.default_rng(0))
    assert estimate_ratio([1, 2, 3], [2, 2, 8], sample)["value"] == 0.5
    assert estimate_ratio([0, 0, 0], [0, 0, 0], sample, "no tumour") == {
        "value": None,
        "interval": None,
        "reason": "no tumour",
    }


def test_draws_that_leave_a_ratio_undefined_are_left_out_of_its_interval() -> None:
    sample = draw_patients(name_people(3), np.random.default_rng(0))
    assert any(1 not in draw for draw in sample.draws)
    assert estimate_ratio([0, 1, 0], [0, 2, 0], sample)["interval"] == [0.5, 0.5]
