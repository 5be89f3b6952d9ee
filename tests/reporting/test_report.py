"""The page of an evaluation: its numbers are those of summary.json, and its points are chosen on the folds."""

from __future__ import annotations

import re
from pathlib import Path

import numpy as np
import pytest
from sklearn.metrics import average_precision_score, precision_score, recall_score
from support.evaluated_phantoms import evaluate, write_predictions
from support.html_pages import read_results

from monai_brainseg.data.splits import read_datalist
from monai_brainseg.images.volumes import read_nifti


@pytest.mark.parametrize("name", ["folds", "tested"])
def test_numbers_on_the_page_are_those_of_the_summary(name: str, request: pytest.FixtureRequest) -> None:
    page, text, summary = read_results(request.getfixturevalue(name))
    headline = summary["headline"]
    low, high = (f"{end:.3f}" for end in headline["interval"])
    assert f"{headline['value']:.3f} (95 % interval {low} to {high}) over {headline['patients']} patients" in text
    # A point is named as a score is; the scores come first.
    rows = {row[0]: row for row in reversed(page.rows)}
    for score, each in summary["per_patient"].items():
        assert rows[score][1::2] == [f"{each['mean']:.3f}", f"{each['median']:.3f}", ""]
    for patient in summary["patients"]:
        assert rows[patient["patient"]][2] == f"{patient['dice']:.3f}"
    for site, each in summary["sites"].items():
        assert rows[site][1:3] == [str(each["patients"]), f"{each['dice']['mean']:.3f}"]
    pooled = summary["pooled"]
    assert rows["pooled voxels: recall"][1] == f"{pooled['recall']['value']:.3f}"
    assert rows["average precision"][1] == f"{summary['probabilities']['average_precision']['value']:.3f}"
    for point, each in summary["operating_points"].items():
        values = [each["threshold"], each["precision"], each["recall"], each["dice"]["mean"], each["f2"]["mean"]]
        assert next(row for row in page.rows if row[:2] == [point, each["criterion"]])[2:7] == [
            f"{value:.3f}" for value in values
        ]


def test_curve_and_points_are_scikit_learns_over_the_maps(
    prepared_phantoms: Path, phantom_masks: Path, folds: Path, tested: Path
) -> None:
    for part, output in (("training", folds), ("test", tested)):
        items = read_datalist(prepared_phantoms)[part]  # type: ignore[literal-required]
        truth = np.concatenate([read_nifti(Path(item["label"])).voxels.ravel() > 0 for item in items])
        files = [phantom_masks / f"{item['patient']}_probability.nii.gz" for item in items]
        probability = np.concatenate([read_nifti(file).voxels.ravel() for file in files])
        summary = read_results(output)[2]
        expected = average_precision_score(truth, probability)
        assert summary["probabilities"]["average_precision"]["value"] == pytest.approx(expected, abs=0.005)
        for point in summary["operating_points"].values():
            predicted = probability >= point["threshold"]
            assert point["precision"] == pytest.approx(precision_score(truth, predicted), abs=1e-9)
            assert point["recall"] == pytest.approx(recall_score(truth, predicted), abs=1e-9)


def test_points_are_chosen_on_folds_and_only_measured_on_the_test_part(folds: Path, tested: Path) -> None:
    (_, chosen_text, chosen), (_, text, measured) = read_results(folds), read_results(tested)
    for name in ("balanced", "recall"):
        assert measured["operating_points"][name]["threshold"] == chosen["operating_points"][name]["threshold"]
    assert chosen["protocol"]["operating_points"]["file"] is None
    assert measured["protocol"]["operating_points"]["file"] == str(folds / "summary.json")
    assert "on these 8 patients, so their scores here are too good" in chosen_text
    assert f"Operating points chosen on the folds (8 patients, {folds}/summary.json), and only measured" in text


def test_the_test_part_chooses_no_points(prepared_phantoms: Path, phantom_masks: Path, tmp_path: Path) -> None:
    for part in ("test", "all"):
        assert evaluate(prepared_phantoms, phantom_masks, tmp_path, "--part", part) == 0
        _, text, summary = read_results(tmp_path)
        assert (summary["operating_points"], summary["protocol"]["operating_points"]) == ({}, None)
        assert "No operating points: they are chosen on the folds" in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--operating-points", "{tested}/metrics.csv"), "metrics.csv: is not valid JSON"),
        (("--operating-points", "{folds}/plain.json"), "plain.json: holds no operating points"),
        (("--part", "training", "--operating-points", "{folds}/summary.json"), "chosen on 8 of the patients to score"),
        (("--run", "{folds}"), "holds no TensorBoard events of a training"),
    ],
)
def test_what_cannot_be_shown_is_refused_in_one_line(
    prepared_phantoms: Path,
    phantom_masks: Path,
    folds: Path,
    tested: Path,
    tmp_path: Path,
    options: tuple[str, ...],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (folds / "plain.json").write_text("{}")
    words = [option.format(folds=folds, tested=tested) for option in options]
    assert evaluate(prepared_phantoms, phantom_masks, tmp_path / "out", *words) == 1
    assert re.fullmatch(rf"brainseg evaluate: .*{message}.*\n", capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


def test_points_need_a_map_beside_every_prediction(
    prepared_phantoms: Path, phantom_masks: Path, folds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_predictions(read_datalist(prepared_phantoms)["test"], tmp_path / "masks", maps=False)
    assert evaluate(prepared_phantoms, tmp_path / "masks", tmp_path / "out") == 0
    page, text, summary = read_results(tmp_path / "out")
    assert summary["probabilities"] is None
    assert "No curve: it needs PATIENT_probability.nii.gz beside every prediction" in text
    assert "No learning curves: give the folder of the training run with --run" in text
    options = ["--operating-points", str(folds / "summary.json")]
    assert evaluate(prepared_phantoms, tmp_path / "masks", tmp_path / "out", *options) == 1
    assert re.search(r"_probability\.nii\.gz: is missing, but --operating-points needs", capsys.readouterr().err)
