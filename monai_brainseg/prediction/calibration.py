"""Measure what is usual of studies that a network has not seen, and write it into the network's weights."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import replace
from pathlib import Path
from typing import NamedTuple

import numpy as np
from tqdm import tqdm

from monai_brainseg.data.case_voxels import find_own, read_images
from monai_brainseg.data.cases import Case, find_prepared
from monai_brainseg.data.splits import Item, select_items
from monai_brainseg.errors import InputError
from monai_brainseg.images.volumes import Volume
from monai_brainseg.prediction.confidence import measure_confidence
from monai_brainseg.prediction.doubts import look_at_images
from monai_brainseg.prediction.familiarity import (
    Descriptor,
    Familiar,
    Signs,
    TrainingSpace,
    Usual,
    find_usual,
    to_checkpoint,
)
from monai_brainseg.prediction.options import Model, Options, load_model
from monai_brainseg.prediction.segmenters import Segmentation
from monai_brainseg.weights.checkpoints import read_checkpoint, write_checkpoint
from monai_brainseg.weights.provenance import find_seen

FLAGGED = 0.05  # share of usual studies that are called unfamiliar


class Description(NamedTuple):
    """What a network makes of a study.

    Attributes:
        descriptor: of the study.
        confidence: of its mask.
        t1: descriptor of its T1 before contrast in the place of FLAIR; None if it has no such image.
    """

    descriptor: Descriptor
    confidence: float
    t1: Descriptor | None


def calibrate(
    dataset: Path,
    folds: str,
    checkpoint: Path,
    options: Options,
    say: Callable[[str], None] = tqdm.write,
) -> None:
    """Write into weights what is usual, so that `predict` warns of a study that is not.

    For each fold, its studies are compared with those that its network was trained on. What is usual is the mean and
    the deviation over all folds. The studies of a training that leaves none out are then described by its own network.
    Studies that have a T1 before contrast are described twice, as they are and with T1 for FLAIR.

    Args:
        dataset: prepared folder.
        folds: pattern of the weights of each fold, such as ``runs/fold{fold}/models/model.pt``; folds without
            a file are left out.
        checkpoint: weights to write into; they have seen at least two of the studies.
        options: of the segmentation; its checkpoints are not used.
        say: takes each line of what happens.

    Raises:
        InputError: weights or data cannot be used, no fold has weights, those of a fold have seen it, or the network
            has no encoder to describe studies by.
    """
    items = select_items(dataset, "training")
    signs: list[Signs] = []
    for fold, file in _find_weights(items, folds).items():
        left_out = {item["patient"] for item in items if item["fold"] == fold}
        _check_unseen(file, fold, [item for item in items if item["fold"] == fold])
        described = describe(items, file, options, f"fold {fold}")
        space = TrainingSpace(*gather(each for patient, each in described.items() if patient not in left_out))
        unseen = [each for patient, each in described.items() if patient in left_out]
        signs += [space.measure(each.descriptor, each.confidence) for each in unseen]
    content = read_checkpoint(checkpoint)
    seen = set(find_seen(items, content.get("seen") or ()))
    if len(seen) < 2:
        raise InputError(
            checkpoint, f"was not trained on the studies of {dataset}", "name the weights of such a training"
        )
    described = describe([item for item in items if item["patient"] in seen], checkpoint, options, "all")
    usual, (descriptors, t1) = find_usual(signs, FLAGGED), gather(described.values())
    familiar = Familiar(descriptors, usual, t1 if usual.t1_likeness else None)
    write_checkpoint({**content, **to_checkpoint(familiar)}, checkpoint)
    say(f"{len(signs)} studies left out of training: {_tell(usual)}")
    say(f"wrote {checkpoint}: `brainseg predict` now warns of studies that are unlike these")


def _check_unseen(file: Path, fold: int, items: Sequence[Item]) -> None:
    seen = find_seen(items, read_checkpoint(file).get("seen") or ())
    if seen:
        what = f"was trained or selected on {len(seen)} of {len(items)} studies of fold {fold}"
        raise InputError(file, what, f"name the weights of a training with --fold {fold} --keep_best False")


def _tell(usual: Usual) -> str:
    pairs = {"distance": usual.distance, "confidence": usual.confidence, "likeness to T1": usual.t1_likeness}
    told = [f"{name} {pair[0]:.2f} ± {pair[1]:.2f}" for name, pair in pairs.items() if pair]
    return ", ".join([*told, f"limit {usual.limit:.2f}"])


def describe_case(case: Case, model: Model) -> Description | None:
    """Return what a network makes of a study; None if no slice shows a head."""
    images = find_own(read_images(case))
    result = segment(images, model)
    if result.descriptor is None:
        return None
    t1 = segment({"flair": images["pre"]}, model).descriptor if "pre" in images else None
    return Description(result.descriptor, measure_confidence(result.probability, result.mask), t1)


def segment(images: Mapping[str, Volume], model: Model) -> Segmentation:
    """Segment a study as ``predict`` does."""
    return model.segmenter.segment(images, look_at_images(images).scale)


def _find_weights(items: Sequence[Item], pattern: str) -> dict[int, Path]:
    folds = sorted({item["fold"] for item in items})
    files = {fold: Path(pattern.replace("{fold}", str(fold))) for fold in folds}
    found = {fold: file for fold, file in files.items() if file.is_file()}
    if not found or len(set(found.values())) < len(found):
        raise InputError(
            f"--folds {pattern}",
            "names no weights of a fold" if not found else "names the same weights for each fold",
            "write {fold} in place of the fold's number, such as runs/fold{fold}/models/model.pt",
        )
    return found


def describe(items: Sequence[Item], file: Path, options: Options, name: str) -> dict[str, Description]:
    """Return what weights make of studies, by patient.

    Args:
        items: of a datalist.
        file: the weights.
        options: of the segmentation; its checkpoints are not used.
        name: of the bar.

    Raises:
        InputError: the weights cannot be used, or are of a network without an encoder.
    """
    model = load_model(replace(options, checkpoints=(file,)))
    if model.segmenter.describer is None:
        raise InputError(file, "is of a network without an encoder", "calibrate a network such as the bundle's own")
    cases = find_prepared(items).cases
    found = {case.patient: describe_case(case, model) for case in tqdm(cases, name, unit="study", disable=None)}
    return {patient: each for patient, each in found.items() if each is not None}


def gather(descriptions: Iterable[Description]) -> tuple[Descriptor, Descriptor | None]:
    """Return descriptors ``[study, feature]``, and the mean ``[feature]`` of those with T1 for FLAIR or None."""
    each = list(descriptions)
    t1 = [one.t1 for one in each if one.t1 is not None]
    return np.stack([one.descriptor for one in each]), np.mean(t1, 0) if t1 else None
