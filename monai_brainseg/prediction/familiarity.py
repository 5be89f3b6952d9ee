"""Is a study like those that a network was trained on? If it is not, no mask of it should be relied on.

Each study is described by what the network's encoder makes of its slices. How far that is from the training studies is
their Mahalanobis distance (Lee et al., "A simple unified framework for detecting out-of-distribution samples and
adversarial attacks", NeurIPS 2018). A study with an unusual distance or an unusually low confidence is unfamiliar.
`brainseg calibrate` measures on studies left out of training what is usual, and writes it into the weights.
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any

import numpy as np
import numpy.typing as npt
import torch

from monai_brainseg.errors import InputError

Descriptor = npt.NDArray[np.float64]

KEY = "familiar"  # of a checkpoint
LEVELS = slice(
    2, 4
)  # of the encoder, an eighth and a sixteenth of the size: sharpness and shapes (docs/experiments.md)
_AIR = 0.1  # of the tissue's median: what is darker in all sequences is no head
_SMALL = 0.05  # of a window; the few slices with less tissue show no brain
_SHRINKAGE = 0.1  # of the covariance towards that of unrelated features: there are more features than studies


class StudyDescriber:
    """Follows a network's encoder while it segments a study, and describes that study.

    Args:
        network: with ``encoder``, which returns a list of features ``[batch, channel, ...]``, as MONAI's
            ``FlexibleUNet`` has one.
    """

    def __init__(self, network: torch.nn.Module) -> None:
        self._slices: list[torch.Tensor] = []
        network.get_submodule("encoder").register_forward_hook(self._describe_slices)

    def start(self) -> None:
        """Begin with another study."""
        self._slices.clear()

    def finish(self) -> Descriptor | None:
        """Return the mean over slices of the mean and the deviation of each feature; None if no slice shows a head."""
        slices = torch.cat(self._slices) if self._slices else torch.empty(0)
        return slices.double().mean(0).numpy() if len(slices) else None

    def _describe_slices(
        self, encoder: torch.nn.Module, inputs: tuple[torch.Tensor], levels: list[torch.Tensor]
    ) -> None:
        tissue = (inputs[0].amax(1) > _AIR).float().mean((1, 2))
        flat = [level.float().flatten(2) for level in levels[LEVELS]]
        values = torch.cat([each.mean(2) for each in flat] + [each.std(2) for each in flat], 1)
        self._slices.append(values[tissue > _SMALL].cpu())


@dataclass(frozen=True)
class Usual:
    """What is usual of studies that a network has not seen.

    Attributes:
        distance: mean and standard deviation of the logarithm of the distance to the training studies.
        confidence: mean and standard deviation of the confidence.
        limit: a study that is less usual than this, in standard deviations, is unfamiliar.
    """

    distance: tuple[float, float]
    confidence: tuple[float, float]
    limit: float


@dataclass(frozen=True)
class Familiar:
    """What a network is familiar with.

    Attributes:
        descriptors: of its training studies, ``[study, feature]``.
        usual: of other studies.
    """

    descriptors: Descriptor
    usual: Usual

    def measure(self, descriptor: Descriptor | None, confidence: float) -> float:
        """Return how unusual a study is, in standard deviations of usual ones; infinite if it shows no head."""
        if descriptor is None:
            return float("inf")
        return measure_oddness(self._space.measure(descriptor), confidence, self.usual)

    @cached_property
    def _space(self) -> TrainingSpace:
        return TrainingSpace(self.descriptors)


class TrainingSpace:
    """The training studies as a normal distribution of descriptors.

    Args:
        descriptors: ``[study, feature]``, of two studies or more.
    """

    def __init__(self, descriptors: Descriptor) -> None:
        self._mean = descriptors.mean(0)
        self._scale = descriptors.std(0) + 1e-6
        unit = (descriptors - self._mean) / self._scale
        covariance = (1 - _SHRINKAGE) * unit.T @ unit / len(unit) + _SHRINKAGE * np.eye(unit.shape[1])
        self._precision = np.linalg.inv(covariance)

    def measure(self, descriptor: Descriptor) -> float:
        """Return the logarithm of the squared Mahalanobis distance for each feature."""
        unit = (descriptor - self._mean) / self._scale
        return float(np.log(max(unit @ self._precision @ unit / len(unit), 1e-12)))


def measure_oddness(distance: float, confidence: float, usual: Usual) -> float:
    """Return the larger of two deviations from what is usual: a large distance, and a low confidence."""
    far = (distance - usual.distance[0]) / usual.distance[1]
    unsure = (usual.confidence[0] - confidence) / usual.confidence[1]
    return max(far, unsure)


def find_usual(distances: npt.ArrayLike, confidences: npt.ArrayLike, flagged: float) -> Usual:
    """Return what is usual of studies, and the limit that flags a share of them.

    Args:
        distances: of studies, each to the training studies of a network that has not seen it, ``[study]``.
        confidences: of their masks by that network, ``[study]``.
        flagged: share of these studies, e.g. 0.05.
    """
    far, sure = np.asarray(distances, float), np.asarray(confidences, float)
    (distance, confidence) = ((float(each.mean()), float(each.std() + 1e-6)) for each in (far, sure))
    usual = Usual(distance, confidence, limit=0.0)
    oddness = [measure_oddness(*pair, usual) for pair in zip(far, sure, strict=True)]
    return replace(usual, limit=float(np.quantile(oddness, 1 - flagged)))


def to_checkpoint(familiar: Familiar) -> dict[str, Any]:
    """Return what ``from_checkpoint`` reads, of tensors and plain values."""
    descriptors = torch.from_numpy(familiar.descriptors).float()
    return {KEY: {"descriptors": descriptors, "usual": asdict(familiar.usual)}}


def from_checkpoint(content: Mapping[str, Any], file: object) -> Familiar | None:
    """Return what a checkpoint says of the studies that its network is familiar with; None if it says nothing.

    Raises:
        InputError: names the file if that part cannot be used.
    """
    if KEY not in content:
        return None
    try:
        part = content[KEY]
        distance, confidence = (tuple(map(float, part["usual"][name])) for name in ("distance", "confidence"))
        descriptors = part["descriptors"].double().numpy()
        usual = Usual((distance[0], distance[1]), (confidence[0], confidence[1]), float(part["usual"]["limit"]))
        if descriptors.ndim == 2 and len(descriptors) > 1 and np.isfinite(descriptors).all():
            return Familiar(descriptors, usual)
    except (AttributeError, IndexError, KeyError, TypeError, ValueError, RuntimeError):
        pass
    raise InputError(file, f"its part {KEY!r} cannot be used", "write it again with `brainseg calibrate`")
