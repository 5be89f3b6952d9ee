"""`brainseg benchmark` as its tests run it, and a recipe that trains in seconds."""

from __future__ import annotations

from pathlib import Path

from monai_brainseg.cli.main import main

NARROW = """
based_on: [residual_unet]
network_def::channels: [4, 8, 8, 8, 8]
patch_size: [32, 32]
epochs: 2
batch_size: 16
slices_per_volume: 4
cache_num: 20
"""


def benchmark(dataset: Path, output: Path, recipes: object, *words: object) -> int:
    """Run the command by these recipes, and return its exit code."""
    given = ["--dataset_dir", dataset, "--output", output, "--recipes", recipes, *words]
    return main(["benchmark", *map(str, given)])
