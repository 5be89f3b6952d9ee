"""Ignite handlers that MONAI lacks: epoch seeding, and a summary of each epoch."""

from __future__ import annotations

import logging
import math
import time
from collections.abc import Mapping, Sequence
from typing import Any

import ignite.distributed as idist
import numpy as np
import torch
from ignite.engine import Engine, Events
from monai.data import set_rnd

from monai_brainseg.errors import InputError

logger = logging.getLogger(__name__)


class EpochSeeding:
    """Seed everything random at each epoch from (seed, epoch, rank), so that no random state has to be stored.

    Objects with a ``set_epoch``, such as torch's distributed samplers, get the epoch too.

    Args:
        seed: of the run.
        randomizables: the loader and whatever else draws, e.g. the augmentation; nested ones are found.
    """

    def __init__(self, seed: int, randomizables: Sequence[Any]) -> None:
        self.seed = seed
        self.randomizables = randomizables

    def attach(self, engine: Engine) -> None:
        """Seed at the start of each of the engine's epochs."""
        engine.add_event_handler(Events.EPOCH_STARTED, self)

    def __call__(self, engine: Engine) -> None:
        """Seed torch and every randomizable for the engine's epoch."""
        sequence = np.random.SeedSequence([self.seed, engine.state.epoch, engine.state.rank])
        seeds = [int(word) for word in sequence.generate_state(1 + len(self.randomizables))]
        torch.manual_seed(seeds[0])
        for randomizable, seed in zip(self.randomizables, seeds[1:], strict=True):
            set_rnd(randomizable, seed)
            if hasattr(randomizable, "set_epoch"):
                randomizable.set_epoch(engine.state.epoch)


class EpochSummary:
    """Add a summary of each training epoch to the engine's metrics, for consoles and dashboards.

    ``train_loss`` is the mean over the epoch's iterations, ``images_per_second`` counts the waiting for data too
    (Ignite's ``Frequency`` leaves it out), ``learning_rate`` is that of the last step. Of several processes, the
    losses are averaged and the images added up. With a GPU, ``gpu_memory_gib`` is the peak of what this process held
    on it so far.

    Args:
        optimizer: whose learning rate is shown.
    """

    def __init__(self, optimizer: torch.optim.Optimizer) -> None:
        self.optimizer = optimizer

    def attach(self, engine: Engine) -> None:
        """Follow each of the engine's epochs; attach before what shows the metrics."""
        engine.add_event_handler(Events.EPOCH_STARTED, self._start)
        engine.add_event_handler(Events.ITERATION_COMPLETED, self._follow)
        engine.add_event_handler(Events.EPOCH_COMPLETED, self._summarize)

    def _start(self, engine: Engine) -> None:
        self._losses: list[torch.Tensor] = []
        self._images = 0
        self._started = time.perf_counter()

    def _follow(self, engine: Engine) -> None:
        self._losses.append(engine.state.output["loss"].detach())
        self._images += len(engine.state.output["image"])
        self._learning_rate = self.optimizer.param_groups[0]["lr"]

    def _summarize(self, engine: Engine) -> None:
        loss, images = idist.all_reduce(torch.stack(self._losses).mean()), idist.all_reduce(self._images)
        if not math.isfinite(float(loss)):
            raise InputError(
                f"the loss of epoch {engine.state.epoch}",
                f"is {float(loss)}",
                "look for NaN or infinite voxels with `brainseg check`, or lower --learning_rate",
            )
        engine.state.metrics["train_loss"] = float(loss) / idist.get_world_size()
        engine.state.metrics["images_per_second"] = images / (time.perf_counter() - self._started)
        engine.state.metrics["learning_rate"] = self._learning_rate
        if torch.cuda.is_initialized():
            engine.state.metrics["gpu_memory_gib"] = torch.cuda.max_memory_allocated() / 2**30


def list_logits(output: Sequence[Mapping[str, Any]]) -> tuple[list[torch.Tensor], list[torch.Tensor]]:
    """Return logarithms of the probabilities, whose softmax gives these back, and the labels: what a loss takes.

    Args:
        output: of an evaluator: ``probability`` ``[class, x, y, z]`` and ``label`` ``[1, x, y, z]`` of each patient.
    """
    return [each["probability"].clamp_min(1e-6).log() for each in output], [each["label"] for each in output]
