"""How long `brainseg predict` takes for a volume of 155 slices, how much of that is the network, and peak memory.

    python benchmarks/predict.py --checkpoint runs/brainseg_unet/models/model.pt --output predict.json

Makes a synthetic head of 240x240x155 voxels of 1 mm, as NIfTI, and segments it with the command's own code, each kind
in a process of its
own: FLAIR alone, all three sequences, and these with --tta. Start-up (imports, weights) is timed apart. A share is the
network's forward time divided by the time of one study, from reading it to its last file.

Run it in the root of the source tree, which need not be installed; it takes a GPU if there is one.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import tempfile
import time
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
from measuring import describe_machine, synchronize, write_record

KINDS = {"FLAIR alone": (1, False), "three sequences": (3, False), "three sequences, --tta": (3, True)}


def make_study(folder: Path, size: int, slices: int) -> dict[str, Path]:
    """Write a synthetic head as NIfTI of 1 mm, a file each sequence."""
    from monai_brainseg.phantoms.patients import make_phantom

    phantom = make_phantom(np.random.default_rng(0), size=size, slices=slices)
    files = {}
    for role, voxels in zip(("pre", "flair", "post"), np.moveaxis(phantom.images, -1, 0), strict=True):
        files[role] = folder / f"head_{role}.nii.gz"
        image = nib.Nifti1Image(voxels.astype(np.int16) * 4, np.diag([-1.0, -1.0, 1.0, 1.0]))
        image.header.set_xyzt_units("mm")
        nib.save(image, files[role])
    return files


def measure(files: dict[str, Path], arguments: argparse.Namespace, tta: bool) -> dict[str, float | None]:
    """Segment a study in this process; it is the second one that is timed, when every library is warm."""
    started = time.perf_counter()
    import torch

    from monai_brainseg.inputs.search import join_sequences
    from monai_brainseg.prediction.options import Options, load_model
    from monai_brainseg.prediction.studies import segment_case
    from monai_brainseg.runs.processors import read_peak_memory

    options = Options(arguments.bundle, checkpoints=(arguments.checkpoint,), tta=tta, device=arguments.device)
    model = load_model(options)
    inside, device = [0.0], model.segmenter.device
    forward = model.segmenter.network.forward

    def timed(*images: Any) -> Any:
        synchronize(device)
        begun = time.perf_counter()
        answer = forward(*images)
        synchronize(device)
        inside[0] += time.perf_counter() - begun
        return answer

    model.segmenter.network.forward = timed
    case = join_sequences(files["flair"], files.get("pre"), files.get("post"))
    start_up = time.perf_counter() - started
    with tempfile.TemporaryDirectory() as output:
        for _ in range(2):
            inside[0], begun = 0.0, time.perf_counter()
            segment_case(case, model, Path(output), options)
            seconds = time.perf_counter() - begun
    return {
        "seconds": seconds,
        "forward_seconds": inside[0],
        "forward_share": inside[0] / seconds,
        "start_up_seconds": start_up,
        "peak_gib": read_peak_memory() / 2**30,
        "gpu_peak_gib": torch.cuda.max_memory_allocated(device) / 2**30 if device.type == "cuda" else 0.0,
        "threads": torch.get_num_threads(),
    }


def main() -> None:
    """Measure each kind in a process of its own and write the results."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--checkpoint", type=Path, required=True, help="weights of the bundle")
    parser.add_argument("--bundle", default="brainseg_unet", help="brainseg_unet")
    parser.add_argument("--device", help="default: a GPU if there is one")
    parser.add_argument("--size", type=int, default=240)
    parser.add_argument("--slices", type=int, default=155)
    parser.add_argument("--output", type=Path, default=Path("predict.json"))
    parser.add_argument("--measure", nargs=2, metavar=("KIND", "FOLDER"), help=argparse.SUPPRESS)
    arguments = parser.parse_args()
    if arguments.measure:
        count, tta = KINDS[arguments.measure[0]]
        roles = ("flair",) if count == 1 else ("pre", "flair", "post")
        files = {role: Path(arguments.measure[1]) / f"head_{role}.nii.gz" for role in roles}
        print(json.dumps(measure(files, arguments, tta)))
        return
    runs = []
    with tempfile.TemporaryDirectory() as folder:
        make_study(Path(folder), arguments.size, arguments.slices)
        for kind in KINDS:
            command = [sys.executable, __file__, *sys.argv[1:], "--measure", kind, folder]
            done = subprocess.run(command, stdout=subprocess.PIPE, check=True)
            runs.append({"kind": kind, **json.loads(done.stdout.splitlines()[-1])})
    record = {
        "volume": [arguments.size, arguments.size, arguments.slices],
        "machine": describe_machine(),
        "runs": runs,
    }
    write_record(record, arguments.output)


if __name__ == "__main__":
    main()
