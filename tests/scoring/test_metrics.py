"""Every score against a reference that shares no code with it, over many masks."""

from __future__ import annotations

import itertools
import math
from collections.abc import Callable, Sequence

import numpy as np
import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays
from monai.metrics import compute_hausdorff_distance, compute_surface_dice
from scipy.ndimage import distance_transform_edt, gaussian_filter
from sklearn.metrics import f1_score, jaccard_score, precision_score, recall_score, roc_auc_score

from monai_brainseg.scoring import metrics
from monai_brainseg.scoring.metrics import Counts, Lesions, Mask

SPACINGS = st.tuples(*[st.sampled_from([0.5, 0.9375, 1.0, 2.4, 5.0, 6.5])] * 3)
TOLERANCES = st.sampled_from([0.0, 1.0, 2.0, 3.7, 5.0])
BOXES = (np.s_[2:8, 2:8, 2:6], np.s_[4:9, 3:8, 1:6])


@st.composite
def mask_pairs(draw: st.DrawFn) -> tuple[Mask, Mask]:
    """Two masks of one small 3D shape, from empty to full."""
    shape = draw(array_shapes(min_dims=3, max_dims=3, max_side=6))
    fills = arrays(np.float32, shape, elements=st.floats(0, 1, width=32))
    first, second = (draw(fills) < draw(st.sampled_from([0.0, 0.1, 0.5, 0.9, 2.0])) for _ in range(2))
    return first, second


def count(prediction: Mask, truth: Mask) -> Counts:
    return metrics.pool(metrics.count_slices(prediction, truth))


def draw_blobs(seed: int, shape: Sequence[int] = (48, 40, 18)) -> tuple[Mask, Mask]:
    """Two smooth, overlapping, lumpy masks, each of several components."""
    rng = np.random.default_rng(seed)
    first = gaussian_filter(rng.standard_normal(shape), 2.5)
    second = first + 0.5 * gaussian_filter(rng.standard_normal(shape), 2.5)
    return first > np.quantile(first, 0.93), second > np.quantile(second, 0.95)


def find_border(mask: Mask) -> Mask:
    """Voxels with a face neighbour outside the mask, written out."""
    padded = np.pad(mask, 1)
    inside = padded.copy()
    for axis, step in itertools.product(range(mask.ndim), (-1, 1)):
        inside &= np.roll(padded, step, axis)
    return mask & ~inside[tuple(slice(1, -1) for _ in mask.shape)]


def reference_distances(prediction: Mask, truth: Mask, spacing: Sequence[float]) -> tuple[np.ndarray, np.ndarray]:
    """Both directions by a dense distance transform of the whole volume."""
    a, b = find_border(prediction), find_border(truth)
    return distance_transform_edt(~b, sampling=spacing)[a], distance_transform_edt(~a, sampling=spacing)[b]


def reference_components(mask: Mask) -> list[set[tuple[int, ...]]]:
    """Flood fill over all 26 neighbours."""
    left = {tuple(int(i) for i in voxel) for voxel in np.argwhere(mask)}
    components = []
    while left:
        front, component = [left.pop()], set[tuple[int, ...]]()
        while front:
            voxel = front.pop()
            component.add(voxel)
            near = {tuple(np.add(voxel, step)) for step in itertools.product((-1, 0, 1), repeat=3)} & left
            left -= near
            front += near
        components.append(component)
    return components


@settings(deadline=None)
@given(mask_pairs())
def test_counts_per_slice_and_pooled_are_the_confusion_matrix(pair: tuple[Mask, Mask]) -> None:
    prediction, truth = pair
    slices = metrics.count_slices(prediction, truth)
    assert len(slices) == truth.shape[2]
    for z, counts in enumerate(slices):
        p, t = prediction[..., z], truth[..., z]
        assert counts == Counts((p & t).sum(), (p & ~t).sum(), (~p & t).sum(), (~p & ~t).sum())
    assert metrics.pool(slices) == count(prediction, truth)
    assert metrics.pool(slices).total == truth.size


@settings(deadline=None)
@given(mask_pairs())
def test_overlap_scores_agree_with_scikit_learn(pair: tuple[Mask, Mask]) -> None:
    prediction, truth = pair
    counts = count(prediction, truth)
    flat = {"y_true": truth.ravel(), "y_pred": prediction.ravel(), "labels": [False, True], "average": None}
    # scikit-learn is told what 0/0 is: 1 where both masks are empty, 0 where one is; of the background likewise.
    neither = float(not prediction.any() and not truth.any())
    everything = float(prediction.all() and truth.all())
    for score, reference in (
        (metrics.dice, f1_score),
        (metrics.iou, jaccard_score),
        (metrics.precision, precision_score),
        (metrics.recall, recall_score),
    ):
        assert score(counts) == pytest.approx(reference(**flat, zero_division=neither)[1], abs=1e-6)
        background = reference(**flat, zero_division=everything)[0]
        assert score(counts.of_background()) == pytest.approx(background, abs=1e-6)
    assert metrics.specificity(counts) == pytest.approx(recall_score(**flat, zero_division=everything)[0], abs=1e-6)


