"""A real MONAI Label server with the U-Net bundle, trained for seconds on phantoms."""

from __future__ import annotations

import os
import shlex
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import requests
from monailabel.client import MONAILabelClient

from monai_brainseg.phantom import write_phantoms
from monai_brainseg.prepare import prepare

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


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Eight synthetic patients, prepared."""
    folder = tmp_path_factory.mktemp("label")
    write_phantoms(folder / "slices", 8, seed=3, slices=12)
    prepare(folder / "slices", folder / "prepared", test_share=0.2, folds=2, say=lambda line: None)
    return folder / "prepared"


@pytest.fixture(scope="session")
def weights(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of the bundle's own network that find something in phantoms."""
    output = tmp_path_factory.mktemp("weights") / "run"
    words = ["--config_file", CONFIGS / "train.yaml", "--dataset_dir", prepared, "--output_dir", output]
    words += ["--epochs", "6", "--patch_size", "[64,64]", "--val_interval", "3"]
    run("python", "-m", "monai.bundle", "run", "training", *words)
    return output / "models" / "model.pt"


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


@pytest.fixture(scope="module")
def start_server(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Server]]:
    """``start_server(studies, *words)`` installs and starts as the guide says, and stops it when the module ends."""
    started: list[subprocess.Popen[bytes]] = []

    def start(studies: Path, *more: str) -> Server:
        folder = tmp_path_factory.mktemp("server")
        run("monailabel", "apps", "--download", "--name", "monaibundle", "--output", "apps", cwd=folder)
        app = folder / "apps" / "monaibundle"
        words = shlex.split(run("brainseg", "label", "install", "--app", app, "--checkpoint", weights).splitlines()[-1])
        with socket.socket() as free:
            free.bind(("127.0.0.1", 0))
            port = str(free.getsockname()[1])
        words[words.index("DIR")] = str(studies)
        words[words.index("--port") + 1] = port
        paths = {"PATH": f"{BIN}{os.pathsep}{os.environ['PATH']}", "PYTHONPATH": str(STAND_INS)}
        place = folder / "started-in"
        place.mkdir()
        with (folder / "log").open("wb") as log:
            process = subprocess.Popen(
                [*words, *more], stdout=log, stderr=log, env={**os.environ, **paths}, cwd=place, start_new_session=True
            )
        started.append(process)
        url = f"http://127.0.0.1:{port}"
        deadline = time.monotonic() + 180
        while process.poll() is None and time.monotonic() < deadline:
            try:
                requests.get(f"{url}/info/", timeout=60).raise_for_status()
                break
            except requests.ConnectionError:
                time.sleep(0.5)
        else:
            pytest.fail((folder / "log").read_text()[-4000:])
        answers = folder / "answers"  # not the server's own temporary folder: it removes files of these names there
        answers.mkdir()
        return Server(url, app / "model" / NAME, studies, place, MONAILabelClient(url, str(answers)))

    yield start
    for process in started:
        os.killpg(process.pid, signal.SIGTERM)
        process.wait(60)


def write_study(
    prepared: Path, patient: str, file: Path, *, sequences: int = 1, affine: np.ndarray | None = None
) -> None:
    """Write a patient's FLAIR, or all three along a fourth axis, as one file."""
    images = [nib.load(prepared / "imagesTr" / f"{patient}_000{channel}.nii.gz") for channel in range(3)]
    voxels = [np.asarray(image.dataobj) for image in images]
    content = voxels[1] if sequences == 1 else np.stack(voxels, axis=-1)
    nib.save(nib.Nifti1Image(content, images[0].affine if affine is None else affine), file)


def segment(checkpoint: Path, studies: Path, folder: Path) -> dict[str, np.ndarray]:
    """Return the masks that ``run inferring`` makes of a folder of studies, by name."""
    inputs = folder / "inputs"
    shutil.copytree(
        studies, inputs, ignore=lambda place, names: [name for name in names if not name.endswith(".nii.gz")]
    )
    words = ["--config_file", CONFIGS / "inference.yaml", "--dataset_dir", inputs, "--checkpoint", checkpoint]
    run("python", "-m", "monai.bundle", "run", "inferring", *words, "--output_dir", folder / "masks")
    return {
        file.name.removesuffix(".nii.gz"): np.asarray(nib.load(file).dataobj)
        for file in (folder / "masks").glob("*.nii.gz")
    }


def infer(server: Server, image: str) -> np.ndarray:
    """Return the server's mask of one of its studies."""
    file, _ = server.client.infer(NAME, image, {"device": "cpu"})
    return np.asarray(nib.load(file).dataobj)
