"""The folder of a training run: the figures of each epoch, its record and its config."""

from __future__ import annotations

import math
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from monai_brainseg.errors import InputError
from monai_brainseg.files import read_json

Curve = list[tuple[float, float]]

TAGS = ("train_loss", "val_loss", "val_mean_dice", "learning_rate", "images_per_second")


@dataclass(frozen=True)
class TrainingRun:
    """A training run, read from its folder.

    Attributes:
        folder: of the run.
        curves: (epoch, value) of each of ``TAGS`` that was logged.
        record: ``run.json``; empty if there is none.
        config: text of ``config.yaml``; empty if there is none.
    """

    folder: Path
    curves: dict[str, Curve]
    record: dict[str, Any]
    config: str


def read_training_run(folder: Path) -> TrainingRun:
    """Read the folder of a training run.

    Raises:
        InputError: it holds no TensorBoard events of a training, or ``run.json`` is not valid JSON.
    """
    curves = _read_curves(folder / "tensorboard") if (folder / "tensorboard").is_dir() else {}
    if not curves:
        raise InputError(folder, "holds no TensorBoard events of a training", "name the output_dir of a training run")
    record, config = folder / "run.json", folder / "config.yaml"
    content = read_json(record, "name the output_dir of a training run") if record.is_file() else {}
    return TrainingRun(folder, curves, content, config.read_text(encoding="utf-8") if config.is_file() else "")


def _read_curves(folder: Path) -> dict[str, Curve]:
    """Read scalars; if an epoch ran again after an interruption, the later value counts."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator  # takes a second to load

    # 0 keeps all scalars; of everything else, which is large, one is kept.
    sizes = {"scalars": 0, **dict.fromkeys(("images", "audio", "histograms", "compressedHistograms", "tensors"), 1)}
    events = EventAccumulator(str(folder), size_guidance=sizes)
    events.Reload()
    curves = {}
    for tag in sorted(set(TAGS) & set(events.Tags()["scalars"]), key=TAGS.index):
        logged = sorted(events.Scalars(tag), key=lambda event: event.wall_time)
        latest = {event.step: event.value for event in logged if math.isfinite(event.value)}
        if latest:
            curves[tag] = [(float(step), float(value)) for step, value in sorted(latest.items())]
    return curves
