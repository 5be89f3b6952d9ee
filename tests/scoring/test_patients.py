"""One patient's files: hand-worked scores, units, missing predictions, and what is refused."""

from __future__ import annotations

import math
from pathlib import Path

import numpy as np
import pytest

from monai_brainseg.data.splits import Item
from monai_brainseg.errors import InputError
from monai_brainseg.images.volumes import Volume, write_nifti
from monai_brainseg.scoring.metrics import Counts, Lesions
from monai_brainseg.scoring.patients import PatientScores, score_patient

SHAPE = (12, 10, 6)
SLICES_AFFINE = np.diag([-1.0, -1.0, 1.0, 1.0])
OBLIQUE = np.array([[0.0, -2.0, 0.0, 7.0], [0.5, 0.0, 0.0, -3.0], [0.0, 0.0, 5.0, 1.0], [0.0, 0.0, 0.0, 1.0]])


def draw_box(*box: slice) -> np.ndarray:
    voxels = np.zeros(SHAPE, dtype=np.uint8)
    if box:
        voxels[box] = 1
    return voxels


TRUTH = draw_box(slice(2, 6), slice(2, 6), slice(1, 3))
# One column further along x, on the truth's two slices and on the tumour-free one above.
PREDICTION = draw_box(slice(3, 7), slice(2, 6), slice(1, 4))


def score(
    folder: Path,
    truth: np.ndarray,
    prediction: np.ndarray | None,
    *,
    affine: np.ndarray = SLICES_AFFINE,
    spacing_known: bool = False,
    listed_as_known: bool = True,
) -> PatientScores:
    """Write both masks and score them at a tolerance of 1."""
    write_nifti(Volume(truth, affine, spacing_known), folder / "truth.nii.gz")
    if prediction is not None:
        write_nifti(Volume(prediction, affine, spacing_known), folder / "masks" / "p1.nii.gz")
    return score_patient(make_item(folder, listed_as_known), folder / "masks", 1.0)


def make_item(folder: Path, spacing_known: bool = False) -> Item:
    truth = str(folder / "truth.nii.gz")
    return Item(image=[truth], label=truth, patient="p1", site="S", spacing_known=spacing_known)


def test_scores_are_those_worked_out_by_hand(tmp_path: Path) -> None:
    scores = score(tmp_path, TRUTH, PREDICTION)
    assert scores.counts == Counts(24, 24, 8, 12 * 10 * 6 - 56)
    assert scores.overlap("dice") == pytest.approx(2 * 24 / (48 + 32))
    assert scores.overlap("iou") == pytest.approx(24 / 56)
    assert scores.overlap("precision") == pytest.approx(0.5)
    assert scores.overlap("recall") == pytest.approx(0.75)
    assert scores.overlap("specificity") == pytest.approx(1 - 24 / (720 - 32))
    assert scores.lesions == Lesions(found=1, missed=0, false=0)
    assert scores.volume_error == 48 - 32


def test_slice_dice_is_over_tumour_slices_alone_and_false_alarms_over_the_others(tmp_path: Path) -> None:
    scores = score(tmp_path, TRUTH, PREDICTION)
    assert scores.slice_dices == [pytest.approx(0.75)] * 2
    assert scores.slice_decisions == Counts(true_positives=2, false_positives=1, false_negatives=0, true_negatives=3)
    assert scores.false_alarm_areas == [16.0]
    assert scores.decision == Counts(true_positives=1)


def test_lengths_are_voxels_where_spacing_is_unknown(tmp_path: Path) -> None:
    scores = score(tmp_path, TRUTH, PREDICTION)
    assert (scores.distance_unit, scores.volume_unit, scores.area_unit) == ("voxels", "voxels", "voxels")
    # 32 border voxels in the truth and 44 in the prediction, whose 4 along the far upper edge lie a diagonal away.
    assert scores.hd95 == pytest.approx(math.sqrt(2), rel=1e-6)
    assert scores.surface_dice == pytest.approx(72 / 76)


