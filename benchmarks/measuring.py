"""What the programs in this folder share: the source tree that they measure, the machine, programs run to their end.

Importing it puts its own source tree first on the path of this program and of all that it starts, so that
nothing has to be installed. It imports nothing heavy by itself, as some programs here time imports.
"""

from __future__ import annotations

import json
import os
import platform
import subprocess
import sys
import time
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    import torch

_TREE = str(Path(__file__).resolve().parent.parent)
sys.path.insert(0, _TREE)
os.environ["PYTHONPATH"] = os.pathsep.join(filter(None, [_TREE, os.environ.get("PYTHONPATH")]))

TRAIN = "bundles/brainseg_unet/configs/train.yaml"


def choose_device() -> torch.device:
    """Return the GPU if there is one, with its index, else the CPU."""
    import torch

    return torch.device("cuda", torch.cuda.current_device()) if torch.cuda.is_available() else torch.device("cpu")


def synchronize(device: torch.device) -> None:
    """Wait until a GPU has done all that it was asked for, before a clock is read."""
    if device.type == "cuda":
        import torch

        torch.cuda.synchronize(device)


def describe_machine() -> dict[str, Any]:
    """Return the machine and the versions, as a record has them."""
    import torch

    from monai_brainseg.records import list_versions
    from monai_brainseg.runs.processors import list_cores

    return {
        "processor": platform.processor() or platform.machine(),
        "cpu_capability": torch.backends.cpu.get_cpu_capability(),
        "processors": os.cpu_count(),
        "processors_allowed": len(list_cores()),
        "threads": torch.get_num_threads(),
        "gpu": torch.cuda.get_device_name() if torch.cuda.is_available() else None,
        "cuda": torch.version.cuda,
        "python": platform.python_version(),
        "versions": list_versions("monai", "torch", "numpy"),
    }


def run_program(words: Sequence[Any], log: Path) -> dict[str, float]:
    """Run a program to its end.

    Args:
        words: the program and its arguments.
        log: where both its outputs go; its end is shown if the program fails.

    Returns:
        ``seconds``, and, not on Windows, ``peak_mib``: the largest resident set of it or any of its children.
    """
    before = time.perf_counter()
    with log.open("w") as stream:
        process = subprocess.Popen([str(word) for word in words], stdout=stream, stderr=subprocess.STDOUT)
        if hasattr(os, "wait4"):
            _, status, usage = os.wait4(process.pid, 0)
            process.returncode = os.waitstatus_to_exitcode(status)
            measured = {"peak_mib": usage.ru_maxrss / (2**20 if sys.platform == "darwin" else 2**10)}  # bytes, or KiB
        else:
            process.wait()
            measured = {}
    if process.returncode:
        raise SystemExit(f"{' '.join(map(str, words))}\n{log.read_text()[-2000:]}")
    return {"seconds": time.perf_counter() - before, **measured}


def read_scalars(output: Path, name: str) -> list[Any]:
    """Return the values of a TensorBoard scalar of a training so far, each with its wall time."""
    from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

    if not (output / "tensorboard").is_dir():
        return []
    events = EventAccumulator(str(output / "tensorboard"))
    events.Reload()
    return events.Scalars(name) if name in events.Tags()["scalars"] else []


def write_record(record: Any, output: Path) -> None:
    """Write the results, and show them."""
    text = json.dumps(record, indent=1)
    output.write_text(text + "\n")
    print(text)
