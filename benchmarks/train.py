"""How much of a training is the network's own work, and how ours compares with stock MONAI.

    python benchmarks/train.py data/lgg --repeats 3 --output train.json
    python benchmarks/train.py data/lgg --recipe configs/residual_unet.yaml --output train_residual_unet.json
    python benchmarks/train.py data/lgg --to-dice 0.80 --output time_to_dice.json

The first two measure images per second, in turn in one run, of

- the bare step: forward, loss, backward and optimiser on tensors that are on the device, of the shape and precision
  that the training uses;
- the captured step, with a GPU alone: slices drawn from a set on the device, turned and scaled, forward, loss, backward
  and optimiser, all of it one CUDA graph that is replayed, so that nothing waits for Python;
- ours: the U-Net bundle's `run training` from end to end, waiting for data, augmentation and handlers included
  (validation is not: it has no part in images per second);
- stock: the same training as stock MONAI does it, benchmarks/stock_train.yaml.

All four use the recipe, so that all train the same network. Ratios are of medians. With a GPU, its memory is
the peak of what torch held, and its utilisation what nvidia-smi says: the share of time with a kernel at work.

The third trains ours, and stock MONAI with its own residual U-Net (configs/recipes/best.yaml), until a validation
reaches that mean Dice, and gives minutes from the start of the process.

Run it in the root of the source tree, which need not be installed; it takes a GPU if there is one.
"""

from __future__ import annotations

import argparse
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from concurrent.futures import ProcessPoolExecutor
from multiprocessing import get_context
from pathlib import Path
from typing import Any

import torch
from measuring import TRAIN, choose_device, describe_machine, read_scalars, write_record
from tqdm import tqdm
from training_steps import measure_bare_step, measure_captured_step
from utilisation import follow_gpu, read_utilisation

STOCK = "benchmarks/stock_train.yaml"
RESIDUAL = ["configs/residual_unet.yaml", "configs/recipes/best.yaml"]  # the network and schedule of stock MONAI
WARM_UP = 1  # epochs left out: the cache is new, and libraries choose their kernels
NO_GRAPH = "not measured: CUDA graphs need a CUDA device"

Figures = dict[str, float]


def measure_alone(measure: Callable[..., Figures], *arguments: Any) -> Figures:
    """Call a function in a process of its own, so that it leaves nothing on the device."""
    with ProcessPoolExecutor(1, get_context("spawn")) as alone:
        return alone.submit(measure, *arguments).result()


def start_training(configs: list[str], dataset: Path, output: Path, **options: Any) -> subprocess.Popen[str]:
    """Start a training in a process of its own, its log in the folder above its output."""
    command = [sys.executable, "-m", "monai.bundle", "run", "training", "--config_file", str(configs)]
    for name, value in {"dataset_dir": dataset, "output_dir": output, **options}.items():
        command += [f"--{name}", str(value)]
    log = output.with_suffix(".log").open("w")
    return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, text=True)


def measure_training(configs: list[str], dataset: Path, epochs: int, visits: int) -> Figures:
    """Return the figures of a training: medians over its epochs, but for the peak of memory."""
    with tempfile.TemporaryDirectory() as temporary:
        output, used = Path(temporary) / "run", Path(temporary) / "used.csv"
        options = {"epochs": epochs + WARM_UP, "val_interval": epochs + WARM_UP, "slices_per_volume": visits}
        with follow_gpu(used):
            failed = start_training(configs, dataset, output, **options).wait()
        if failed:
            raise SystemExit(output.with_suffix(".log").read_text()[-2000:])
        rates = read_scalars(output, "images_per_second")
        memory = read_scalars(output, "gpu_memory_gib")
        return {
            "images_per_second": statistics.median(event.value for event in rates[WARM_UP:]),
            **({"gpu_memory_gib": max(event.value for event in memory)} if memory else {}),
            **read_utilisation(used, rates[WARM_UP - 1].wall_time, rates[-1].wall_time),
        }


def measure_time_to_dice(configs: list[str], dataset: Path, fold: int, dice: float, limit: float) -> dict[str, Any]:
    """Train until a validation reaches ``dice``, or ``limit`` minutes; return minutes and the best Dice."""
    with tempfile.TemporaryDirectory() as temporary:
        output, used = Path(temporary) / "run", Path(temporary) / "used.csv"
        found: list[Any] = []
        with follow_gpu(used):
            before = time.time()
            process = start_training(configs, dataset, output, fold=fold, val_interval=1)
            while process.poll() is None and time.time() - before < limit * 60:
                time.sleep(2)
                found = read_scalars(output, "val_mean_dice")
                if any(event.value >= dice for event in found):
                    break
            process.terminate()
            process.wait()
        found = read_scalars(output, "val_mean_dice")  # the last one may have come as the training ended
        if not found:
            raise SystemExit(output.with_suffix(".log").read_text()[-2000:])
        reached = [event.wall_time for event in found if event.value >= dice]
        return {
            "minutes": (reached[0] - before) / 60 if reached else None,
            "best_dice": max(event.value for event in found),
            "validations": len(found),
            **read_utilisation(used, found[0].wall_time, found[-1].wall_time),
        }


