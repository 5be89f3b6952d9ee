"""One patient's files into scores: reads truth and prediction, refuses what cannot be compared, measures once."""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from functools import cached_property
from pathlib import Path

import numpy as np

from monai_brainseg.data.splits import Item
from monai_brainseg.errors import InputError
from monai_brainseg.images.labels import round_labels
from monai_brainseg.images.volumes import SHIFT, Volume, measure_shift, read_nifti
from monai_brainseg.scoring import metrics
from monai_brainseg.scoring.metrics import Counts, Lesions, Mask
from monai_brainseg.scoring.probabilities import Histogram, count_bins

OVERLAPS = ("dice", "iou", "precision", "recall", "specificity")

_CUBIC_MM_PER_ML = 1000.0
_REGRID = "resample it onto the truth's grid, or predict from the images that the truth was drawn on"


@dataclass(frozen=True)
class PatientScores:
    """What was measured of one patient; everything else follows from it.

    Attributes:
        patient: name of the case.
        subject: the person, who may have several cases.
        site: where it was scanned.
        spacing: millimetres between voxel centres along x, y and z; None if the files do not give it.
        slices: voxel counts of each slice.
        lesions: lesions found, missed and false.
        hd95: 95th percentile Hausdorff distance in mm, in voxels where spacing is None; infinite where undefined.
        surface_dice: surface Dice at the tolerance of the evaluation, in the same unit.
        peaks: highest tumour probability of each slice, if a probability map is beside the prediction.
        missing: there was no prediction; the counts are those of an empty mask.
        histogram: voxels by tumour probability, ``[2, BINS]`` of background and tumour, where there are ``peaks``; all
            at probability 0 if missing.
    """

    patient: str
    subject: str
    site: str
    spacing: tuple[float, ...] | None
    slices: tuple[Counts, ...]
    lesions: Lesions
    hd95: float
    surface_dice: float
    peaks: tuple[float, ...] | None = None
    missing: bool = False
    histogram: Histogram | None = field(default=None, compare=False)

    @cached_property
    def counts(self) -> Counts:
        """Voxel counts of the whole volume."""
        return metrics.pool(self.slices)

    @property
    def distance_unit(self) -> str:
        """Unit of ``hd95`` and of the tolerance."""
        return "mm" if self.spacing else "voxels"

    @property
    def volume_unit(self) -> str:
        """Unit of ``to_volume``."""
        return "ml" if self.spacing else "voxels"

    def overlap(self, name: str) -> float:
        """Return ``dice``, ``iou``, ``precision``, ``recall`` or ``specificity`` of the volume; 0 if missing."""
        return 0.0 if self.missing else float(getattr(metrics, name)(self.counts))

    def to_volume(self, voxels: int) -> float:
        """Return a number of voxels in millilitres; unchanged where spacing is unknown."""
        return voxels * math.prod(self.spacing) / _CUBIC_MM_PER_ML if self.spacing else float(voxels)

    @property
    def volume_error(self) -> float:
        """Predicted less true volume, in ``volume_unit``."""
        return self.to_volume(self.counts.predicted) - self.to_volume(self.counts.truth)

    @property
    def slice_dices(self) -> list[float]:
        """Dice of each slice that holds tumour in the truth."""
        return [metrics.dice(counts) for counts in self.slices if counts.truth]

    @property
    def area_unit(self) -> str:
        """Unit of ``false_alarm_areas``."""
        return "mm2" if self.spacing else "voxels"

    @property
    def false_alarm_areas(self) -> list[float]:
        """Predicted area on each tumour-free slice that has any."""
        pixel = self.spacing[0] * self.spacing[1] if self.spacing else 1.0
        return [counts.predicted * pixel for counts in self.slices if counts.predicted and not counts.truth]

    @cached_property
    def slice_decisions(self) -> Counts:
        """Slices by whether tumour is there and whether any is predicted; every one wrong if missing."""
        return metrics.pool([self._decide(counts) for counts in self.slices])

    @property
    def decision(self) -> Counts:
        """The same of the patient as a whole: a single count."""
        return self._decide(self.counts)

    def _decide(self, counts: Counts) -> Counts:
        there = counts.truth > 0
        said = not there if self.missing else counts.predicted > 0
        return Counts(there and said, said and not there, there and not said, not there and not said)


