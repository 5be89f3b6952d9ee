"""Scores of made-up patients, and probability maps with the truths that they are about."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import numpy as np

from monai_brainseg.scoring.metrics import Counts, Lesions
from monai_brainseg.scoring.patients import PatientScores

EMPTY, MISSED, FOUND, INVENTED = Counts(0, 0, 0, 9), Counts(0, 0, 4, 5), Counts(3, 1, 1, 4), Counts(0, 2, 0, 7)


def make_patient(slices: Sequence[Counts], name: str = "p", **changes: Any) -> PatientScores:
    scores = {"hd95": 1.0, "surface_dice": 0.5, "lesions": Lesions(1, 0, 0), "site": "S", "spacing": None}
    return PatientScores(patient=name, slices=tuple(slices), **{"subject": name, **scores, **changes})


def draw_map(seed: int, size: int = 4000) -> tuple[np.ndarray, np.ndarray]:
    """Return probability and truth, the former higher on the average where there is tumour."""
    rng = np.random.default_rng(seed)
    truth = rng.random(size) < 0.1 + 0.05 * seed
    return rng.beta(np.where(truth, 3.0, 1.0), np.where(truth, 1.5, 4.0)).astype(np.float32), truth
