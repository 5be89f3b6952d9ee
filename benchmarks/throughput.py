"""Studies a second of `brainseg predict` by one process and by several, and the memory of each.

    OMP_NUM_THREADS=1 python benchmarks/throughput.py --processes 1 2 --studies 40 --output throughput.json

Segments the same synthetic studies by `torchrun --nproc_per_node=N -m monai_brainseg predict`, each number of processes
in turn and several times over, and subtracts the time of the same command when nothing is left to do, which is that of
starting. The peak is the largest resident set of any one process; it is measured with half the studies too, to show
whether it grows with
them. ``scaling`` is the rate of N processes divided by N times that of one: 1 is perfect. Give every process
a core of its own, or the figure means nothing.

Run it in the root of the source tree, which need not be installed; it takes GPUs, shared in turn, if there are any.
"""

from __future__ import annotations

import argparse
import statistics
import sys
import tempfile
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from measuring import describe_machine, run_program, write_record

from monai_brainseg.phantoms.patients import make_phantom


def write_studies(folder: Path, count: int, size: int, slices: int) -> None:
    """Write FLAIR volumes of 1 mm; ten heads in turn, each file another one's bytes."""
    folder.mkdir()
    heads = [make_phantom(np.random.default_rng(seed), size=size, slices=slices) for seed in range(min(count, 10))]
    for number in range(count):
        voxels = heads[number % len(heads)].images[..., 1].astype(np.int16) * 4 + number
        image = nib.Nifti1Image(voxels, np.diag([-1.0, -1.0, 5.0, 1.0]))
        image.header.set_xyzt_units("mm")
        nib.save(image, folder / f"study_{number:05}.nii.gz")


def predict(studies: Path, output: Path, processes: int) -> dict[str, float]:
    """Run the command to its end."""
    words = [sys.executable, "-m", "torch.distributed.run", "--standalone", f"--nproc_per_node={processes}"]
    words += ["-m", "monai_brainseg", "predict", str(studies), "--output", str(output)]
    return run_program(words, output.with_suffix(".log"))


def measure(studies: Path, processes: int) -> dict[str, float]:
    """Return studies a second without the start, and the peak."""
    with tempfile.TemporaryDirectory() as temporary:
        output = Path(temporary) / "masks"
        whole, start = predict(studies, output, processes), predict(studies, output, processes)
        count = len(list(output.glob("*.nii.gz")))
    rate = count / (whole["seconds"] - start["seconds"])
    return {"studies_per_second": rate, "start_seconds": start["seconds"], "peak_mib": whole["peak_mib"]}


def main() -> None:
    """Measure in turn, so that other load of the machine affects all equally."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--processes", type=int, nargs="+", default=[1, 2])
    parser.add_argument("--studies", type=int, default=40)
    parser.add_argument("--size", type=int, default=192)
    parser.add_argument("--slices", type=int, default=24)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--output", type=Path, default=Path("throughput.json"))
    arguments = parser.parse_args()
    found: dict[int, list[dict[str, float]]] = {processes: [] for processes in arguments.processes}
    with tempfile.TemporaryDirectory() as temporary:
        studies, half = Path(temporary) / "all", Path(temporary) / "half"
        write_studies(studies, arguments.studies, arguments.size, arguments.slices)
        write_studies(half, arguments.studies // 2, arguments.size, arguments.slices)
        for turn in range(arguments.repeats):
            for processes in arguments.processes:
                found[processes].append(measure(studies, processes))
                print(f"turn {turn + 1}, {processes} processes: {found[processes][-1]}", flush=True)
        fewer = {processes: measure(half, processes)["peak_mib"] for processes in arguments.processes}
    rates = {each: statistics.median(one["studies_per_second"] for one in runs) for each, runs in found.items()}
    first = arguments.processes[0]
    record: dict[str, Any] = {
        "studies": arguments.studies,
        "volume": [arguments.size, arguments.size, arguments.slices],
        "machine": describe_machine(),
        "runs": {
            each: {
                "studies_per_second": rate,
                "scaling": rate / rates[first] * first / each,
                "peak_mib": max(one["peak_mib"] for one in found[each]),
                "peak_mib_of_half_the_studies": fewer[each],
                "turns": found[each],
            }
            for each, rate in rates.items()
        },
    }
    write_record(record, arguments.output)


if __name__ == "__main__":
    main()