@settings(deadline=None)
@given(mask_pairs())
def test_dice_is_at_least_iou_and_follows_from_it(pair: tuple[Mask, Mask]) -> None:
    dice, iou = metrics.dice(count(*pair)), metrics.iou(count(*pair))
    assert 0 <= iou <= dice <= 1
    assert dice == pytest.approx(2 * iou / (1 + iou), abs=1e-12)


@settings(deadline=None)
@given(mask_pairs(), SPACINGS, TOLERANCES)
def test_swapping_the_masks_changes_only_what_it_should(
    pair: tuple[Mask, Mask], spacing: tuple[float, float, float], tolerance: float
) -> None:
    prediction, truth = pair
    there, back = count(prediction, truth), count(truth, prediction)
    assert metrics.dice(there) == metrics.dice(back)
    assert metrics.iou(there) == metrics.iou(back)
    assert metrics.precision(there) == metrics.recall(back)
    distances = metrics.measure_surface_distances(prediction, truth, spacing)
    swapped = metrics.measure_surface_distances(truth, prediction, spacing)
    assert metrics.hausdorff95(distances) == metrics.hausdorff95(swapped)
    assert metrics.surface_dice(distances, tolerance) == metrics.surface_dice(swapped, tolerance)
    lesions, exchanged = metrics.match_lesions(prediction, truth), metrics.match_lesions(truth, prediction)
    assert (lesions.missed, lesions.false) == (exchanged.false, exchanged.missed)


@settings(deadline=None)
@given(mask_pairs(), SPACINGS, TOLERANCES)
def test_surface_scores_agree_with_a_distance_transform_of_the_whole_volume(
    pair: tuple[Mask, Mask], spacing: tuple[float, float, float], tolerance: float
) -> None:
    prediction, truth = pair
    distances = metrics.measure_surface_distances(prediction, truth, spacing)
    if not (prediction.any() and truth.any()):
        alone = bool(prediction.any() or truth.any())
        assert metrics.hausdorff95(distances) == (math.inf if alone else 0.0)
        assert metrics.surface_dice(distances, tolerance) == (0.0 if alone else 1.0)
        return
    there, back = reference_distances(prediction, truth, spacing)
    farthest = max(np.percentile(there, 95), np.percentile(back, 95))
    assert metrics.hausdorff95(distances) == pytest.approx(farthest, rel=1e-6, abs=1e-6)
    # Sums of squares that are the tolerance exactly come out of either way a rounding above it.
    within = np.count_nonzero(there <= tolerance + 1e-6) + np.count_nonzero(back <= tolerance + 1e-6)
    assert metrics.surface_dice(distances, tolerance) == pytest.approx(within / (there.size + back.size), abs=1e-6)


@pytest.mark.parametrize("seed", range(4))
@pytest.mark.parametrize("spacing", [(1.0, 1.0, 1.0), (0.9375, 0.9375, 6.5), (0.5, 2.0, 3.1)])
def test_surface_scores_of_large_masks_agree_with_the_reference_and_with_monai(
    seed: int, spacing: tuple[float, float, float]
) -> None:
    prediction, truth = draw_blobs(seed)
    distances = metrics.measure_surface_distances(prediction, truth, spacing)
    references = reference_distances(prediction, truth, spacing)
    for measured, reference in zip(distances, references, strict=True):
        np.testing.assert_allclose(np.sort(measured), np.sort(reference), rtol=1e-6)
    one_hot = {name: torch.tensor(mask)[None, None] for name, mask in (("y_pred", prediction), ("y", truth))}
    monai_hd95 = compute_hausdorff_distance(**one_hot, include_background=True, percentile=95, spacing=spacing)
    # MONAI interpolates the percentile in float32.
    assert metrics.hausdorff95(distances) == pytest.approx(monai_hd95.item(), rel=1e-4)
    monai_nsd = compute_surface_dice(**one_hot, class_thresholds=[2.2], include_background=True, spacing=spacing)
    assert metrics.surface_dice(distances, 2.2) == pytest.approx(monai_nsd.item(), rel=1e-6)


