"""Running the real bundles quickly: the configs as they are, with a narrow network and few steps."""

from __future__ import annotations

import subprocess
import sys
from pathlib import Path
from typing import Any

import torch
from monai.bundle import ConfigParser, ConfigWorkflow

BUNDLE = Path("bundles/brainseg_unet")
CONFIGS = BUNDLE / "configs"
NARROW_UNET: dict[str, Any] = {
    "_target_": "UNet", "spatial_dims": 2, "in_channels": 3, "out_channels": 2, "channels": [4, 8, 8, 8, 8],
    "strides": [2, 2, 2, 2], "num_res_units": 2, "norm": "BATCH", "act": "RELU",
}  # fmt: skip
NARROW = {"network_def": NARROW_UNET}
QUICK = NARROW | {
    "patch_size": [32, 32], "epochs": 2, "val_interval": 1, "cache_num": 20,
    "batch_size": 16, "slices_per_volume": 4,
}  # fmt: skip


def load(config: str) -> dict[str, Any]:
    """Return a config of the U-Net bundle as it is written."""
    return ConfigParser.load_config_file(CONFIGS / config)


def build(config: str, workflow_type: str, dataset: Path, output: Path, **overrides: Any) -> ConfigWorkflow:
    """Return a workflow of a config of the U-Net bundle, initialized."""
    workflow = ConfigWorkflow(
        config_file=str(CONFIGS / config),
        workflow_type=workflow_type,
        run_id={"train": "training", "infer": "inferring"}[workflow_type],
        logging_file=str(CONFIGS / "logging.conf"),
        dataset_dir=str(dataset),
        output_dir=str(output),
        **overrides,
    )
    workflow.initialize()
    return workflow


def command(run_id: str, config: str, dataset: Path, output: Path, *words: str, **overrides: Any) -> list[str]:
    """Return the words of a ``python -m monai.bundle run`` of the U-Net bundle."""
    base = ["inference.yaml"] if config == "evaluate.yaml" else []
    files = [*(str(CONFIGS / name) for name in (*base, config)), *(word for word in words if word.endswith(".yaml"))]
    options = {"config_file": files, "dataset_dir": dataset, "output_dir": output, **overrides}
    start = [sys.executable, "-m", "monai.bundle", "run", run_id]
    return start + [text for name, value in options.items() for text in (f"--{name}", str(value))]


def run(*arguments: Any, **overrides: Any) -> subprocess.CompletedProcess[str]:
    """Run ``command(...)`` to its end and return it with its output; the caller looks at the exit code."""
    return subprocess.run(command(*arguments, **overrides), capture_output=True, text=True, check=False)


def assert_equal(one: Any, other: Any) -> None:
    """Compare nested states to the bit."""
    if isinstance(one, torch.Tensor):
        assert torch.equal(one, other)
    elif isinstance(one, dict):
        assert one.keys() == other.keys()
        for key in one:
            assert_equal(one[key], other[key])
    elif isinstance(one, (list, tuple)):
        assert len(one) == len(other)
        for left, right in zip(one, other, strict=True):
            assert_equal(left, right)
    else:
        assert one == other