def test_lengths_are_millimetres_along_an_oblique_grid_where_spacing_is_known(tmp_path: Path) -> None:
    scores = score(tmp_path, TRUTH, PREDICTION, affine=OBLIQUE, spacing_known=True)
    assert scores.spacing == pytest.approx((0.5, 2.0, 5.0))
    assert (scores.distance_unit, scores.volume_unit, scores.area_unit) == ("mm", "ml", "mm2")
    assert scores.to_volume(1000) == pytest.approx(5.0)
    assert scores.volume_error == pytest.approx(16 * 0.005)
    assert scores.false_alarm_areas == [pytest.approx(16 * 0.5 * 2.0)]
    assert scores.hd95 == pytest.approx(math.hypot(0.5, 5.0), rel=1e-6)
    # The 16 border voxels of the slice above are 5 mm away or more.
    assert scores.surface_dice == pytest.approx(60 / 76)


@pytest.mark.parametrize(("in_file", "in_datalist"), [(True, False), (False, True), (False, False)])
def test_millimetres_need_both_the_datalist_and_the_mask(tmp_path: Path, in_file: bool, in_datalist: bool) -> None:
    scores = score(tmp_path, TRUTH, PREDICTION, affine=OBLIQUE, spacing_known=in_file, listed_as_known=in_datalist)
    assert scores.distance_unit == "voxels"
    assert scores.hd95 == pytest.approx(math.sqrt(2), rel=1e-6)


def test_a_missing_prediction_fails_in_every_score(tmp_path: Path) -> None:
    scores = score(tmp_path, TRUTH, None)
    assert scores.missing
    assert [scores.overlap(name) for name in ("dice", "iou", "precision", "recall", "specificity")] == [0.0] * 5
    assert (scores.hd95, scores.surface_dice) == (math.inf, 0.0)
    assert scores.lesions == Lesions(found=0, missed=1, false=0)
    assert scores.slice_dices == [0.0, 0.0]
    assert scores.slice_decisions == Counts(0, false_positives=4, false_negatives=2, true_negatives=0)


def test_a_missing_prediction_of_a_healthy_patient_is_no_success(tmp_path: Path) -> None:
    scores = score(tmp_path, draw_box(), None)
    assert scores.overlap("dice") == 0.0
    assert scores.surface_dice == 0.0
    assert scores.hd95 == math.inf
    assert scores.decision == Counts(false_positives=1)


def test_two_empty_masks_agree_and_one_empty_mask_does_not(tmp_path: Path) -> None:
    both = score(tmp_path / "both", draw_box(), draw_box())
    assert [both.overlap(name) for name in ("dice", "iou", "precision", "recall")] == [1.0] * 4
    assert (both.hd95, both.surface_dice) == (0.0, 1.0)
    for name, pair in {"invented": (draw_box(), TRUTH), "missed": (TRUTH, draw_box())}.items():
        one = score(tmp_path / name, *pair)
        assert [one.overlap(name) for name in ("dice", "iou", "precision", "recall")] == [0.0] * 4
        assert (one.hd95, one.surface_dice) == (math.inf, 0.0)


def test_a_probability_map_gives_the_highest_of_each_slice(tmp_path: Path) -> None:
    probability = np.zeros(SHAPE, dtype=np.float32)
    probability[3, 4] = np.arange(6) / 8
    write_nifti(Volume(probability, SLICES_AFFINE, False), tmp_path / "masks" / "p1_probability.nii.gz")
    assert score(tmp_path, TRUTH, PREDICTION).peaks == tuple(z / 8 for z in range(6))


