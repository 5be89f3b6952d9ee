"""Operating points: chosen by brute force, read from a file, refused where they cannot be trusted."""

from __future__ import annotations

import json
import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import fbeta_score
from support.scored_patients import FOUND, draw_map, make_patient

from monai_brainseg.errors import InputError
from monai_brainseg.scoring.intervals import draw_patients
from monai_brainseg.scoring.operating_points import (
    POINTS,
    check_unused,
    choose_points,
    measure_points,
    read_points,
    summarise_probabilities,
)
from monai_brainseg.scoring.patients import PatientScores
from monai_brainseg.scoring.probabilities import THRESHOLDS, count_bins

MAPS = [draw_map(seed, 600) for seed in range(4)]


def make_patients() -> list[PatientScores]:
    return [make_patient([FOUND], f"p{number}", histogram=count_bins(*each)) for number, each in enumerate(MAPS)]


def cut_everywhere(beta: float) -> np.ndarray:
    """Return mean per-patient F-beta at every threshold, by scikit-learn, one mask at a time."""
    return np.array(
        [np.mean([fbeta_score(truth, map_ >= cut, beta=beta) for map_, truth in MAPS]) for cut in THRESHOLDS]
    )


@pytest.mark.parametrize("name", POINTS)
def test_a_point_is_the_best_threshold_by_brute_force(name: str) -> None:
    beta, _ = POINTS[name]
    means = cut_everywhere(beta)
    threshold = choose_points(make_patients())[name]
    assert means[THRESHOLDS.tolist().index(threshold)] == pytest.approx(means[1:].max(), abs=1e-12)


def test_recall_first_lies_lower_and_finds_more() -> None:
    patients = make_patients()
    points = measure_points(patients, choose_points(patients), draw_patients(["a", "b", "c", "d"], _rng()))
    assert points["recall"]["threshold"] < points["balanced"]["threshold"]
    assert points["recall"]["recall"] > points["balanced"]["recall"]
    assert points["recall"]["f2"]["mean"] > points["balanced"]["f2"]["mean"]
    assert points["recall"]["dice"]["mean"] < points["balanced"]["dice"]["mean"]


def test_of_equal_thresholds_the_one_nearest_to_a_half_is_chosen() -> None:
    counts = count_bins(np.array([0.1, 0.9]), np.array([False, True]))
    assert choose_points([make_patient([FOUND], histogram=counts)]) == {"balanced": 0.5, "recall": 0.5}


def test_a_point_is_measured_per_patient_and_pooled() -> None:
    patients = make_patients()
    sample = draw_patients([each.subject for each in patients], _rng())
    point = measure_points(patients, {"recall": 0.3}, sample)["recall"]
    # Not the edge of a bin: the next one counts.
    assert point["threshold"] == math.ceil(0.3 * 256) / 256
    flat = [np.concatenate(each) for each in zip(*MAPS, strict=True)]
    predicted = flat[0] >= point["threshold"]
    assert point["precision"] == pytest.approx(flat[1][predicted].mean(), abs=1e-12)
    assert point["recall"] == pytest.approx(predicted[flat[1].astype(bool)].mean(), abs=1e-12)
    assert point["dice"]["mean"] == pytest.approx(cut_everywhere(1.0)[77], abs=1e-12)
    low, high = point["dice"]["mean_interval"]
    assert low < point["dice"]["mean"] < high


def test_a_missing_prediction_scores_nothing_at_any_threshold() -> None:
    gone = make_patient([FOUND], "gone", missing=True, histogram=count_bins(np.zeros(9), np.zeros(9, bool)))
    summary = summarise_probabilities([*make_patients(), gone], draw_patients(list("abcde"), _rng()))
    assert summary
    np.testing.assert_allclose(summary["curve"]["mean_dice"], cut_everywhere(1.0) * 4 / 5)
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary


def test_without_a_map_for_every_prediction_there_is_no_curve() -> None:
    patients = [*make_patients(), make_patient([FOUND], "without")]
    sample = draw_patients(list("abcde"), _rng())
    assert summarise_probabilities(patients, sample) is None
    assert choose_points(patients) == {}
    assert measure_points(patients, {"balanced": 0.5}, sample) == {}


def _rng() -> np.random.Generator:
    return np.random.default_rng(0)


def write_points(file: Path, change: Callable[[dict[str, Any]], Any] = lambda content: None) -> Path:
    content: dict[str, Any] = {
        "protocol": {"operating_points": {"file": None, "fold": None, "patients": ["a", "b"]}},
        "operating_points": {"balanced": {"threshold": 0.5}, "recall": {"threshold": 0.25}},
    }
    change(content)
    file.write_text(json.dumps(content))
    return file


def test_points_are_read_with_what_they_were_chosen_on(tmp_path: Path) -> None:
    file = write_points(tmp_path / "summary.json")
    points = read_points(file)
    assert points.thresholds == {"balanced": 0.5, "recall": 0.25}
    assert points.chosen_on == {"file": str(file), "fold": None, "patients": ["a", "b"]}
    handed_on = write_points(
        tmp_path / "test.json", lambda content: content["protocol"]["operating_points"].update(file="folds.json")
    )
    assert read_points(handed_on).chosen_on["file"] == "folds.json"


BAD: dict[str, Callable[[dict[str, Any]], Any]] = {
    "an evaluation without maps": lambda content: content.update(operating_points={}),
    "an evaluation of the test part": lambda content: content["protocol"].update(operating_points=None),
    "another file": lambda content: content.clear(),
    "a point missing": lambda content: content["operating_points"].pop("recall"),
    "a threshold of 1": lambda content: content["operating_points"]["recall"].update(threshold=1),
    "no number": lambda content: content["operating_points"]["recall"].update(threshold="low"),
}


@pytest.mark.parametrize("fault", BAD)
def test_a_file_without_operating_points_is_refused_in_one_line(tmp_path: Path, fault: str) -> None:
    with pytest.raises(InputError, match=r"summary\.json: (holds no|has) operating points.*--part training") as caught:
        read_points(write_points(tmp_path / "summary.json", BAD[fault]))
    assert "\n" not in str(caught.value)


def test_points_of_patients_that_the_weights_had_seen_are_refused(tmp_path: Path) -> None:
    read_points(write_points(tmp_path / "a.json", lambda content: content.update(provenance={"state": "clean"})))
    read_points(write_points(tmp_path / "b.json", lambda content: content.update(provenance={"state": "unknown"})))
    file = write_points(tmp_path / "summary.json", lambda content: content.update(provenance={"state": "seen"}))
    with pytest.raises(InputError, match=r"summary\.json: .*chosen on patients that the weights had seen"):
        read_points(file)


@pytest.mark.parametrize("text", ["", "[", "[]", "3"])
def test_a_file_that_is_something_else_is_refused(tmp_path: Path, text: str) -> None:
    (tmp_path / "summary.json").write_text(text)
    with pytest.raises(InputError, match=r"summary\.json: (holds no operating points|is not valid JSON)"):
        read_points(tmp_path / "summary.json")
    with pytest.raises(InputError, match=r"gone\.json: cannot be read"):
        read_points(tmp_path / "gone.json")


def test_points_chosen_on_the_patients_to_score_are_refused(tmp_path: Path) -> None:
    points = read_points(write_points(tmp_path / "summary.json"))
    check_unused(points, ["c"])
    with pytest.raises(InputError, match=r"chosen on 1 of the patients to score, such as b"):
        check_unused(points, ["b", "c"])
