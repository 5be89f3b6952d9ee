"""Time and memory against the number of patients: prepare, training start-up, an epoch, predict and evaluate.

    python benchmarks/scale.py --patients 10 100 1000 --work runs/scale --output scale.json

Makes synthetic patients and runs each command as a user does, in a process of its own, whose peak is the largest
resident set of it or any of its children. Results are written after each command; if it is run again, also after a
stop, it keeps what is measured, so numbers of patients can be added. ``exponent`` compares two numbers in a row: 1
is time in proportion to patients, 0 is the same time for all. Training keeps up to `cache_num` volumes in memory, 300
by default, so its memory grows up to that number.

Run it in the root of the source tree, which need not be installed; it takes a GPU if there is one.
"""

from __future__ import annotations

import argparse
import json
import math
import shutil
import sys
import time
from pathlib import Path
from typing import Any

from measuring import TRAIN, describe_machine, read_scalars, run_program

from monai_brainseg.files import write_beside
from monai_brainseg.phantoms.patients import write_phantoms

BRAINSEG = [sys.executable, "-m", "monai_brainseg"]


def measure_prepare(folder: Path) -> dict[str, float]:
    """Prepare the slices."""
    shutil.rmtree(folder / "data", ignore_errors=True)
    return run_program([*BRAINSEG, "prepare", folder / "slices", "--output", folder / "data"], folder / "prepare.log")


def measure_training(folder: Path) -> dict[str, float]:
    """Train three epochs without a validation between the first two; an epoch takes four slices of each volume.

    The start-up ends where the first epoch begins: imports, checks of the data, and volumes read into memory.
    """
    shutil.rmtree(folder / "run", ignore_errors=True)
    options = {"dataset_dir": folder / "data", "output_dir": folder / "run", "epochs": 3, "val_interval": 3}
    words = [sys.executable, "-m", "monai.bundle", "run", "training", "--config_file", TRAIN]
    given = [word for name, value in {**options, "slices_per_volume": 4}.items() for word in (f"--{name}", value)]
    began = time.time()
    whole = run_program([*words, *given], folder / "train.log")
    ends = [event.wall_time for event in read_scalars(folder / "run", "train_loss")]
    epoch = ends[1] - ends[0]
    return {**whole, "epoch_seconds": epoch, "start_up_seconds": ends[0] - began - epoch}


def measure_predict(folder: Path) -> dict[str, float]:
    """Segment every patient with the bundle's weights."""
    shutil.rmtree(folder / "masks", ignore_errors=True)
    words = [*BRAINSEG, "predict", folder / "data", "--part", "all", "--output", folder / "masks"]
    return run_program(words, folder / "predict.log")


def measure_evaluate(folder: Path) -> dict[str, float]:
    """Score every patient's mask."""
    words = [*BRAINSEG, "evaluate", "--datalist", folder / "data", "--predictions", folder / "masks", "--part", "all"]
    return run_program([*words, "--output", folder / "scores", "--allow-seen"], folder / "evaluate.log")


STEPS = {
    "prepare": measure_prepare,
    "training": measure_training,
    "predict": measure_predict,
    "evaluate": measure_evaluate,
}


def find_exponents(runs: dict[str, dict[str, dict[str, float]]]) -> list[dict[str, Any]]:
    """Return how each time and peak grows from one number of patients to the next."""
    numbers = sorted((int(count) for count in runs), key=int)
    found = []
    for few, many in zip(numbers, numbers[1:], strict=False):
        one, other = runs[str(few)], runs[str(many)]
        grown = {
            f"{step} {kind}": math.log(other[step][kind] / one[step][kind]) / math.log(many / few)
            for step in STEPS
            if step in one and step in other
            for kind in one[step]
        }
        found.append({"from": few, "to": many, "exponent": grown})
    return found


def main() -> None:
    """Measure what is not measured yet, the fewest patients first."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--patients", type=int, nargs="+", default=[10, 100])
    parser.add_argument("--size", type=int, default=64, help="columns and rows of a slice")
    parser.add_argument("--slices", type=int, default=8)
    parser.add_argument("--work", type=Path, default=Path("runs/scale"), help="folder for patients and results; kept")
    parser.add_argument("--output", type=Path, default=Path("scale.json"))
    arguments = parser.parse_args()
    volume = [arguments.size, arguments.size, arguments.slices]
    record: dict[str, Any] = {"volume": volume, "machine": describe_machine()}
    runs = json.loads(arguments.output.read_text())["runs"] if arguments.output.is_file() else {}
    for count in sorted(arguments.patients):
        folder, done = arguments.work / str(count), runs.setdefault(str(count), {})
        if not (folder / "slices").is_dir():
            print(f"{count} patients: drawing them", flush=True)
            write_phantoms(folder / "drawn", count, size=arguments.size, slices=arguments.slices)
            (folder / "drawn").rename(folder / "slices")
        for step, carry_out in STEPS.items():
            if step not in done:
                done[step] = carry_out(folder)
                record |= {"runs": runs, "growth": find_exponents(runs)}
                with write_beside(arguments.output) as unfinished:
                    unfinished.write_text(json.dumps(record, indent=1) + "\n")
            numbers = ", ".join(f"{name} {value:.1f}" for name, value in done[step].items())
            print(f"{count} patients: {step}: {numbers}", flush=True)
    print(json.dumps(find_exponents(runs), indent=1))


if __name__ == "__main__":
    main()
