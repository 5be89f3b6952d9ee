"""What a training step of other networks costs, as a ratio to that of the U-Net bundle's own.

    python benchmarks/networks.py --output networks.json

Slices a second of forward, loss, backward and optimiser on random slices of the bundle's size, in the precision and
memory layout that its training uses. All take turns in each repeat; ratios are of medians. How good a network is, this
does not tell: docs/experiments.md does for those that were trained.
"""

from __future__ import annotations

import argparse
import json
import statistics
from pathlib import Path
from typing import Any

from monai.bundle import ConfigParser
from tqdm import tqdm
from train import TRAIN, measure_bare_step

from monai_brainseg.provenance import describe_machine

ENDS = {"spatial_dims": 2, "in_channels": 3, "out_channels": 2}
OTHERS: dict[str, dict[str, Any]] = {
    "one residual unit": {"num_res_units": 1},
    "no residual units": {"num_res_units": 0},
    "half the width": {"channels": [16, 32, 64, 128, 256]},
    "a first level of 8 channels at full size": {"channels": [8, 32, 64, 128, 256, 512], "strides": [1, 2, 2, 2, 2]},
    "BasicUNet": {"_target_": "BasicUNet", **ENDS, "features": [32, 32, 64, 128, 256, 32], "norm": "batch"},
    "SegResNet": {"_target_": "SegResNet", **ENDS, "init_filters": 16, "norm": "BATCH"},
    "AttentionUnet": {"_target_": "AttentionUnet", **ENDS, "channels": [16, 32, 64, 128, 256], "strides": [2] * 4},
}


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    parser.add_argument("--steps", type=int, default=8)
    parser.add_argument("--compile", action="store_true", help="also the bundle's network by torch.compile")
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    own = ConfigParser.load_config_file(TRAIN)["network_def"]
    networks = {"own": own, **{name: o if "_target_" in o else {**own, **o} for name, o in OTHERS.items()}}
    rates: dict[str, list[float]] = {}
    for _ in tqdm(range(arguments.repeats), disable=None):
        for name, definition in networks.items():
            rates.setdefault(name, []).append(measure_bare_step(arguments.steps, definition))
        if arguments.compile:
            rates.setdefault("own, compiled", []).append(measure_bare_step(arguments.steps, own, compiled=True))
    medians = {name: statistics.median(values) for name, values in rates.items()}
    result = {
        "slices_per_second": medians,
        "ratio_to_own": {name: value / medians["own"] for name, value in medians.items()},
        "machine": describe_machine(),
    }
    arguments.output.write_text(json.dumps(result, indent=1) + "\n")
    print(json.dumps(result, indent=1))


if __name__ == "__main__":
    main()
