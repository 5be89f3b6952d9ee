"""How fast a bundle's network is by PyTorch, TorchScript and ONNX Runtime, and whether masks stay the same.

    python benchmarks/engines.py data/lgg --output engines.json

Times the forward of a full batch of windows, and whole studies from file to mask, with the engines in turn within one
process, so that ratios hold on a machine that others use too. Ratios are PyTorch's time by the engine's: above 1 the
engine is faster. Dice is that of each engine's masks with PyTorch's, over the studies: least and mean. All compute in
float32 but for bfloat16, which is what `brainseg predict` takes where the processor has it (`--amp`).

Run it in the root of the source tree, which need not be installed; it takes a GPU if there is one. ONNX Runtime, which
computes on the CPU alone, is left out with a GPU, and where the packages onnx and onnxruntime are not there.
"""

from __future__ import annotations

import argparse
import statistics
import tempfile
import time
from collections.abc import Callable, Mapping
from functools import partial
from importlib.util import find_spec
from pathlib import Path
from typing import Any

import torch
from measuring import choose_device, describe_machine, synchronize, write_record

from monai_brainseg.data.cases import find_own, read_images
from monai_brainseg.prediction.segmenting import Segmenter, load_bundle
from monai_brainseg.prediction.studies import find_scans
from monai_brainseg.runs.bundle_folders import find_bundle
from monai_brainseg.serving.exports import export


def make_segmenters(bundle: str, checkpoint: Path | None, device: torch.device) -> dict[str, Segmenter]:
    """Return one for each engine that is there."""
    folder = find_bundle(bundle, "inference.yaml")
    files = [checkpoint or folder / "models" / "model.pt"]
    precisions = {"torch": False, "torchscript": False, "bfloat16": True}
    made = {name: load_bundle(folder, files, device, {"amp": amp}) for name, amp in precisions.items()}
    with tempfile.TemporaryDirectory() as temporary:
        export("torchscript", bundle, checkpoint, Path(temporary) / "model.ts")
        made["torchscript"].network = torch.jit.load(Path(temporary) / "model.ts", map_location=device).eval()
    if device.type == "cpu" and find_spec("onnx") and find_spec("onnxruntime"):
        made["onnxruntime"] = load_bundle(folder, files, device, {}, engine="onnxruntime")
    return made


def compute(segmenter: Segmenter, images: torch.Tensor) -> torch.Tensor:
    """Return the network's answer to a batch in the segmenter's precision."""
    enabled = segmenter.precision != torch.float32
    with torch.autocast(images.device.type, dtype=segmenter.precision, enabled=enabled):
        answer: torch.Tensor = segmenter.network(images)
    return answer


def time_in_turn(calls: Mapping[str, Callable[[], Any]], rounds: int, device: torch.device) -> dict[str, list[float]]:
    """Return the seconds of each call in each round, after one that does not count."""
    seconds: dict[str, list[float]] = {name: [] for name in calls}
    for turn in range(rounds + 1):
        for name, call in calls.items():
            synchronize(device)
            begun = time.perf_counter()
            call()
            synchronize(device)
            if turn:
                seconds[name].append(time.perf_counter() - begun)
    return seconds


def compare(seconds: dict[str, list[float]]) -> dict[str, dict[str, float]]:
    """Return each engine's median seconds, and the median over rounds of PyTorch's time by its own."""
    return {
        name: {
            "seconds": statistics.median(each),
            "ratio": statistics.median(one / own for one, own in zip(seconds["torch"], each, strict=True)),
        }
        for name, each in seconds.items()
    }


def measure_studies(segmenters: dict[str, Segmenter], dataset: Path, count: int, rounds: int) -> dict[str, Any]:
    """Time studies from file to mask, and compare the masks."""
    scans = find_scans([dataset], naming=None, part="test", fold=None, series=None, leave_out=None).scans[:count]
    masks: dict[tuple[str, str], torch.Tensor] = {}

    def segment(name: str) -> None:
        for scan in scans:
            mask = segmenters[name].segment(find_own(read_images(scan.case))).mask
            masks[name, scan.case.patient] = torch.from_numpy(mask)

    calls = {name: partial(segment, name) for name in segmenters}
    results: dict[str, Any] = compare(time_in_turn(calls, rounds, segmenters["torch"].device))
    for name in segmenters:
        dice = []
        for scan in scans:
            one, other = masks["torch", scan.case.patient], masks[name, scan.case.patient]
            whole = int(one.sum() + other.sum())
            dice.append(2 * int((one & other).sum()) / whole if whole else 1.0)
        results[name] |= {"least_dice": min(dice), "mean_dice": statistics.mean(dice)}
    return {"studies": len(scans), "engines": results}


def main() -> None:
    """Measure and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path, help="a prepared folder; its test part is segmented")
    parser.add_argument("--bundle", default="brainseg_unet")
    parser.add_argument("--checkpoint", type=Path, help="default: the bundle's own")
    parser.add_argument("--studies", type=int, default=6)
    parser.add_argument("--rounds", type=int, default=5)
    parser.add_argument("--output", type=Path, default=Path("engines.json"))
    arguments = parser.parse_args()
    device = choose_device()
    segmenters = make_segmenters(arguments.bundle, arguments.checkpoint, device)
    images = torch.rand(16, 3, 128, 128, generator=torch.Generator().manual_seed(0)).to(device)
    calls = {name: partial(compute, each, images) for name, each in segmenters.items()}
    with torch.inference_mode():
        forward = compare(time_in_turn(calls, 2 * arguments.rounds, device))
    record = {
        "machine": describe_machine(),
        "device": str(device),
        "forward_16_windows_of_128x128": forward,
        **measure_studies(segmenters, arguments.dataset, arguments.studies, arguments.rounds),
    }
    write_record(record, arguments.output)


if __name__ == "__main__":
    main()
