"""How much memory a training takes, with a prepared data set and with many times its patients.

    python benchmarks/memory.py data/lgg --times 1 10 --output memory.json

Trains one short epoch of the U-Net bundle with its defaults on the data set, and again with every patient listed
several times (a listed patient costs the memory of a patient: nothing is shared between entries), each in a process
of its own, and writes the peak of its resident memory as the operating system counted it, and of a GPU's as torch did.

Run it in the root of the source tree, which need not be installed; it takes a GPU if there is one.
"""

from __future__ import annotations

import argparse
import json
import sys
import tempfile
from pathlib import Path
from typing import Any

from measuring import TRAIN, describe_machine, read_scalars, run_program, write_record

from monai_brainseg.data.splits import read_datalist


def repeat_patients(dataset: Path, times: int, folder: Path) -> int:
    """Write a datalist with each patient ``times`` over, with absolute paths; returns the number of entries."""
    datalist: Any = read_datalist(dataset)
    for part in ("training", "test"):
        datalist[part] = [
            {**item, "patient": f"{item['patient']}-{copy}", "subject": f"{item['patient']}-{copy}"}
            for copy in range(times)
            for item in datalist[part]
        ]
        for item in datalist[part]:
            item["image"] = [str(Path(file).resolve()) for file in item["image"]]
            item["label"] = str(Path(item["label"]).resolve())
    (folder / "datalist.json").write_text(json.dumps(datalist))
    return len(datalist["training"])


def measure(dataset: Path, times: int) -> dict[str, float]:
    """Train one epoch in a process of its own; the peak is the largest resident set of it or any of its children."""
    with tempfile.TemporaryDirectory() as temporary:
        folder = Path(temporary)
        patients = repeat_patients(dataset, times, folder)
        command = [sys.executable, "-m", "monai.bundle", "run", "training", "--config_file", TRAIN]
        command += ["--dataset_dir", str(folder), "--output_dir", str(folder / "run")]
        command += ["--epochs", "1", "--val_interval", "1", "--slices_per_volume", "4"]
        measured = run_program(command, folder / "log")
        on_gpu = [event.value for event in read_scalars(folder / "run", "gpu_memory_gib")]
        return {"training_patients": patients, **measured, **({"gpu_memory_gib": max(on_gpu)} if on_gpu else {})}


def main() -> None:
    """Measure each multiple in turn and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path, help="a prepared folder")
    parser.add_argument("--times", type=int, nargs="+", default=[1, 10], help="multiples of its patients")
    parser.add_argument("--output", type=Path, default=Path("memory.json"))
    arguments = parser.parse_args()
    runs = [{"times": times, **measure(arguments.dataset, times)} for times in arguments.times]
    write_record({"machine": describe_machine(), "runs": runs}, arguments.output)


if __name__ == "__main__":
    main()
