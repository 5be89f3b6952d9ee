"""A MONAI Label server as its user has it, studies for it, and what the bundle makes of them without it."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
import time
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import requests
from monailabel.client import MONAILabelClient

NAME = "brainseg_unet"
CONFIGS = Path("bundles/brainseg_unet/configs").resolve()
STAND_INS = Path(__file__).parent / "stand_ins"
BIN = Path(sys.executable).parent


def run(*words: str | Path, cwd: Path | None = None) -> str:
    """Run one of the environment's programs to its good end, and return what it said."""
    command = [str(BIN / words[0]), *map(str, words[1:])]
    paths = {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}"}
    done = subprocess.run(command, capture_output=True, text=True, check=False, cwd=cwd, env={**os.environ, **paths})
    assert done.returncode == 0, done.stdout[-2000:] + done.stderr[-4000:]
    return done.stdout


@dataclass(frozen=True)
class Server:
    """A server that runs, as its user has it.

    Attributes:
        url: of it.
        bundle: the copy in its app.
        studies: the folder of the images.
        folder: that it was started in.
        client: as 3D Slicer has it.
    """

    url: str
    bundle: Path
    studies: Path
    folder: Path
    client: MONAILabelClient

    @property
    def checkpoint(self) -> Path:
        """The weights that it serves."""
        return self.bundle / "models" / "model.pt"

    def wait(self, task: str) -> str:
        """Wait for the end of a task, ``train``, ``batch/infer`` or ``scoring``, and return its status."""
        while True:
            state = requests.get(f"{self.url}/{task}/", timeout=60).json()
            if state["status"] not in ("SUBMITTED", "RUNNING"):
                return str(state["status"])
            time.sleep(0.5)


def write_study(
    prepared: Path, patient: str, file: Path, *, sequences: int = 1, affine: np.ndarray | None = None
) -> None:
    """Write a patient's FLAIR, or all three along a fourth axis, as one file."""
    images = [nib.load(prepared / "imagesTr" / f"{patient}_000{channel}.nii.gz") for channel in range(3)]
    voxels = [np.asarray(image.dataobj) for image in images]
    content = voxels[1] if sequences == 1 else np.stack(voxels, axis=-1)
    image = nib.Nifti1Image(content, images[0].affine if affine is None else affine)
    image.header.set_xyzt_units("unknown" if affine is None else "mm")
    nib.save(image, file)


def segment(checkpoint: Path, studies: Path, folder: Path, *overlays: Path) -> dict[str, np.ndarray]:
    """Return the masks that ``run inferring`` makes of a folder of studies, by name."""
    inputs = folder / "inputs"
    shutil.copytree(
        studies, inputs, ignore=lambda place, names: [name for name in names if not name.endswith(".nii.gz")]
    )
    words: list[str | Path] = [
        "--config_file",
        str([str(file) for file in (CONFIGS / "inference.yaml", *overlays)]),
        "--dataset_dir",
        inputs,
        "--checkpoint",
        checkpoint,
    ]
    run("python", "-m", "monai.bundle", "run", "inferring", *words, "--output_dir", folder / "masks")
    return {
        file.name.removesuffix(".nii.gz"): np.asarray(nib.load(file).dataobj)
        for file in (folder / "masks").glob("*.nii.gz")
    }


def infer(server: Server, image: str, model: str = NAME) -> np.ndarray:
    """Return the server's mask of one of its studies."""
    file, _ = server.client.infer(model, image, {"device": "cpu"})
    return np.asarray(nib.load(file).dataobj)
