"""How much of a training is the network's own work, and how ours compares with stock MONAI.

    python benchmarks/train.py data/lgg --repeats 3 --output train.json
    python benchmarks/train.py data/lgg --to-dice 0.80 --recipe configs/recipes/short.yaml --output time_to_dice.json

The first measures images per second, in turn in one run, of (a) the bare network step, that is forward, loss, backward
and optimiser on tensors that lie in memory, of the shape and precision that the training uses; of the U-Net bundle's
`run training` from end to end, waiting for data, augmentation and handlers included (validation is not: it has no part
in images per second); and of (b) the same training as stock MONAI does it, benchmarks/stock_train.yaml. The second
trains ours (there with the recipe for short trainings) and (b) until a validation reaches that mean Dice, and gives
minutes from the start of the process. Ratios are of medians.
"""

from __future__ import annotations

import argparse
import json
import os
import platform
import statistics
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tqdm import tqdm

TRAIN = "bundles/brainseg_unet/configs/train.yaml"
STOCK = "benchmarks/stock_train.yaml"
WARM_UP = 1  # epochs left out: the cache is new, and libraries choose their kernels


def measure_bare_step(steps: int, definition: dict[str, Any] | None = None, compiled: bool = False) -> float:
    """Return images per second of the bare step, built from the bundle's own definitions.

    Args:
        steps: that are measured, after five to warm up.
        definition: of another network than the bundle's.
        compiled: by ``torch.compile``.
    """
    parser = ConfigParser(ConfigParser.load_config_file(TRAIN))
    parser.update({"network_def": definition or parser["network_def"]})
    network, loss = parser.get_parsed_content("network"), parser.get_parsed_content("loss")
    optimizer = torch.optim.AdamW(network.parameters(), lr=1e-3, weight_decay=1e-4, fused=True)
    device, precision = (parser.get_parsed_content(name) for name in ("device", "precision"))
    batch = parser["batch_size"] * parser["slices_per_volume"]
    generator = torch.Generator().manual_seed(0)
    images = torch.rand((batch, 3, *parser["patch_size"]), generator=generator)
    masks = (images[:, 1:2] > 0.9).float().to(device)
    images = images.to(device, memory_format=torch.channels_last)
    network.train()
    run = torch.compile(network) if compiled else network

    def step() -> None:
        optimizer.zero_grad()
        with torch.autocast(device.type, dtype=precision, enabled=precision != torch.float32):
            logits = run(images)
        loss(logits.float(), masks).backward()
        optimizer.step()
        if device.type == "cuda":
            torch.cuda.synchronize()

    for _ in range(5):
        step()
    before = time.perf_counter()
    for _ in range(steps):
        step()
    return batch * steps / (time.perf_counter() - before)


def start_training(configs: list[str], dataset: Path, output: Path, **options: Any) -> subprocess.Popen[str]:
    """Start a training in a process of its own, its log in the folder above its output."""
    command = [sys.executable, "-m", "monai.bundle", "run", "training", "--config_file", str(configs)]
    for name, value in {"dataset_dir": dataset, "output_dir": output, **options}.items():
        command += [f"--{name}", str(value)]
    log = output.with_suffix(".log").open("w")
    return subprocess.Popen(command, stdout=log, stderr=subprocess.STDOUT, text=True)


def read_scalars(output: Path, name: str) -> list[Any]:
    """Return the values of a TensorBoard scalar so far, each with its wall time."""
    events = EventAccumulator(str(output / "tensorboard"))
    events.Reload()
    return events.Scalars(name) if name in events.Tags()["scalars"] else []


def measure_training(configs: list[str], dataset: Path, epochs: int) -> float:
    """Return the median over epochs of the images per second of a training."""
    with tempfile.TemporaryDirectory() as temporary:
        output = Path(temporary) / "run"
        options = {"epochs": epochs + WARM_UP, "val_interval": epochs + WARM_UP, "volume_visits": 4}
        if start_training(configs, dataset, output, **options).wait():
            raise SystemExit(output.with_suffix(".log").read_text()[-2000:])
        return statistics.median(event.value for event in read_scalars(output, "images_per_second")[WARM_UP:])


def measure_time_to_dice(configs: list[str], dataset: Path, dice: float, limit: float) -> dict[str, Any]:
    """Train until a validation reaches ``dice``, or ``limit`` minutes; return minutes and the best Dice."""
    with tempfile.TemporaryDirectory() as temporary:
        output = Path(temporary) / "run"
        before = time.time()
        process = start_training(configs, dataset, output, val_interval=1)
        found: list[Any] = []
        while process.poll() is None and time.time() - before < limit * 60:
            time.sleep(2)
            found = read_scalars(output, "val_mean_dice") if (output / "tensorboard").is_dir() else []
            if found and max(event.value for event in found) >= dice:
                break
        process.terminate()
        process.wait()
        if not found:
            raise SystemExit(output.with_suffix(".log").read_text()[-2000:])
        reached = [event for event in found if event.value >= dice]
        minutes = (reached[0].wall_time - before) / 60 if reached else None
        return {"minutes": minutes, "best_dice": max(event.value for event in found), "validations": len(found)}


def main() -> None:
    """Measure in turn, so that what else the machine does falls on all alike."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path, help="a prepared folder")
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--epochs", type=int, default=2, help="of each measured training, after one to warm up")
    parser.add_argument("--to-dice", type=float, metavar="DICE", help="measure minutes to this validation Dice instead")
    parser.add_argument(
        "--limit", type=float, default=60, help="minutes after which a training to --to-dice is stopped"
    )
    parser.add_argument("--recipe", help="overlay on ours alone, e.g. of a wiser network: configs/recipes/short.yaml")
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    if arguments.recipe and not arguments.to_dice:
        parser.error("--recipe: only with --to-dice, as the bare step and stock MONAI are of the bundle's own network")
    dataset = arguments.dataset.resolve()
    ours, stock = [TRAIN, *filter(None, [arguments.recipe])], [TRAIN, STOCK]
    result: dict[str, Any]
    if arguments.to_dice:
        result = {
            name: measure_time_to_dice(configs, dataset, arguments.to_dice, arguments.limit)
            for name, configs in tqdm({"ours": ours, "stock": stock}.items(), disable=None)
        }
    else:
        rates: dict[str, list[float]] = {"bare_step": [], "ours": [], "stock": []}
        for _ in tqdm(range(arguments.repeats), disable=None):
            rates["bare_step"].append(measure_bare_step(40))
            rates["ours"].append(measure_training(ours, dataset, arguments.epochs))
            rates["stock"].append(measure_training(stock, dataset, arguments.epochs))
        medians = {name: statistics.median(values) for name, values in rates.items()}
        result = {
            "images_per_second": rates,
            "ours_over_bare_step": medians["ours"] / medians["bare_step"],
            "ours_over_stock": medians["ours"] / medians["stock"],
        }
    result["machine"] = {
        "processor": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "processors_allowed": len(os.sched_getaffinity(0)),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "torch": torch.__version__,
    }
    arguments.output.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
