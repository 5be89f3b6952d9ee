"""How long an epoch takes and how much memory a step: one small step of the real network, timed on this machine."""

from __future__ import annotations

import time
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any

import torch
from brainseg_unet_scripts.precision import name_precision, select_device, select_precision
from monai.losses import DiceCELoss

from monai_brainseg.runs.processors import read_peak_memory

_SLICES = 4
# End to end, the U-Net bundle's training of 128x128 slices on one core reaches this share of the bare step's speed.
_SHARE = 0.85


@dataclass(frozen=True)
class Workload:
    """What was measured, scaled to the batch of a training.

    Attributes:
        slices_per_second: of the bare step.
        step_bytes: memory of the process (CPU) or on the GPU at the peak of a step.
        device: where.
        precision: in which, such as ``bfloat16``.
    """

    slices_per_second: float
    step_bytes: float
    device: str
    precision: str


def measure_workload(network: torch.nn.Module, settings: Mapping[str, Any], channels: int = 3) -> Workload:
    """Time a step (forward, loss, backward) of a few slices after one to warm up.

    The optimiser, whose import alone takes a second, is left out: its share is small.

    Args:
        network: the bundle's.
        settings: ``patch_size``, ``batch_size`` and ``amp`` of the config.
        channels: of its input.
    """
    device = select_device()
    precision = select_precision(settings.get("amp", "auto"), device)
    network = network.to(device).train()
    network.to(memory_format=torch.channels_last)  # type: ignore[call-overload]
    loss = DiceCELoss(to_onehot_y=True, softmax=True, include_background=False, batch=True)
    images = torch.rand((_SLICES, channels, *settings["patch_size"]), device=device)
    masks = (images[:, :1] > 0.9).float()

    def step() -> None:
        network.zero_grad()
        with torch.autocast(device.type, dtype=precision, enabled=precision != torch.float32):
            answer = network(images.to(memory_format=torch.channels_last))
        loss(answer.float(), masks).backward()
        if device.type == "cuda":
            torch.cuda.synchronize()

    before = _measure_peak(device)
    step()
    after = _measure_peak(device)
    started = time.perf_counter()
    step()
    seconds = time.perf_counter() - started
    batch = int(settings.get("batch_size", 1))
    fixed = sum(p.numel() for p in network.parameters()) * 16  # weights, gradients, two moments, in float32
    growing = max(0.0, after - before - fixed) / _SLICES * batch
    return Workload(_SLICES / seconds, before + fixed + growing, str(device), name_precision(precision))


def _measure_peak(device: torch.device) -> float:
    if device.type == "cuda":
        return float(torch.cuda.max_memory_allocated())
    return float(read_peak_memory())


def estimate_epoch(workload: Workload, volumes: int, settings: Mapping[str, Any]) -> float:
    """Return the seconds of an epoch of training, without validation."""
    slices = volumes * int(settings.get("slices_per_volume", 1))
    return slices / (workload.slices_per_second * _SHARE)
