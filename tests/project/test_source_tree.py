"""The package and the benchmarks from a source tree that nobody installed, on a machine without ITK."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from importlib.metadata import PackageNotFoundError, version
from pathlib import Path
from typing import Any

import pytest
import yaml
from support.bundle_runs import BUNDLE, NARROW

from monai_brainseg import __version__
from monai_brainseg.cli.main import main
from monai_brainseg.doctor.examination import examine
from monai_brainseg.records import list_versions

# Python runs it before anything else, in every process that inherits PYTHONPATH.
HIDE = """
import sys
from importlib import metadata

sys.meta_path[:] = [finder for finder in sys.meta_path if "editable" not in getattr(finder, "__module__", "")]


class Hide:
    @staticmethod
    def find_spec(name, path=None, target=None):
        if name == "itk":
            raise ModuleNotFoundError("No module named 'itk'", name="itk")


found = metadata.Distribution.from_name


def find(name):
    if name in ("itk", "monai-brainseg"):
        raise metadata.PackageNotFoundError(name)
    return found(name)


sys.meta_path.insert(0, Hide)
metadata.Distribution.from_name = find
"""


@pytest.fixture(scope="module")
def bare(tmp_path_factory: pytest.TempPathFactory) -> dict[str, str]:
    """The variables of a process to which neither this package is installed nor ITK is."""
    folder = tmp_path_factory.mktemp("bare")
    (folder / "sitecustomize.py").write_text(HIDE)
    return {**os.environ, "PYTHONPATH": str(folder), "OMP_NUM_THREADS": "1"}


def run(environment: dict[str, str], *words: object) -> str:
    done = subprocess.run(
        [sys.executable, *map(str, words)], env=environment, capture_output=True, text=True, check=False
    )
    assert done.returncode == 0, done.stdout + done.stderr[-3000:]
    return done.stdout


def read(file: Path) -> Any:
    return json.loads(file.read_text())


def test_the_imitation_hides_the_package_and_itk(bare: dict[str, str], tmp_path: Path) -> None:
    tell = "import importlib.util\nprint(importlib.util.find_spec('monai_brainseg'))\nimport itk"
    done = subprocess.run(
        [sys.executable, "-c", tell], env=bare, cwd=tmp_path, capture_output=True, text=True, check=False
    )
    assert done.stdout.strip() == "None"
    assert done.stderr.endswith("No module named 'itk'\n")


def test_slices_become_masks_and_scores(bare: dict[str, str], tmp_path: Path) -> None:
    commands = [
        ["phantom", "--output", "slices", "--patients", "4", "--size", "48", "--slices", "8"],
        ["prepare", "slices", "--output", "data", "--folds", "2", "--test-share", "0.5"],
        ["predict", "data", "--part", "test", "--output", "masks"],
        ["evaluate", "--datalist", "data", "--predictions", "masks", "--output", "scores"],
    ]
    for number, words in enumerate(commands):
        commands[number] = [str(tmp_path / w) if w in ("slices", "data", "masks", "scores") else w for w in words]
    call = (
        "import json, sys; from monai_brainseg.cli.main import main; print([main(w) for w in json.loads(sys.argv[1])])"
    )
    assert run(bare, "-c", call, json.dumps(commands)).splitlines()[-1] == "[0, 0, 0, 0]"
    versions = read(tmp_path / "masks/run.json")["versions"]
    assert (versions["monai-brainseg"], versions["itk"]) == (__version__, "unknown")
    assert versions["monai"] == version("monai")


def test_dicom_without_pydicom_is_refused_in_one_line(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    slices = tmp_path / "slices"
    slices.mkdir()
    for number in (1, 2):
        (slices / f"a_{number}.dcm").write_bytes(bytes(128) + b"DICM")
    monkeypatch.setitem(sys.modules, "pydicom", None)
    assert main(["predict", str(slices), "--output", str(tmp_path / "masks")]) == 1
    said = capsys.readouterr().err.strip().splitlines()[-1]
    assert str(slices) in said
    assert said.endswith("pip install 'pydicom>=3'")


def test_doctor_takes_requirements_from_setup_cfg(monkeypatch: pytest.MonkeyPatch) -> None:
    def hide(name: str) -> list[str]:
        raise PackageNotFoundError(name)

    asked: list[str] = []

    def find(name: str) -> str:
        asked.append(name)
        return version(name)

    monkeypatch.setattr("monai_brainseg.doctor.examination.requires", hide)
    monkeypatch.setattr("monai_brainseg.doctor.examination.version", find)
    examine(str(BUNDLE))
    assert {"torch", "monai", "numpy", "pillow", "tifffile", "imagecodecs", "jinja2", "matplotlib"} <= set(asked)


def test_version_that_nothing_tells_is_unknown() -> None:
    assert list_versions("no-such-package") == {"monai-brainseg": __version__, "no-such-package": "unknown"}


@pytest.mark.slow
def test_benchmarks_of_training_and_prediction_run(
    bare: dict[str, str], prepared_phantoms: Path, tmp_path: Path
) -> None:
    recipe, train, predict = tmp_path / "narrow.yaml", tmp_path / "train.json", tmp_path / "predict.json"
    recipe.write_text(yaml.safe_dump({**NARROW, "patch_size": [32, 32], "batch_size": 4}))
    words = [
        "--repeats",
        1,
        "--epochs",
        1,
        "--slices-per-volume",
        1,
        "--steps",
        2,
        "--recipe",
        recipe,
        "--output",
        train,
    ]
    run(bare, "benchmarks/train.py", prepared_phantoms, *words)
    figures = read(train)
    assert set(figures["images_per_second"]) == {"bare_step", "ours", "stock"}
    assert figures["ours_over_stock"] > 0 < figures["ours_over_bare_step"]
    assert "CUDA" in figures["captured_step"]
    assert figures["machine"]["versions"]["monai-brainseg"] == __version__
    words = ["--checkpoint", BUNDLE / "models/model.pt", "--size", 48, "--slices", 8, "--output", predict]
    run(bare, "benchmarks/predict.py", *words)
    assert [0 < each["forward_share"] < 1 for each in read(predict)["runs"]] == [True] * 3
