"""How sure a network is of a mask: a map of its doubt, and one number for the patient."""

from __future__ import annotations

import numpy as np


def measure_entropy(probability: np.ndarray) -> np.ndarray:
    """Return the entropy of each voxel in bits: 0 where the network is sure, 1 where the odds are even.

    -p log2 p - (1 - p) log2 (1 - p) (Shannon, "A mathematical theory of communication", 1948).

    Args:
        probability: of tumour, float, any shape.
    """
    clipped = np.clip(probability, 1e-7, 1 - 1e-7, dtype=np.float32)
    return np.asarray(-clipped * np.log2(clipped) - (1 - clipped) * np.log2(1 - clipped), dtype=np.float32)


def expect_dice(probability: np.ndarray, mask: np.ndarray) -> float:
    """Return the Dice that a mask would have if the probabilities were right, 2 sum(p m) / (sum p + sum m).

    Read as the confidence of a patient's mask; 1 where there is neither mask nor probability. It is a ratio of
    expectations, which comes close to the expected ratio for many voxels.

    Args:
        probability: of tumour, 0 to 1.
        mask: bool, of the same shape.
    """
    whole = float(probability.sum(dtype=np.float64)) + float(mask.sum())
    return 2 * float(probability[mask].sum(dtype=np.float64)) / whole if whole > 0 else 1.0
