"""A bundle as the model zoo wants it: its zip serves by MONAI alone, and what the zoo's CI refuses is named."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import zipfile
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from support.bundle_runs import BUNDLE, build
from support.fixed_bundles import read_mask

from monai_brainseg.cli.main import main
from monai_brainseg.serving.model_zoo import check_zoo_form
from monai_brainseg.weights.checkpoints import read_checkpoint

# MONAI alone: our package cannot be imported.
USE = """
import sys, warnings
sys.modules["monai_brainseg"] = None
warnings.simplefilter("ignore")
from monai.bundle import ConfigWorkflow, load
folder, data, output = sys.argv[1:]
sys.path.append(folder + "/brainseg_unet")  # load cannot be told the bundle's root
network = load("brainseg_unet", bundle_dir=folder, workflow_type="inference")
print(sum(p.numel() for p in network.parameters()), network.training)
root = folder + "/brainseg_unet"
workflow = ConfigWorkflow(
    config_file=root + "/configs/inference.yaml", meta_file=root + "/configs/metadata.json", workflow_type="infer",
    run_id="inferring", logging_file=root + "/configs/logging.conf", bundle_root=root, dataset_dir=data,
    output_dir=output)
workflow.initialize()
workflow.run()
"""


@pytest.fixture(scope="module")
def archive(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The zip of the U-Net bundle with its own weights."""
    file = tmp_path_factory.mktemp("zoo") / "brainseg_unet.zip"
    assert main(["export", "--format", "bundle", "--output", str(file)]) == 0
    return file


@pytest.fixture
def unpacked(archive: Path, tmp_path: Path) -> Path:
    with zipfile.ZipFile(archive) as content:
        content.extractall(tmp_path / "zoo")
    return tmp_path / "zoo" / "brainseg_unet"


def test_zip_serves_by_monai_alone_from_any_folder(unpacked: Path, prepared_phantoms: Path, tmp_path: Path) -> None:
    words = [sys.executable, "-c", USE, *map(str, (unpacked.parent, prepared_phantoms, tmp_path / "masks"))]
    done = subprocess.run(words, capture_output=True, text=True, check=False, cwd=tmp_path, env={**os.environ})
    assert done.returncode == 0, done.stderr[-2000:]
    count = sum(value.numel() for name, value in read_checkpoint(BUNDLE / "models/model.pt")["model"].items()
                if "running" not in name and "num_batches" not in name)  # fmt: skip
    assert str(count) in done.stdout
    build("inference.yaml", "infer", prepared_phantoms, tmp_path / "here").run()
    files = sorted((tmp_path / "here").glob("*.nii.gz"))
    assert len(files) == 2
    for file in files:
        assert np.array_equal(read_mask(file), read_mask(tmp_path / "masks" / file.name))


def test_commands_of_the_zip_run_in_its_own_folder(unpacked: Path, prepared_phantoms: Path, tmp_path: Path) -> None:
    readme = (unpacked / "docs" / "README.md").read_text()
    assert "bundles/" not in readme + "".join(file.read_text() for file in (unpacked / "configs").iterdir())
    command = next(line for line in readme.splitlines() if "run inferring" in line)
    words = command.replace("FOLDER", str(prepared_phantoms)).replace("masks", str(tmp_path / "masks")).split()
    done = subprocess.run([sys.executable, *words[1:]], capture_output=True, text=True, check=False, cwd=unpacked)
    assert done.returncode == 0, done.stderr[-2000:]
    assert len(list((tmp_path / "masks").glob("*.nii.gz"))) == 2


def test_weights_in_the_zip_are_a_bare_state_dict_that_still_says_whom_it_has_seen(unpacked: Path) -> None:
    file = unpacked / "models" / "model.pt"
    bare = torch.load(file, weights_only=True)
    ours = read_checkpoint(BUNDLE / "models" / "model.pt")
    assert all(torch.equal(value, ours["model"][name]) for name, value in bare.items())
    assert read_checkpoint(file)["seen"] == ours["seen"]
    torch.save({**bare, "segmentation_head.0.bias": torch.zeros(2)}, file)
    assert "seen" not in read_checkpoint(file), "the list is that of another file"


def test_the_same_bundle_gives_the_same_zip(archive: Path, tmp_path: Path) -> None:
    assert main(["export", "--format", "bundle", "--output", str(tmp_path / "again.zip")]) == 0
    assert (tmp_path / "again.zip").read_bytes() == archive.read_bytes()


def edit_metadata(folder: Path, change: Callable[[dict], object]) -> None:
    file = folder / "configs" / "metadata.json"
    metadata = json.loads(file.read_text())
    change(metadata)
    file.write_text(json.dumps(metadata))


def edit_config(folder: Path, old: str, new: str) -> None:
    file = folder / "configs" / "inference.yaml"
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))


BREACHES: dict[str, tuple[Callable[[Path], object], str]] = {
    "license": (lambda folder: (folder / "LICENSE").unlink(), "LICENSE: is missing"),
    "weights": (lambda folder: (folder / "models/model.pt").unlink(), "model.pt: is missing"),
    "key": (lambda folder: edit_metadata(folder, lambda m: m.pop("authors")), "has no 'authors'"),
    "changelog": (
        lambda folder: edit_metadata(folder, lambda m: m.update(version="9.9.9")),
        "9.9.9 is not in its changelog",
    ),
    "name": (lambda folder: edit_metadata(folder, lambda m: m.pop("name")), "has no 'name'"),
    "size": (lambda folder: (folder / "docs/film.bin").write_bytes(bytes(26 * 2**20)), "film.bin: has 26 MiB"),
    "id": (lambda folder: edit_config(folder, "\ninferer:", "\ninferrer:"), "has no 'inferer'"),
    "channels": (
        lambda folder: edit_metadata(
            folder, lambda m: m["network_data_format"]["outputs"]["pred"].update(num_channels=3)
        ),
        "the network does not match it",
    ),
    "other weights": (
        lambda folder: torch.save(torch.nn.Conv2d(3, 2, 3).state_dict(), folder / "models/model.pt"),
        "cannot be converted to TorchScript",
    ),
}


@pytest.mark.parametrize("kind", BREACHES)
def test_what_the_zoo_would_refuse_is_named(kind: str, unpacked: Path) -> None:
    breach, said = BREACHES[kind]
    breach(unpacked)
    found = [str(each) for each in check_zoo_form(unpacked)]
    assert len(found) >= 1
    assert any(said in each for each in found), found


def test_the_zip_of_the_bundle_passes(unpacked: Path) -> None:
    assert check_zoo_form(unpacked) == []


def test_a_bundle_that_would_not_pass_is_not_written(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(BUNDLE, tmp_path / "mine")
    (tmp_path / "mine" / "LICENSE").unlink()
    words = ["export", "--bundle", str(tmp_path / "mine"), "--format", "bundle", "--output", str(tmp_path / "m.zip")]
    assert main(words) == 1
    assert f"{tmp_path / 'mine' / 'LICENSE'}: is missing" in capsys.readouterr().err
    assert not (tmp_path / "m.zip").exists()
