"""Is a study like those that a network was trained on? If it is not, no mask of it should be relied on.

Each study is described by what the network's encoder makes of its slices. How far that is from the training studies is
their Mahalanobis distance (Lee et al., "A simple unified framework for detecting out-of-distribution samples and
adversarial attacks", NeurIPS 2018). The likeliest mistake is a T1-weighted image given as FLAIR. Such a study is nearer
to the training studies with their own T1 in the place of FLAIR than to the training studies as they are. A study with
an unusual distance, likeness to T1 or low confidence is unfamiliar. `brainseg calibrate` measures on studies left out
of training what is usual, and writes it into the weights.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import asdict, dataclass, replace
from functools import cached_property
from typing import Any, NamedTuple

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


class Signs(NamedTuple):
    """What may be unusual of a study.

    Attributes:
        distance: logarithm of the squared Mahalanobis distance to the training studies for each feature.
        confidence: of its mask.
        t1_likeness: how much less far it is from the training studies with T1 in the place of FLAIR, in squared
            Mahalanobis distance for each feature; None if no training study had a T1.
    """

    distance: float
    confidence: float
    t1_likeness: float | None = None


@dataclass(frozen=True)
class Usual:
    """What is usual of studies that a network has not seen: mean and standard deviation of each sign.

    Attributes:
        limit: a study that is less usual than this, in standard deviations, is unfamiliar.
    """

    distance: tuple[float, float]
    confidence: tuple[float, float]
    limit: float
    t1_likeness: tuple[float, float] | None = None


class Oddness(NamedTuple):
    """How unusual a study is.

    Attributes:
        value: the largest deviation of a sign, in standard deviations of usual studies.
        sign: the name of that sign, see ``Signs``.
    """

    value: float
    sign: str


@dataclass(frozen=True)
class Familiar:
    """What a network is familiar with.

    Attributes:
        descriptors: of its training studies, ``[study, feature]``.
        usual: of other studies.
        t1: mean descriptor of training studies with their own T1 in the place of FLAIR, ``[feature]``; None if no
            study had one.
    """

    descriptors: Descriptor
    usual: Usual
    t1: Descriptor | None = None

    def measure(self, descriptor: Descriptor | None, confidence: float) -> Oddness:
        """Return how unusual a study is; infinitely so if it shows no head."""
        if descriptor is None:
            return Oddness(float("inf"), "distance")
        return measure_oddness(self._space.measure(descriptor, confidence), self.usual)

    @cached_property
    def _space(self) -> TrainingSpace:
        return TrainingSpace(self.descriptors, self.t1)


class TrainingSpace:
    """The training studies as a normal distribution of descriptors.

    Args:
        descriptors: ``[study, feature]``, of two studies or more.
        t1: ``[feature]``, the mean of such studies with T1 in the place of FLAIR.
    """

    def __init__(self, descriptors: Descriptor, t1: Descriptor | None = None) -> None:
        self._mean, self._t1 = descriptors.mean(0), t1
        self._scale = descriptors.std(0) + 1e-6
        unit = (descriptors - self._mean) / self._scale
        covariance = (1 - _SHRINKAGE) * unit.T @ unit / len(unit) + _SHRINKAGE * np.eye(unit.shape[1])
        self._precision = np.linalg.inv(covariance)

    def measure(self, descriptor: Descriptor, confidence: float) -> Signs:
        """Return the signs of a study."""
        own = self._square(descriptor, self._mean)
        likeness = None if self._t1 is None else own - self._square(descriptor, self._t1)
        return Signs(float(np.log(max(own, 1e-12))), confidence, likeness)

    def _square(self, descriptor: Descriptor, center: Descriptor) -> float:
        unit = (descriptor - center) / self._scale
        return float(unit @ self._precision @ unit / len(unit))


def measure_oddness(signs: Signs, usual: Usual) -> Oddness:
    """Return the largest deviation from what is usual: a large distance, a low confidence, a likeness to T1."""
    deviations = [
        Oddness(_deviate(signs.distance, usual.distance), "distance"),
        Oddness(-_deviate(signs.confidence, usual.confidence), "confidence"),
    ]
    if signs.t1_likeness is not None and usual.t1_likeness is not None:
        deviations.append(Oddness(_deviate(signs.t1_likeness, usual.t1_likeness), "t1_likeness"))
    return max(deviations)


def _deviate(value: float, usual: tuple[float, float]) -> float:
    return (value - usual[0]) / usual[1]


def find_usual(studies: Sequence[Signs], flagged: float) -> Usual:
    """Return what is usual of studies, and the limit that flags a share of them.

    Args:
        studies: the signs of each, measured with a network that has not seen it.
        flagged: share of these studies, e.g. 0.05.
    """
    distance = _spread([study.distance for study in studies])
    confidence = _spread([study.confidence for study in studies])
    likenesses = [study.t1_likeness for study in studies if study.t1_likeness is not None]
    usual = Usual(distance, confidence, limit=0.0, t1_likeness=_spread(likenesses) if likenesses else None)
    oddness = [measure_oddness(study, usual).value for study in studies]
    return replace(usual, limit=float(np.quantile(oddness, 1 - flagged)))


def _spread(values: list[float]) -> tuple[float, float]:
    return float(np.mean(values)), float(np.std(values) + 1e-6)


def to_checkpoint(familiar: Familiar) -> dict[str, Any]:
    """Return what ``from_checkpoint`` reads, of tensors and plain values."""
    descriptors = torch.from_numpy(familiar.descriptors).float()
    t1 = None if familiar.t1 is None else torch.from_numpy(familiar.t1).float()
    return {KEY: {"descriptors": descriptors, "t1": t1, "usual": asdict(familiar.usual)}}


def from_checkpoint(content: Mapping[str, Any], file: object) -> Familiar | None:
    """Return what a checkpoint says of the studies that its network is familiar with; None if it says nothing.

    Raises:
        InputError: names the file if that part cannot be used.
    """
    if KEY not in content:
        return None
    try:
        return _read_part(content[KEY])
    except (AttributeError, IndexError, KeyError, TypeError, ValueError, RuntimeError):
        raise InputError(file, f"its part {KEY!r} cannot be used", "write it again with `brainseg calibrate`") from None


def _read_part(part: Mapping[str, Any]) -> Familiar:
    usual, t1 = part["usual"], part.get("t1")
    distance, confidence = _read_pair(usual["distance"]), _read_pair(usual["confidence"])
    likeness = None if t1 is None else _read_pair(usual["t1_likeness"])
    descriptors = part["descriptors"].double().numpy()
    center = None if t1 is None else t1.double().numpy()
    arrays = [descriptors, *([] if center is None else [center])]
    if descriptors.ndim != 2 or len(descriptors) < 2 or not all(np.isfinite(array).all() for array in arrays):
        raise ValueError
    if center is not None and center.shape != descriptors.shape[1:]:
        raise ValueError
    return Familiar(descriptors, Usual(distance, confidence, float(usual["limit"]), likeness), center)


def _read_pair(values: Sequence[float]) -> tuple[float, float]:
    mean, deviation = map(float, values)
    return mean, deviation
