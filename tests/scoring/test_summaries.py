"""Many patients' scores as one summary, against scikit-learn and by hand."""

from __future__ import annotations

import json
import math
from collections.abc import Sequence
from typing import Any

import numpy as np
import pytest
from hypothesis import assume, given, settings
from hypothesis import strategies as st
from sklearn.metrics import classification_report, f1_score, jaccard_score, roc_auc_score
from support.scored_patients import EMPTY, FOUND, INVENTED, MISSED, make_patient

from monai_brainseg.scoring import intervals, metrics
from monai_brainseg.scoring.metrics import Counts, Lesions
from monai_brainseg.scoring.patients import PatientScores
from monai_brainseg.scoring.summaries import report_classes, summarise


def summarise_quickly(patients: Sequence[PatientScores]) -> dict[str, Any]:
    return summarise(patients, 2.0, np.random.default_rng(0))


@pytest.fixture
def masks() -> list[tuple[np.ndarray, np.ndarray]]:
    """Prediction and truth [x, y, z] of six patients of different size and quality; slices without tumour."""
    rng = np.random.default_rng(0)
    pairs = []
    for number in range(6):
        truth = rng.random((8, 7, 5 + number)) < 0.3
        truth[..., ::3] = False
        prediction = truth ^ (rng.random(truth.shape) < 0.05 * (number + 1))
        prediction[..., 1] = False
        pairs.append((prediction, truth))
    return pairs


@pytest.fixture
def patients(masks: list[tuple[np.ndarray, np.ndarray]]) -> list[PatientScores]:
    return [
        make_patient(metrics.count_slices(prediction, truth), f"p{number}", lesions=Lesions(number, 1, 2))
        for number, (prediction, truth) in enumerate(masks)
    ]


def test_pooled_scores_are_scikit_learns_over_all_voxels(
    masks: list[tuple[np.ndarray, np.ndarray]], patients: list[PatientScores]
) -> None:
    prediction, truth = (np.concatenate([pair[part].ravel() for pair in masks]) for part in (0, 1))
    pooled = summarise_quickly(patients)["pooled"]
    assert pooled["dice"]["value"] == pytest.approx(f1_score(truth, prediction), abs=1e-6)
    assert pooled["f1"] == pooled["dice"]
    assert pooled["iou"]["value"] == pytest.approx(jaccard_score(truth, prediction), abs=1e-6)
    reference = classification_report(truth, prediction, target_names=["background", "tumor"], output_dict=True)
    assert set(pooled["classification_report"]) == set(reference)
    for name, row in reference.items():
        assert pooled["classification_report"][name] == pytest.approx(row, abs=1e-6)


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.booleans()), min_size=1, max_size=30))
def test_the_report_of_both_classes_agrees_with_scikit_learn(voxels: list[tuple[bool, bool]]) -> None:
    truth, prediction = np.array(voxels).T
    neither, everything = (not (truth | prediction).any()), bool((truth & prediction).all())
    # A class that neither mask holds counts as agreed upon here; scikit-learn has one answer for both kinds of 0/0.
    assume(not (neither or everything))
    counts = metrics.pool(metrics.count_slices(prediction[:, None, None], truth[:, None, None]))
    reference = classification_report(
        truth, prediction, labels=[False, True], target_names=["background", "tumor"], output_dict=True, zero_division=0
    )
    report = report_classes(counts)
    for name in ("background", "tumor", "macro avg", "weighted avg"):
        assert report[name] == pytest.approx(reference[name], abs=1e-6)
    assert report["accuracy"] == pytest.approx(np.mean(truth == prediction), abs=1e-6)


def test_the_headline_is_the_mean_over_patients_and_not_the_pooled_score(patients: list[PatientScores]) -> None:
    summary = summarise_quickly(patients)
    dices = [metrics.dice(patient.counts) for patient in patients]
    assert summary["headline"]["value"] == pytest.approx(np.mean(dices), abs=1e-12)
    assert summary["per_patient"]["dice"]["median"] == pytest.approx(np.median(dices), abs=1e-12)
    assert summary["headline"]["value"] != pytest.approx(summary["pooled"]["dice"]["value"], abs=1e-3)
    low, high = summary["headline"]["interval"]
    assert low < summary["headline"]["value"] < high
    assert (summary["headline"]["patients"], summary["headline"]["people"]) == (6, 6)


def test_slice_dice_leaves_out_tumour_free_slices() -> None:
    summary = summarise_quickly([make_patient([EMPTY] * 7 + [FOUND, MISSED, INVENTED]), make_patient([FOUND], "q")])
    assert summary["slices"]["tumour_slices"] == 3
    assert summary["slices"]["dice"]["value"] == pytest.approx((0.75 + 0.0 + 0.75) / 3)
    assert summary["slices"]["tumour_free_slices"] == 8
    assert summary["slices"]["false_alarm_rate"]["value"] == pytest.approx(1 / 8)
    assert summary["distances_and_volumes"]["voxels"]["false_alarm_area"]["value"] == 2.0