def test_a_probability_map_is_counted_and_a_missing_prediction_counts_as_0(tmp_path: Path) -> None:
    probability = np.where(PREDICTION, 0.75, 0.1).astype(np.float32)
    assert score(tmp_path, TRUTH, PREDICTION).histogram is None
    write_nifti(Volume(probability, SLICES_AFFINE, False), tmp_path / "masks" / "p1_probability.nii.gz")
    counts = score(tmp_path, TRUTH, PREDICTION).histogram
    assert counts is not None
    assert {(row, value): counts[row, value] for row, value in zip(*np.nonzero(counts), strict=True)} == {
        (0, 25): 720 - 56,
        (0, 192): 24,
        (1, 25): 8,
        (1, 192): 24,
    }
    (tmp_path / "masks" / "p1.nii.gz").unlink()
    missing = score(tmp_path, TRUTH, None).histogram
    assert missing is not None
    assert missing[:, 0].tolist() == [720 - 32, 32]
    assert missing.sum() == 720


def test_an_affine_rounded_by_its_file_is_the_same_grid(tmp_path: Path) -> None:
    affine = OBLIQUE + 1e-5
    affine[3] = (0, 0, 0, 1)
    write_nifti(Volume(TRUTH, OBLIQUE, True), tmp_path / "truth.nii.gz")
    write_nifti(Volume(TRUTH, affine, True), tmp_path / "masks" / "p1.nii.gz")
    assert score_patient(make_item(tmp_path), tmp_path / "masks", 1.0).overlap("dice") == 1.0


def _shift(affine: np.ndarray, by: float) -> np.ndarray:
    moved = affine.copy()
    moved[0, 3] += by
    return moved


BAD_MASKS = {
    "another size": (np.zeros((10, 12, 6), np.uint8), SLICES_AFFINE, "has 10x12x6 voxels, but"),
    "a fourth axis": (TRUTH[..., None].repeat(2, -1), SLICES_AFFINE, "has 12x10x6x2 voxels, but"),
    "another place": (TRUTH, _shift(SLICES_AFFINE, 2), "affine differs"),
    "another turn": (TRUTH, np.diag([1.0, 1, 1, 1]), "affine differs"),
    "a third label": (TRUTH * 2, SLICES_AFFINE, "holds the label 2"),
    "a fraction": (TRUTH * np.float32(0.5), SLICES_AFFINE, "holds the label 0.5"),
    "a negative label": (TRUTH.astype(np.int16) * -1, SLICES_AFFINE, "holds the label -1"),
    "not a number": (TRUTH * np.float32(np.nan), SLICES_AFFINE, "holds the label nan"),
}


@pytest.mark.parametrize("fault", BAD_MASKS)
def test_a_mask_that_cannot_be_compared_is_refused_by_name(tmp_path: Path, fault: str) -> None:
    voxels, affine, message = BAD_MASKS[fault]
    write_nifti(Volume(voxels, affine, False), tmp_path / "masks" / "p1.nii.gz")
    with pytest.raises(InputError, match=rf"p1\.nii\.gz: .*{message}") as caught:
        score(tmp_path, TRUTH, None)
    assert "\n" not in str(caught.value)


def test_a_truth_with_other_labels_is_refused(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"truth\.nii\.gz: holds the label 4"):
        score(tmp_path, TRUTH * 4, PREDICTION)


def test_a_truncated_prediction_is_refused(tmp_path: Path) -> None:
    score(tmp_path, TRUTH, PREDICTION)
    mask = tmp_path / "masks" / "p1.nii.gz"
    mask.write_bytes(mask.read_bytes()[:60])
    with pytest.raises(InputError, match=r"p1\.nii\.gz"):
        score_patient(make_item(tmp_path), tmp_path / "masks", 1.0)


@pytest.mark.parametrize("value", [1.5, -0.1, np.nan])
def test_probabilities_outside_0_to_1_are_refused(tmp_path: Path, value: float) -> None:
    probability = np.full(SHAPE, 0.5, dtype=np.float32)
    probability[0, 0, 0] = value
    write_nifti(Volume(probability, SLICES_AFFINE, False), tmp_path / "masks" / "p1_probability.nii.gz")
    with pytest.raises(InputError, match=r"p1_probability\.nii\.gz: holds values outside"):
        score(tmp_path, TRUTH, PREDICTION)
