"""Training steps by themselves, of a training config's own network, loss, optimiser, precision and sizes."""

from __future__ import annotations

import math
import time
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from measuring import synchronize
from monai.bundle import ConfigParser
from torch.nn.functional import affine_grid, grid_sample

from monai_brainseg.runs.processors import choose_threads, keep_freed_memory

BARE_WARM_UP = 5
GRAPH_WARM_UP = 4  # on a stream of its own, as torch asks for before a capture
DRAWN_FROM = 512  # slices
LARGEST_TURN, LARGEST_SCALE = math.radians(35), math.log(1.25)

Batch = tuple[torch.Tensor, torch.Tensor]


@dataclass(frozen=True)
class Training:
    """What a step needs.

    Attributes:
        network: in training mode, on its device.
        loss: of float32 answers and masks.
        optimizer: of the network.
        inferer: runs the network in the precision of the training.
        device: where.
        shape: of a batch of images, ``[batch, channel, x, y]``.
    """

    network: torch.nn.Module
    loss: Callable[[torch.Tensor, torch.Tensor], torch.Tensor]
    optimizer: torch.optim.Optimizer
    inferer: Callable[..., torch.Tensor]
    device: torch.device
    shape: tuple[int, ...]


def read_training(configs: Sequence[str], overrides: Mapping[str, Any]) -> Training:
    """Return the parts of a training as its configs define them, with memory and threads as `run` has them."""
    keep_freed_memory()
    choose_threads()
    parser = ConfigParser(ConfigParser.load_config_files(list(configs)))
    parser.update(dict(overrides))
    ids = ("network", "loss", "optimizer", "train::inferer", "device")
    network, loss, optimizer, inferer, device = map(parser.get_parsed_content, ids)
    channels = parser["network_def"].get("in_channels", 3)
    shape = (parser.get_parsed_content("batch_size"), channels, *parser.get_parsed_content("patch_size"))
    return Training(network.train(), loss, optimizer, inferer, device, shape)


def make_step(
    training: Training, draw: Callable[[], Batch], run: Callable[[torch.Tensor], torch.Tensor]
) -> Callable[[], None]:
    """Return a whole step on a batch that ``draw`` returns; ``run`` is the network, or what it was compiled to."""

    def step() -> None:
        training.optimizer.zero_grad()
        images, masks = draw()
        training.loss(training.inferer(images, run), masks).backward()
        training.optimizer.step()

    return step


def time_steps(step: Callable[[], None], count: int, training: Training) -> dict[str, float]:
    """Return images per second, and the peak of memory on a GPU since the process began."""
    synchronize(training.device)
    before = time.perf_counter()
    for _ in range(count):
        step()
    synchronize(training.device)
    figures = {"images_per_second": training.shape[0] * count / (time.perf_counter() - before)}
    if training.device.type == "cuda":
        figures["gpu_memory_gib"] = torch.cuda.max_memory_allocated(training.device) / 2**30
    return figures


def measure_bare_step(
    configs: Sequence[str], steps: int, overrides: Mapping[str, Any] | None = None, compiled: bool = False
) -> dict[str, float]:
    """Time the bare step, on one batch that is on the device.

    Args:
        configs: of a training.
        steps: that are measured, after some to warm up.
        overrides: ids of the configs and values.
        compiled: the network, by ``torch.compile``.
    """
    training = read_training(configs, overrides or {})
    images = torch.rand(training.shape, generator=torch.Generator().manual_seed(0))
    masks = (images[:, -1:] > 0.9).float().to(training.device)
    images = images.to(training.device, memory_format=torch.channels_last)
    run: Any = torch.compile(training.network) if compiled else training.network
    step = make_step(training, lambda: (images, masks), run)
    for _ in range(BARE_WARM_UP):
        step()
    return time_steps(step, steps, training)


def measure_captured_step(configs: Sequence[str], steps: int) -> dict[str, float]:
    """Time a step that one CUDA graph holds, from the draw of slices to the optimiser.

    Args:
        configs: of a training.
        steps: that are measured.
    """
    # Within a graph, weights in 16 bit must be made anew in each step, and the optimiser's numbers are on the device.
    torch.set_autocast_cache_enabled(False)
    rate = "$torch.tensor(float(@learning_rate), device=@device)"
    training = read_training(configs, {"optimizer::capturable": True, "optimizer::lr": rate})
    step = make_step(training, make_draw(training), training.network)
    beside = torch.cuda.Stream(training.device)
    beside.wait_stream(torch.cuda.current_stream(training.device))
    with torch.cuda.stream(beside):
        for _ in range(GRAPH_WARM_UP):
            step()
    torch.cuda.current_stream(training.device).wait_stream(beside)
    training.optimizer.zero_grad()  # gradients are None at the capture, so that the graph makes its own
    graph = torch.cuda.CUDAGraph()
    with torch.cuda.graph(graph):
        step()
    return time_steps(graph.replay, steps, training)


def make_draw(training: Training) -> Callable[[], Batch]:
    """Return a draw of slices from a set on the device, each turned and scaled in its own way by one resampling."""
    batch, *rest = training.shape
    device = training.device
    slices = torch.rand((DRAWN_FROM, *rest), device=device)
    labels = (slices[:, -1:] > 0.9).float()

    def draw() -> Batch:
        chosen = torch.randint(DRAWN_FROM, (batch,), device=device)
        angles = LARGEST_TURN * (2 * torch.rand(batch, device=device) - 1)
        zooms = (LARGEST_SCALE * (2 * torch.rand(batch, device=device) - 1)).exp()
        cosines, sines, zeros = angles.cos() / zooms, angles.sin() / zooms, torch.zeros(batch, device=device)
        rows = [torch.stack([cosines, -sines, zeros], -1), torch.stack([sines, cosines, zeros], -1)]
        grid = affine_grid(torch.stack(rows, 1), list(training.shape), align_corners=False)
        images = grid_sample(slices[chosen], grid, align_corners=False)
        masks = grid_sample(labels[chosen], grid, mode="nearest", align_corners=False)
        return images.contiguous(memory_format=torch.channels_last), masks

    return draw