def compare_speeds(arguments: argparse.Namespace, recipe: list[str]) -> dict[str, Any]:
    """Measure in turn, so that other load of the machine affects all equally."""
    ours, stock = [TRAIN, *recipe], [TRAIN, *recipe, STOCK]
    measured: dict[str, list[Figures]] = {"bare_step": [], "ours": [], "stock": []}
    no_graph = None if torch.cuda.is_available() else NO_GRAPH
    for _ in tqdm(range(arguments.repeats), disable=None):
        measured["bare_step"].append(measure_alone(measure_bare_step, ours, arguments.steps))
        if no_graph is None:
            try:
                figures = measure_alone(measure_captured_step, ours, arguments.steps)
                measured.setdefault("captured_step", []).append(figures)
            except Exception as error:  # any error of a network, loss or optimiser that a graph cannot hold
                no_graph = f"failed: {type(error).__name__}: {' '.join(str(error).split())[:300]}"
        for name, configs in (("ours", ours), ("stock", stock)):
            measured[name].append(
                measure_training(configs, arguments.dataset, arguments.epochs, arguments.slices_per_volume)
            )
    return {**summarise(measured), **({"captured_step": no_graph} if no_graph else {})}


def summarise(measured: Mapping[str, list[Figures]]) -> dict[str, Any]:
    """Return every figure of all, and the ratios of the medians of images per second."""
    figures: dict[str, dict[str, list[float]]] = {}
    for name, runs in measured.items():
        for figure, value in (pair for run in runs for pair in run.items()):
            figures.setdefault(figure, {}).setdefault(name, []).append(value)
    medians = {name: statistics.median(values) for name, values in figures["images_per_second"].items()}
    ratios = {
        f"{one}_over_{other}": medians[one] / medians[other]
        for one, other in (
            ("ours", "bare_step"), ("ours", "stock"), ("ours", "captured_step"), ("captured_step", "bare_step"),
        )
        if one in medians and other in medians
    }  # fmt: skip
    return {**figures, **ratios}


def read_arguments() -> argparse.Namespace:
    """Return what the command line asks for."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=lambda text: Path(text).resolve(), help="a prepared folder")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=2, help="of each measured training, after one to warm up")
    on_gpu = choose_device().type == "cuda"
    parser.add_argument(
        "--slices-per-volume", type=int, default=100 if on_gpu else 8, metavar="N",
        help="drawn in such an epoch (default: 8, with a GPU 100)",
    )  # fmt: skip
    parser.add_argument(
        "--steps", type=int, default=400 if on_gpu else 40, help="that are timed bare (default: 40, with a GPU 400)"
    )
    parser.add_argument("--to-dice", type=float, metavar="DICE", help="measure minutes to this validation Dice instead")
    parser.add_argument("--fold", type=int, default=1, help="that --to-dice validates on (default: 1)")
    parser.add_argument("--only-ours", action="store_true", help="leave stock MONAI out of --to-dice")
    parser.add_argument(
        "--limit", type=float, default=60, help="minutes after which a training to --to-dice is stopped (default: 60)"
    )
    parser.add_argument("--recipe", help="overlay, e.g. of another network: configs/residual_unet.yaml")
    parser.add_argument("--output", type=Path, required=True)
    return parser.parse_args()


def main() -> None:
    """Measure and write the results."""
    arguments = read_arguments()
    recipe = [arguments.recipe] if arguments.recipe else []
    if arguments.to_dice:
        trained = {"ours": [TRAIN, *recipe], **({} if arguments.only_ours else {"stock": [TRAIN, *RESIDUAL, STOCK]})}
        result: dict[str, Any] = {
            name: measure_time_to_dice(configs, arguments.dataset, arguments.fold, arguments.to_dice, arguments.limit)
            for name, configs in tqdm(trained.items(), disable=None)
        }
    else:
        result = compare_speeds(arguments, recipe)
    write_record({**result, "recipe": arguments.recipe, "machine": describe_machine()}, arguments.output)


if __name__ == "__main__":
    main()
