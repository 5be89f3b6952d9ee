"""The toolkit as its users run it: the demo, the README's commands as written, and real patients."""

from __future__ import annotations

import json
import os
import re
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from support.bundle_runs import run

from monai_brainseg.data.prepare import prepare
from monai_brainseg.phantoms.patients import write_phantoms
from monai_brainseg.reporting.evaluation import evaluate

pytestmark = pytest.mark.slow
REPOSITORY = Path(__file__).resolve().parents[2]
# Commands that read or write where the test runs; the others install things or take a data set that is not here.
RUNNABLE = ("brainseg ", "python -m monai.bundle ", "torchrun ")


def read_commands(readme: Path) -> list[str]:
    """Return the commands of the README's bash blocks that a test can run, in their order."""
    blocks = re.findall(r"```bash\n(.*?)```", readme.read_text(), re.DOTALL)
    return [line for block in blocks for line in block.splitlines() if line.startswith(RUNNABLE)]


def shorten(command: str) -> str:
    """Trainings as written, but of one epoch: what is written takes half an hour."""
    return f"{command} --epochs 1" if "run training" in command or "benchmark" in command else command


def test_demo_trains_and_scores_unseen_patients_above_080(tmp_path: Path) -> None:
    done = subprocess.run(
        ["make", "--no-print-directory", "demo", f"DEMO={tmp_path / 'demo'}"],
        cwd=REPOSITORY,
        capture_output=True,
        text=True,
        check=False,
    )
    assert done.returncode == 0, done.stderr[-3000:]
    summary = json.loads((tmp_path / "demo/scores/summary.json").read_text())
    assert summary["per_patient"]["dice"]["mean"] >= 0.80
    said = done.stdout[-4000:]
    patients = [file.name.removesuffix(".nii.gz") for file in (tmp_path / "demo/masks").glob("*.nii.gz")]
    assert len(patients) == 10
    assert all(patient in said for patient in patients)
    assert "tensorboard --logdir" in said.splitlines()[-1]


def test_commands_of_the_readme_run_as_written(tmp_path: Path) -> None:
    for name in ("bundles", "configs"):
        (tmp_path / name).symlink_to(REPOSITORY / name)
    write_phantoms(tmp_path / "data/kaggle_3m", 16, seed=3, size=64, slices=8)
    commands = read_commands(REPOSITORY / "README.md")
    assert len(commands) >= 8
    path = f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"
    for command in commands:
        done = subprocess.run(
            ["bash", "-c", shorten(command)],
            cwd=tmp_path,
            env=os.environ | {"PATH": path},
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, f"{command}\n{done.stdout[-1500:]}\n{done.stderr[-1500:]}"
    masks = sorted((tmp_path / "runs/masks").glob("*.nii.gz"))
    images = sorted((tmp_path / "data/lgg/imagesTr").glob("*_0000.nii.gz"))
    assert [mask.name for mask in masks] == [image.name.replace("_0000", "") for image in images]
    for mask, image in zip(masks, images, strict=True):
        assert nib.load(mask).shape == nib.load(image).shape
        assert np.allclose(nib.load(mask).affine, nib.load(image).affine)
    assert (tmp_path / "runs/brainseg_unet/scores/metrics.csv").is_file()
    assert {"last.pt", "config.yaml", "run.json", "models"} <= {
        file.name for file in (tmp_path / "runs/brainseg_unet").iterdir()
    }


@pytest.mark.real_data
def test_minutes_of_training_on_12_real_patients_beat_dice_05_on_4_others(
    real_patients: Callable[[int], Path], tmp_path: Path
) -> None:
    prepare(real_patients(16), tmp_path / "data", test_share=0.25, folds=6, say=lambda line: None)
    datalist = json.loads((tmp_path / "data/datalist.json").read_text())
    assert (len(datalist["training"]), len(datalist["test"])) == (12, 4)
    options = {"epochs": 8, "val_interval": 8}
    done = run("training", "train.yaml", tmp_path / "data", tmp_path / "run", **options)
    assert done.returncode == 0, done.stderr[-3000:]
    weights = tmp_path / "run/models/model.pt"
    done = run("evaluating", "evaluate.yaml", tmp_path / "data", tmp_path / "masks", checkpoint=weights)
    assert done.returncode == 0, done.stderr[-3000:]
    summary = evaluate(tmp_path / "data", tmp_path / "masks", tmp_path / "scores", command=[])
    assert summary["per_patient"]["dice"]["mean"] > 0.5