def test_a_box_shifted_along_the_slices_lies_one_slice_thickness_away() -> None:
    truth, prediction = np.zeros((2, 20, 20, 12), dtype=bool)
    truth[5:15, 5:15, 3:8] = True
    prediction[5:15, 5:15, 4:9] = True
    distances = metrics.measure_surface_distances(prediction, truth, (1.0, 1.0, 5.0))
    assert metrics.hausdorff95(distances) == pytest.approx(5.0)
    # Of each end face the inner voxels, and beyond it the whole slice, face no border on their own slice.
    assert metrics.surface_dice(distances, 4.9) < 1.0
    assert metrics.surface_dice(distances, 5.0) == 1.0


@settings(deadline=None)
@given(mask_pairs(), SPACINGS, st.integers(1, 4))
def test_empty_space_around_the_masks_changes_no_surface_or_lesion(
    pair: tuple[Mask, Mask], spacing: tuple[float, float, float], width: int
) -> None:
    padded = [np.pad(mask, width) for mask in pair]
    near, far = (metrics.measure_surface_distances(a, b, spacing) for a, b in (pair, padded))
    np.testing.assert_array_equal(np.concatenate(near), np.concatenate(far))
    assert metrics.match_lesions(*pair) == metrics.match_lesions(padded[0], padded[1])


@settings(deadline=None)
@given(mask_pairs(), SPACINGS)
def test_distances_scale_with_the_spacing(pair: tuple[Mask, Mask], spacing: tuple[float, float, float]) -> None:
    once = metrics.hausdorff95(metrics.measure_surface_distances(*pair, spacing))
    twice = metrics.hausdorff95(metrics.measure_surface_distances(*pair, tuple(2 * size for size in spacing)))
    assert twice == pytest.approx(2 * once, rel=1e-6)


@settings(deadline=None)
@given(mask_pairs(), SPACINGS)
def test_a_larger_tolerance_never_lowers_surface_dice(
    pair: tuple[Mask, Mask], spacing: tuple[float, float, float]
) -> None:
    distances = metrics.measure_surface_distances(*pair, spacing)
    scores = [metrics.surface_dice(distances, tolerance) for tolerance in (0.0, 1.0, 2.0, 10.0)]
    assert scores == sorted(scores)


@settings(deadline=None)
@given(mask_pairs())
def test_lesions_agree_with_a_flood_fill(pair: tuple[Mask, Mask]) -> None:
    prediction, truth = pair
    in_truth, in_prediction = reference_components(truth), reference_components(prediction)
    found = sum(any(lesion & other for other in in_prediction) for lesion in in_truth)
    false = sum(not any(lesion & other for other in in_truth) for lesion in in_prediction)
    assert metrics.match_lesions(prediction, truth) == Lesions(found, len(in_truth) - found, false)


@settings(deadline=None)
@given(st.lists(st.tuples(st.booleans(), st.sampled_from([-math.inf, 0.0, 0.1, 0.5, 7.0, math.inf])), min_size=1))
def test_auroc_is_the_chance_of_ranking_a_pair_right(things: list[tuple[bool, float]]) -> None:
    with_tumour = [score for present, score in things if present]
    without = [score for present, score in things if not present]
    wins = [(a > b) + 0.5 * (a == b) for a in with_tumour for b in without]
    area = metrics.auroc(np.array([present for present, _ in things]), np.array([score for _, score in things]))
    assert area == (pytest.approx(np.mean(wins), abs=1e-9) if wins else None)


def test_auroc_agrees_with_scikit_learn() -> None:
    rng = np.random.default_rng(0)
    present = rng.random(2000) < 0.3
    scores = np.round(rng.normal(size=2000) + present, 1)
    assert metrics.auroc(present, scores) == pytest.approx(roc_auc_score(present, scores), abs=1e-6)


@pytest.mark.parametrize("score", [metrics.dice, metrics.iou, metrics.precision, metrics.recall])
def test_the_empty_rule_is_one_for_both_and_zero_for_one(score: Callable[[Counts], float]) -> None:
    assert score(Counts(0, 0, 0, 9)) == 1.0
    assert score(Counts(0, 3, 0, 6)) == 0.0
    assert score(Counts(0, 0, 3, 6)) == 0.0


def test_a_volume_that_is_all_tumour_has_no_background_to_lose() -> None:
    assert metrics.specificity(Counts(9, 0, 0, 0)) == 1.0
    assert metrics.specificity(Counts(6, 0, 3, 0)) == 0.0


def test_masks_are_left_as_they_were() -> None:
    masks = np.zeros((2, 10, 10, 8), dtype=bool)
    masks[0][BOXES[0]] = masks[1][BOXES[1]] = True
    before = masks.copy()
    metrics.measure_surface_distances(masks[0], masks[1], (1, 1, 1))
    metrics.match_lesions(masks[0], masks[1])
    metrics.count_slices(masks[0], masks[1])
    np.testing.assert_array_equal(masks, before)
