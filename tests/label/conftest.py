"""A real MONAI Label server with the U-Net bundle, trained for seconds on phantoms."""

from __future__ import annotations

import os
import shlex
import signal
import socket
import subprocess
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest
import requests
from monailabel.client import MONAILabelClient

from label.servers import BIN, CONFIGS, NAME, STAND_INS, Server, run
from monai_brainseg.data.prepare import prepare
from monai_brainseg.phantoms.patients import write_phantoms


@pytest.fixture(scope="session")
def prepared(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Twelve synthetic patients, prepared: ten to train and validate on."""
    folder = tmp_path_factory.mktemp("label")
    write_phantoms(folder / "slices", 12, seed=3, slices=12)
    prepare(folder / "slices", folder / "prepared", test_share=0.2, folds=5, say=lambda line: None)
    return folder / "prepared"


@pytest.fixture(scope="session")
def weights(prepared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of the bundle's own network that find most of a phantom's tumour."""
    output = tmp_path_factory.mktemp("weights") / "run"
    words: list[str | Path] = [
        "--config_file",
        CONFIGS / "train.yaml",
        "--dataset_dir",
        prepared,
        "--output_dir",
        output,
    ]
    words += ["--epochs", "12", "--patch_size", "[64,64]", "--val_interval", "3"]
    run("python", "-m", "monai.bundle", "run", "training", *words)
    return output / "models" / "model.pt"


@pytest.fixture(scope="module")
def start_server(weights: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Callable[..., Server]]:
    """``start_server(studies, *words)`` installs and starts as the guide says, and stops it when the module ends.

    ``recipe`` and weights of it install a second bundle into the same app.
    """
    started: list[subprocess.Popen[bytes]] = []

    def start(studies: Path, *more: str, recipe: tuple[Path, Path] | None = None) -> Server:
        folder = tmp_path_factory.mktemp("server")
        run("monailabel", "apps", "--download", "--name", "monaibundle", "--output", "apps", cwd=folder)
        app = folder / "apps" / "monaibundle"
        words = shlex.split(run("brainseg", "label", "install", "--app", app, "--checkpoint", weights).splitlines()[-1])
        if recipe is not None:
            overlay, others = recipe
            run("brainseg", "label", "install", "--app", app, "--recipe", overlay, "--checkpoint", others)
            words[words.index("models") + 1] += f",{NAME}_{overlay.stem}"
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
