"""Trainings of the real config: in this process, to the end or broken off, and by two processes."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest
import torch
from ignite.engine import Engine, Events
from support.bundle_runs import CONFIGS, QUICK, build, command

TRAIN_EPOCHS = 4


class InterruptionError(Exception):
    """Stands for whatever ends a training in the middle of an epoch."""


def train(dataset: Path, output: Path, stop_in: int | None = None, **overrides: Any) -> dict[str, torch.Tensor]:
    """Train in this process, to the end or into epoch ``stop_in``, and return the weights that ``last.pt`` holds."""
    workflow = build("train.yaml", "train", dataset, output, **(QUICK | {"epochs": TRAIN_EPOCHS} | overrides))
    if stop_in is not None:

        @workflow.trainer.on(Events.ITERATION_COMPLETED)
        def stop(engine: Engine) -> None:
            if engine.state.epoch == stop_in:
                raise InterruptionError

        with pytest.raises(RuntimeError) as stopped:
            workflow.run()
        assert isinstance(stopped.value.__cause__, InterruptionError)
    else:
        workflow.run()
    return torch.load(output / "last.pt", weights_only=True)


TWO_STEPS = QUICK | {"epochs": 5, "slices_per_volume": 8, "cache_num": 10}  # two steps an epoch


def torchrun(dataset: Path, output: Path, overlay: str = "{}", **overrides: Any) -> list[str]:
    """The words of a training by two processes."""
    file = output.with_suffix(".yaml")
    file.write_text(overlay)
    overlays = (str(CONFIGS / "multi_gpu_train.yaml"), str(file))
    python, *words = command("training", "train.yaml", dataset, output, *overlays, **(TWO_STEPS | overrides))
    return [python, "-m", "torch.distributed.run", "--standalone", "--nproc_per_node=2", *words]