def test_presence_by_slice_agrees_with_scikit_learn(
    masks: list[tuple[np.ndarray, np.ndarray]], patients: list[PatientScores]
) -> None:
    predicted, present = (np.concatenate([pair[part].sum((0, 1)) for pair in masks]) for part in (0, 1))
    by_slice = summarise_quickly(patients)["presence"]["by_slice"]
    assert by_slice["auroc"]["value"] == pytest.approx(roc_auc_score(present > 0, predicted), abs=1e-6)
    assert by_slice["sensitivity"]["value"] == pytest.approx(np.mean(predicted[present > 0] > 0))
    assert by_slice["specificity"]["value"] == pytest.approx(np.mean(predicted[present == 0] == 0))


def test_what_needs_patients_without_tumour_is_null_with_the_reason(patients: list[PatientScores]) -> None:
    by_patient = summarise_quickly(patients)["presence"]["by_patient"]
    nothing = {"value": None, "interval": None, "reason": "every patient has tumour"}
    assert by_patient["auroc"] == by_patient["specificity"] == nothing
    assert by_patient["sensitivity"]["value"] == 1.0
    healthy = summarise_quickly([make_patient([EMPTY]), make_patient([INVENTED], "q")])["presence"]["by_patient"]
    assert healthy["sensitivity"] == {**nothing, "reason": "no patient has tumour"}
    assert healthy["specificity"]["value"] == 0.5


def test_probabilities_rank_only_where_every_prediction_has_them() -> None:
    sure, unsure = make_patient([FOUND, EMPTY], "a", peaks=(0.9, 0.2)), make_patient([MISSED], "b", peaks=(0.4,))
    healthy = make_patient([INVENTED], "c", peaks=(0.5,))
    mapped = summarise_quickly([sure, unsure, healthy])["presence"]
    assert mapped["score"] == "highest probability"
    assert mapped["by_patient"]["auroc"]["value"] == 0.5
    assert mapped["by_slice"]["auroc"]["value"] == 0.75
    some = summarise_quickly([sure, unsure, make_patient([INVENTED], "c")])["presence"]
    assert some["score"] == "predicted tumour voxels"
    # Slices rank by 4 and 0 voxels with tumour against 0 and 2 without.
    assert some["by_slice"]["auroc"]["value"] == pytest.approx((2 + 0.5) / 4)


def test_a_missing_prediction_is_named_and_wrong_throughout() -> None:
    slices, failed = [MISSED, EMPTY], {"missing": True, "hd95": math.inf, "surface_dice": 0.0}
    summary = summarise_quickly([make_patient(slices, "gone", lesions=Lesions(0, 1, 0), **failed)] * 2)
    assert summary["missing"] == ["gone", "gone"]
    assert summary["headline"]["value"] == 0.0
    assert summary["distances_and_volumes"]["voxels"]["hd95"]["undefined"] == 2
    by_slice = summary["presence"]["by_slice"]
    assert [by_slice[name]["value"] for name in ("sensitivity", "specificity", "auroc")] == [0.0, 0.0, 0.0]
    assert summary["presence"]["score"] == "predicted tumour voxels"


def test_patients_in_millimetres_and_in_voxels_are_never_averaged_together() -> None:
    known = make_patient([FOUND], "a", spacing=(1.0, 1.0, 5.0), hd95=10.0)
    units = summarise_quickly([known, make_patient([FOUND], "b", hd95=2.0)])["distances_and_volumes"]
    assert {unit: (each["hd95"]["mean"], each["volume_unit"]) for unit, each in units.items()} == {
        "mm": (10.0, "ml"),
        "voxels": (2.0, "voxels"),
    }


def test_the_worst_five_and_the_sites_are_listed() -> None:
    patients = [make_patient([Counts(hit, 0, 8 - hit, 1)], f"p{hit}", site=f"S{hit % 2}") for hit in range(8)]
    summary = summarise_quickly(patients)
    assert [each["patient"] for each in summary["worst"]] == ["p0", "p1", "p2", "p3", "p4"]
    assert {site: row["patients"] for site, row in summary["sites"].items()} == {"S0": 4, "S1": 4}
    odd = np.mean([metrics.dice(patient.counts) for patient in patients[1::2]])
    assert summary["sites"]["S1"]["dice"]["mean"] == pytest.approx(odd)


def test_lesions_are_totals_over_patients(patients: list[PatientScores]) -> None:
    lesions = summarise_quickly(patients)["lesions"]
    assert (lesions["found"], lesions["missed"], lesions["false"]) == (15, 6, 12)
    assert lesions["found_share"]["value"] == pytest.approx(15 / 21)
    assert lesions["false_per_patient"]["value"] == 2.0


@settings(deadline=None, max_examples=25)
@given(
    st.lists(
        st.tuples(
            st.lists(st.sampled_from([EMPTY, MISSED, FOUND, INVENTED]), min_size=1, max_size=4),
            st.sampled_from([None, (1.0, 1.0, 5.0)]),
            st.booleans(),
        ),
        min_size=1,
        max_size=4,
    )
)
def test_every_summary_is_plain_json(cases: list[tuple[list[Counts], tuple[float, ...] | None, bool]]) -> None:
    patients = [
        make_patient(slices, f"p{number}", spacing=spacing, missing=missing, hd95=math.inf if missing else 3.0)
        for number, (slices, spacing, missing) in enumerate(cases)
    ]
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(intervals, "DRAWS", 20)
        summary = summarise_quickly(patients)
    assert json.loads(json.dumps(summary, allow_nan=False)) == summary
