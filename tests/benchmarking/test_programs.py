"""What the programs in benchmarks share: single steps of a training, and a GPU's utilisation."""

from __future__ import annotations

import os
from datetime import datetime, timezone
from pathlib import Path
from types import ModuleType
from typing import Any

import pytest
import torch
import yaml
from support.bundle_runs import CONFIGS, NARROW


@pytest.fixture
def steps(monkeypatch: pytest.MonkeyPatch) -> ModuleType:
    """The module of steps, imported as a program in benchmarks does."""
    monkeypatch.setenv("PYTHONPATH", os.environ.get("PYTHONPATH", ""))
    monkeypatch.syspath_prepend("benchmarks")
    import training_steps

    return training_steps


@pytest.fixture
def configs(tmp_path: Path) -> list[str]:
    """Those of a narrow training."""
    overlay = tmp_path / "narrow.yaml"
    overlay.write_text(yaml.safe_dump({**NARROW, "patch_size": [32, 48], "batch_size": 4}))
    return [str(CONFIGS / "train.yaml"), str(overlay)]


def test_bare_step_is_that_of_the_overlay(steps: Any, configs: list[str]) -> None:
    training = steps.read_training(configs, {})
    assert training.shape == (4, 3, 32, 48)
    assert next(training.network.parameters()).shape[0] == 4
    assert isinstance(training.optimizer, torch.optim.AdamW)
    assert steps.measure_bare_step(configs, 2)["images_per_second"] > 0


def test_step_that_draws_by_itself_changes_every_weight(steps: Any, configs: list[str]) -> None:
    training = steps.read_training(configs, {})
    before = [parameter.detach().clone() for parameter in training.network.parameters()]
    draw = steps.make_draw(training)
    images, masks = draw()
    assert images.shape == training.shape
    assert images.is_contiguous(memory_format=torch.channels_last)
    assert masks.shape == (4, 1, 32, 48)
    assert set(masks.unique().tolist()) == {0, 1}
    steps.make_step(training, draw, training.network)()
    assert not any(torch.equal(old, new) for old, new in zip(before, training.network.parameters(), strict=True))


@pytest.mark.gpu
@pytest.mark.skipif(not torch.cuda.is_available(), reason="no CUDA device is at hand, and a CPU has no CUDA graphs")
def test_captured_step_is_measured(steps: Any, configs: list[str]) -> None:
    figures = steps.measure_captured_step(configs, 10)
    assert figures["images_per_second"] > 0
    assert figures["gpu_memory_gib"] > 0


def test_utilisation_is_the_mean_between_two_times(steps: Any, tmp_path: Path) -> None:
    from utilisation import follow_gpu, read_utilisation

    times = [datetime(2026, 1, 1, 12, 0, second, 500_000) for second in range(4)]  # local, as nvidia-smi's
    rows = [f"{time:%Y/%m/%d %H:%M:%S}.500, {percent}" for time, percent in zip(times, (0, 50, 70, 100), strict=True)]
    file = tmp_path / "used.csv"
    file.write_text("\n".join([*rows, "2026/01/01 12:00:01.600, [N/A]", "No devices were found", "2026/01/"]))
    found = read_utilisation(file, times[1].timestamp(), times[2].timestamp())
    assert found == {"gpu_utilisation": pytest.approx(0.6)}
    later = datetime.now(timezone.utc).timestamp()
    assert read_utilisation(file, later, later + 1) == {}
    if not torch.cuda.is_available():
        with follow_gpu(tmp_path / "none.csv"):
            pass
        assert read_utilisation(tmp_path / "none.csv", 0, later) == {}
