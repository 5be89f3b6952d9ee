"""Scores of one patient from two masks: pure functions of masks and spacing.

A mask is a boolean array, true where there is tumour; prediction and truth have one shape. A volume is indexed
[x, y, z] with slices along the last axis. Spacing is the distance between voxel centres along each axis, in any one
unit; distances come back in that unit.

Empty masks, one rule for every overlap score: where both masks are empty the score is 1, where only one is empty it is
0. No smoothing term is added anywhere.

Sources: Taha and Hanbury, "Metrics for evaluating 3D medical image segmentation", BMC Medical Imaging 15:29 (2015), for
the counts and their ratios; Maier-Hein et al., "Metrics reloaded", Nature Methods 21 (2024), for which of them to
report and for the names. Others stand at the functions.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from typing import NamedTuple

import numpy as np
import numpy.typing as npt
from monai.metrics.utils import get_mask_edges, get_surface_distance
from scipy.ndimage import find_objects, generate_binary_structure, label
from scipy.stats import rankdata

Mask = npt.NDArray[np.bool_]


@dataclass(frozen=True)
class Counts:
    """How many things (voxels, slices or patients) are tumour in truth, in prediction, in both and in neither."""

    true_positives: int = 0
    false_positives: int = 0
    false_negatives: int = 0
    true_negatives: int = 0

    def __add__(self, other: Counts) -> Counts:
        """Pool two sets of counts."""
        return Counts(
            self.true_positives + other.true_positives,
            self.false_positives + other.false_positives,
            self.false_negatives + other.false_negatives,
            self.true_negatives + other.true_negatives,
        )

    @property
    def truth(self) -> int:
        """Tumour in the truth."""
        return self.true_positives + self.false_negatives

    @property
    def predicted(self) -> int:
        """Tumour in the prediction."""
        return self.true_positives + self.false_positives

    @property
    def total(self) -> int:
        """Everything counted."""
        return self.truth + self.false_positives + self.true_negatives

    def of_background(self) -> Counts:
        """Return the same counts with background as the class looked for."""
        return Counts(self.true_negatives, self.false_negatives, self.false_positives, self.true_positives)


def count_slices(prediction: Mask, truth: Mask) -> tuple[Counts, ...]:
    """Count the voxels of each slice of a volume.

    Args:
        prediction: mask [x, y, z].
        truth: mask [x, y, z].

    Returns:
        One ``Counts`` for each z; ``pool`` of them is the volume's.
    """
    within_slice = tuple(range(truth.ndim - 1))
    shared, predicted, true = (mask.sum(axis=within_slice).tolist() for mask in (prediction & truth, prediction, truth))
    size = math.prod(truth.shape[:-1])
    return tuple(Counts(s, p - s, t - s, size - p - t + s) for s, p, t in zip(shared, predicted, true, strict=True))


def pool(counts: Sequence[Counts]) -> Counts:
    """Add counts up, so that a ratio of the sum is a pooled score."""
    return sum(counts, Counts())


def dice(counts: Counts) -> float:
    """Return 2 TP / (2 TP + FP + FN), which is also F1 (Dice, Ecology 26, 1945); 1 where both masks are empty."""
    size = counts.predicted + counts.truth
    return 2 * counts.true_positives / size if size else 1.0


def iou(counts: Counts) -> float:
    """Return TP / (TP + FP + FN), the Jaccard index (New Phytologist 11, 1912); 1 where both masks are empty."""
    union = counts.predicted + counts.false_negatives
    return counts.true_positives / union if union else 1.0


def precision(counts: Counts) -> float:
    """Return TP / (TP + FP), the share of the prediction that is tumour; with nothing predicted 1 if truth is empty."""
    if counts.predicted:
        return counts.true_positives / counts.predicted
    return float(counts.truth == 0)


def recall(counts: Counts) -> float:
    """Return TP / (TP + FN), the share of the tumour that is found; with no tumour 1 if nothing is predicted."""
    if counts.truth:
        return counts.true_positives / counts.truth
    return float(counts.predicted == 0)


def specificity(counts: Counts) -> float:
    """Return TN / (TN + FP), the recall of the background, by the same rule if there is none."""
    return recall(counts.of_background())


class SurfaceDistances(NamedTuple):
    """From each border voxel of one mask the distance to the nearest border voxel of the other, in no order."""

    from_prediction: npt.NDArray[np.float32]
    from_truth: npt.NDArray[np.float32]


def crop_to_tumour(prediction: Mask, truth: Mask) -> tuple[Mask, Mask]:
    """Cut both masks to the bounding box of their union; two empty masks come back with no voxel."""
    box = find_objects((prediction | truth).astype(np.uint8))
    window = box[0] if box else (slice(0, 0),) * truth.ndim
    return prediction[window], truth[window]


def measure_surface_distances(prediction: Mask, truth: Mask, spacing: Sequence[float]) -> SurfaceDistances:
    """Measure how far each mask's border lies from the other's.

    A border voxel is one with a face neighbour outside the mask, or at the volume's own edge (binary erosion with face
    connectivity, MONAI's ``get_mask_edges``); the distance is Euclidean between voxel centres (MONAI's
    ``get_surface_distance``, in float32). Both masks are cropped first: outside the box of their union neither has
    a voxel, so no border and no distance changes.

    Args:
        prediction: mask of any number of dimensions.
        truth: mask of the same shape.
        spacing: distance between voxel centres along each axis.

    Returns:
        The distances of both directions in the unit of ``spacing``; an empty mask has no border voxels, and the
        distance to it is infinite.
    """
    edges = get_mask_edges(*crop_to_tumour(prediction, truth), crop=False)
    if not (edges[0].any() and edges[1].any()):
        return SurfaceDistances(*(np.full(np.count_nonzero(edge), np.inf, dtype=np.float32) for edge in edges))
    scale = np.asarray(spacing, dtype=np.float64)
    there, back = (get_surface_distance(edges[i], edges[1 - i], spacing=scale) for i in (0, 1))
    return SurfaceDistances(there, back)


def hausdorff95(distances: SurfaceDistances) -> float:
    """Return the 95th percentile Hausdorff distance: the larger of the two directions' 95th percentiles.

    Huttenlocher et al., IEEE TPAMI 15(9) (1993), for the distance of partial sets; the larger direction as in MONAI
    and in DeepMind's surface-distance, percentiles by linear interpolation over border voxels. (MONAI's own
    ``compute_hausdorff_distance`` interpolates in float32, which moves the fifth digit.)

    Args:
        distances: what ``measure_surface_distances`` returned.

    Returns:
        A distance in the unit of the spacing: 0 where both masks are empty, infinite where only one is.
    """
    sizes = [direction.size for direction in distances]
    if not all(sizes):
        return math.inf if any(sizes) else 0.0
    return max(float(np.percentile(direction.astype(np.float64), 95)) for direction in distances)


def surface_dice(distances: SurfaceDistances, tolerance: float) -> float:
    """Return the share of both borders that lies within a tolerance of the other border.

    Nikolov et al., arXiv:1809.04430 (2018), with borders counted in voxels as in Seidlitz et al., arXiv:2111.05408
    (2021) and MONAI's ``compute_surface_dice``, not weighted by surface area as in DeepMind's surface-distance.

    Args:
        distances: what ``measure_surface_distances`` returned.
        tolerance: largest distance that counts as agreement, in the unit of the spacing, itself included.

    Returns:
        0 to 1; 1 where both masks are empty, 0 where only one is.
    """
    borders = np.concatenate(distances)
    return float(np.mean(borders <= np.float32(tolerance))) if borders.size else 1.0


class Lesions(NamedTuple):
    """Lesions of the truth that were found and missed, and lesions of the prediction that touch none of the truth."""

    found: int
    missed: int
    false: int


def match_lesions(prediction: Mask, truth: Mask) -> Lesions:
    """Match connected components that share at least one voxel.

    A lesion is a component whose voxels touch at faces, edges or corners. Matching by any overlap as in Carass et al.,
    "Longitudinal multiple sclerosis lesion segmentation", NeuroImage 148 (2017).

    Args:
        prediction: mask of any number of dimensions.
        truth: mask of the same shape.

    Returns:
        Components of the truth found and missed, and components of the prediction that are false.
    """
    prediction, truth = crop_to_tumour(prediction, truth)
    touching = generate_binary_structure(truth.ndim, truth.ndim)
    shared = prediction & truth
    (true_labels, true), (predicted_labels, predicted) = (label(mask, touching) for mask in (truth, prediction))
    found = np.unique(true_labels[shared]).size
    return Lesions(found, true - found, predicted - np.unique(predicted_labels[shared]).size)


def auroc(present: Mask, scores: npt.NDArray[np.float64]) -> float | None:
    """Return the chance that something with tumour scores above something without, a tie counting half.

    Hanley and McNeil, Radiology 143 (1982), by the rank sum of Mann and Whitney. (MONAI's ``compute_roc_auc`` is the
    same number by a loop over elements, too slow to bootstrap.)

    Args:
        present: whether there is tumour, [n].
        scores: the evidence for it, [n], larger meaning more; may be infinite.

    Returns:
        0 to 1, or None where all have tumour or none has.
    """
    positives = np.count_nonzero(present)
    negatives = present.size - positives
    if positives == 0 or negatives == 0:
        return None
    rank_sum = rankdata(scores)[present].sum()
    return float((rank_sum - positives * (positives + 1) / 2) / (positives * negatives))
