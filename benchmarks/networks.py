"""What a training step of other networks costs, as a ratio to that of the U-Net bundle's own.

    python benchmarks/networks.py --output networks.json

Slices a second of forward, loss, backward and optimiser on random slices of the bundle's size, in the precision and
memory layout that its training uses. All take turns in each repeat; ratios are of medians. This does not tell how good
a network is; docs/experiments.md does, for those that were trained.

Run it in the root of the source tree, which need not be installed; it takes a GPU if there is one.
"""

from __future__ import annotations

import argparse
import statistics
from contextlib import nullcontext
from pathlib import Path
from typing import Any
from unittest.mock import patch

from measuring import TRAIN, choose_device, describe_machine, write_record
from monai.bundle import ConfigParser
from torch import nn
from tqdm import tqdm
from training_steps import measure_bare_step

ENDS = {"spatial_dims": 2, "in_channels": 3, "out_channels": 2}
RESIDUAL = ConfigParser.load_config_file("configs/residual_unet.yaml")["network_def"]
OTHERS: dict[str, dict[str, Any]] = {
    "residual_unet.yaml": {},
    "one residual unit": {"num_res_units": 1},
    "no residual units": {"num_res_units": 0},
    "half the width": {"channels": [16, 32, 64, 128, 256]},
    "a first level of 8 channels at full size": {"channels": [8, 32, 64, 128, 256, 512], "strides": [1, 2, 2, 2, 2]},
    "BasicUNet": {"_target_": "BasicUNet", **ENDS, "features": [32, 32, 64, 128, 256, 32], "norm": "batch"},
    "SegResNet": {"_target_": "SegResNet", **ENDS, "init_filters": 16, "norm": "BATCH"},
    "AttentionUnet": {"_target_": "AttentionUnet", **ENDS, "channels": [16, 32, 64, 128, 256], "strides": [2] * 4},
}
WIDE = {"decoder_channels": [256, 128, 64, 32, 16]}
PLAIN = "own, its depthwise convolutions under autocast too"


def measure(steps: int, definition: dict[str, Any], compiled: bool = False, plain: bool = False) -> float:
    """Return slices a second; ``plain`` leaves depthwise convolutions to autocast, as any other."""
    from brainseg_unet_scripts.encoders import DepthwiseConv2d  # found since training_steps imported the package

    forward = patch.object(DepthwiseConv2d, "forward", nn.Conv2d.forward) if plain else nullcontext()
    with forward:
        return measure_bare_step([TRAIN], steps, {"network_def": definition}, compiled)["images_per_second"]


def main() -> None:
    """Measure, print and write."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--repeats", type=int, default=3)
    steps = 400 if choose_device().type == "cuda" else 8
    parser.add_argument("--steps", type=int, default=steps, help="that are timed (default: 8, with a GPU 400)")
    parser.add_argument("--only", metavar="TEXT", help="networks whose name holds this, beside the bundle's own")
    parser.add_argument("--compile", action="store_true", help="also the bundle's network by torch.compile")
    parser.add_argument("--output", type=Path, required=True)
    arguments = parser.parse_args()
    own = ConfigParser.load_config_file(TRAIN)["network_def"]
    networks = {"own": own, PLAIN: own, "own, MONAI's decoder channels": {**own, **WIDE}}
    networks |= {name: each if "_target_" in each else {**RESIDUAL, **each} for name, each in OTHERS.items()}
    if arguments.only:
        networks = {name: each for name, each in networks.items() if arguments.only in name or name == "own"}
    rates: dict[str, list[float]] = {}
    for _ in tqdm(range(arguments.repeats), disable=None):
        for name, definition in networks.items():
            rates.setdefault(name, []).append(measure(arguments.steps, definition, plain=name == PLAIN))
        if arguments.compile:
            rates.setdefault("own, compiled", []).append(measure(arguments.steps, own, compiled=True))
    medians = {name: statistics.median(values) for name, values in rates.items()}
    result = {
        "slices_per_second": medians,
        "ratio_to_own": {name: value / medians["own"] for name, value in medians.items()},
        "machine": describe_machine(),
    }
    write_record(result, arguments.output)


if __name__ == "__main__":
    main()