def score_patient(item: Item, predictions: Path, tolerance: float) -> PatientScores:
    """Read one patient's truth and prediction and score them on the truth's grid.

    Args:
        item: the case as ``splits.read_datalist`` gives it; distances are in millimetres where both it and the file of
            its mask know the spacing, otherwise in voxels.
        predictions: folder of ``<patient>.nii.gz`` on the truth's grid and, where there is one, tumour probabilities
            on it, ``<patient>_probability.nii.gz``. No prediction scores as a failure.
        tolerance: of surface Dice, in the same unit as the distances.

    Raises:
        InputError: a file is unreadable, on another grid, or holds other values than it should.
    """
    truth_file = Path(item["label"])
    prediction_file, probability_file = find_predictions(item["patient"], predictions)
    volume = read_nifti(truth_file)
    truth = _to_mask(volume, truth_file)
    missing = not prediction_file.exists()
    prediction, peaks = np.zeros_like(truth), None
    histogram = count_bins(prediction, truth) if missing else None
    if not missing:
        prediction = _to_mask(_read_on_grid(prediction_file, volume, truth_file), prediction_file)
    if not missing and probability_file.exists():
        probability = _read_on_grid(probability_file, volume, truth_file)
        peaks, histogram = _find_peaks(probability, probability_file), count_bins(probability.voxels, truth)
    known = item.get("spacing_known", True) and volume.spacing_known
    spacing = tuple(volume.spacing.tolist()) if known else None
    distances = metrics.measure_surface_distances(prediction, truth, spacing or (1.0, 1.0, 1.0))
    return PatientScores(
        patient=item["patient"],
        subject=item.get("subject", item["patient"]),
        site=item.get("site", "unknown"),
        spacing=spacing,
        slices=metrics.count_slices(prediction, truth),
        lesions=metrics.match_lesions(prediction, truth),
        hd95=math.inf if missing else metrics.hausdorff95(distances),
        surface_dice=0.0 if missing else metrics.surface_dice(distances, tolerance),
        peaks=peaks,
        missing=missing,
        histogram=histogram,
    )


def find_predictions(patient: str, predictions: Path) -> tuple[Path, Path]:
    """Return the paths of a patient's predicted mask and probability map."""
    return predictions / f"{patient}.nii.gz", predictions / f"{patient}_probability.nii.gz"


def _to_mask(volume: Volume, path: Path) -> Mask:
    """Return tumour as true."""
    if volume.voxels.ndim != 3:
        raise InputError(path, f"has {volume.voxels.ndim} dimensions, but a mask has 3", "save one label map")
    voxels = round_labels(volume.voxels)
    mask: Mask = voxels == 1
    other = voxels[~mask & (voxels != 0)]
    if other.size:
        raise InputError(path, f"holds the label {other[0]:g}", "a mask holds only 0 (background) and 1 (tumour)")
    return mask


def _read_on_grid(path: Path, truth: Volume, truth_file: Path) -> Volume:
    volume = read_nifti(path)
    if volume.voxels.shape != truth.voxels.shape:
        found, due = ("x".join(map(str, array.shape)) for array in (volume.voxels, truth.voxels))
        raise InputError(path, f"has {found} voxels, but {truth_file} has {due}", _REGRID)
    if (apart := measure_shift(volume, truth)) > SHIFT:
        raise InputError(path, f"its affine differs from that of {truth_file} by up to {apart:.3g} voxels", _REGRID)
    return volume


def _find_peaks(probability: Volume, path: Path) -> tuple[float, ...]:
    """Return the highest probability of each slice."""
    voxels = probability.voxels
    # Written so that NaN is refused too.
    if not (voxels.min() >= 0 and voxels.max() <= 1):
        raise InputError(path, "holds values outside 0 to 1", "save the tumour's probability, or remove the file")
    return tuple(voxels.max(axis=(0, 1)).astype(float).tolist())
