"""`brainseg doctor` on the bundle as it is, and on bundles, overlays and data that are broken in one place each."""

from __future__ import annotations

import json
import os
import shutil
import subprocess
import sys
import time
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import yaml
from support.bundle_runs import BUNDLE

from monai_brainseg.cli.main import main
from monai_brainseg.doctor.bundle_checks import check_bundle, check_overlays
from monai_brainseg.doctor.examination import examine
from monai_brainseg.findings import ERROR, NOTE


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A bundle that a test may break."""
    return Path(shutil.copytree(BUNDLE, tmp_path / "brainseg_unet"))


def find_errors(bundle: Path, dataset: Path | None = None) -> list[str]:
    return [str(advice) for advice in examine(str(bundle), dataset).findings if advice.level == ERROR]


def test_bundle_and_phantoms_are_healthy_and_estimated(
    prepared_phantoms: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main(["doctor", "--dataset_dir", str(prepared_phantoms)]) == 0
    said = capsys.readouterr().out
    assert "data: 4 patients to train on, 4 to validate on, 10 in all" in said
    assert "slices a second" in said
    assert "GiB" in said
    assert said.splitlines()[-1].startswith("0 errors")


NO_NETWORK = """
import os, socket, sys

def refuse(event, arguments):
    away = event in ("socket.connect", "socket.sendto", "socket.sendmsg") and arguments[0].family != socket.AF_UNIX
    if away or event in ("socket.getaddrinfo", "socket.gethostbyname"):
        os.write(2, f"a network was asked for: {event} {arguments}".encode())
        os._exit(97)

sys.addaudithook(refuse)
"""


def test_it_takes_seconds_and_no_network(prepared_phantoms: Path, tmp_path: Path) -> None:
    """Processor time, since other work on the machine is no matter of the doctor's; imports are most of it."""
    words = [sys.executable, "-m", "monai_brainseg", "doctor", "--dataset_dir", str(prepared_phantoms)]
    (tmp_path / "sitecustomize.py").write_text(NO_NETWORK)
    paths = os.pathsep.join(filter(None, (str(tmp_path), str(Path.cwd()), os.environ.get("PYTHONPATH"))))
    environment = {**os.environ, "PYTHONPATH": paths, "OMP_NUM_THREADS": "1"}
    connect = [sys.executable, "-c", "import socket; socket.create_connection(('127.0.0.1', 9))"]
    refused = subprocess.run(connect, check=False, capture_output=True, text=True, env=environment)
    assert refused.returncode == 97, refused
    before = os.times()
    started = time.perf_counter()
    done = subprocess.run(words, check=False, capture_output=True, text=True, env=environment)
    assert done.returncode == 0, done.stderr
    after = os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    assert spent < 8, f"{spent:.1f} s of processor time in {time.perf_counter() - started:.1f} s"


def edit(file: Path, old: str, new: str) -> None:
    assert old in file.read_text()
    file.write_text(file.read_text().replace(old, new))


def change_metadata(bundle: Path, **values: object) -> None:
    file = bundle / "configs" / "metadata.json"
    content = json.loads(file.read_text())
    file.write_text(json.dumps({k: v for k, v in (content | values).items() if v is not None}))


BROKEN: dict[str, tuple[Callable[[Path], object], str]] = {
    "no licence": (lambda b: (b / "LICENSE").unlink(), "LICENSE"),
    "no read-me": (lambda b: (b / "docs/README.md").unlink(), "docs/README.md"),
    "no changelog": (lambda b: change_metadata(b, version="9.9.9"), "9.9.9 is not in its changelog"),
    "no schema": (lambda b: change_metadata(b, schema=None), "'schema'"),
    "no name": (lambda b: change_metadata(b, name=None), "'name'"),
    "no apps": (lambda b: change_metadata(b, supported_apps=None), "'supported_apps'"),
    "id of the model zoo": (
        lambda b: edit(b / "configs/inference.yaml", "\ndevice:", "\ndevise:"),
        "has no 'device'; add it: the zoo requires",
    ),
    "no packages": (lambda b: change_metadata(b, required_packages_version=None), "'required_packages_version'"),
    "package not there": (
        lambda b: change_metadata(b, required_packages_version={"no-such-package-here": "1.0"}),
        "no-such-package-here 1.0 is not installed",
    ),
    "no version": (lambda b: change_metadata(b, numpy_version="new"), "'new' is not a version"),
    "metadata is text": (lambda b: (b / "configs/metadata.json").write_text("{"), "is not valid metadata"),
    "no evaluator": (
        lambda b: edit(b / "configs/inference.yaml", "\nevaluator:", "\nevaluater:"),
        "MONAI needs 'evaluator'",
    ),
    "wrong reference": (
        lambda b: edit(b / "configs/train.yaml", "transform: '@train::preprocessing'", "transform: '@reading'"),
        "'train_preprocessing'",
    ),
    "id of the label server": (
        lambda b: edit(b / "configs/train.yaml", "\nrun: '@training'", ""),
        "has no 'run'",
    ),
    "misspelt network": (
        lambda b: edit(b / "configs/inference.yaml", "_target_: FlexibleUNet\n", "_target_: FlexibleUNett\n"),
        "FlexibleUNett",
    ),
    "misspelt argument": (
        lambda b: edit(b / "configs/inference.yaml", "interp_mode: nearest", "interp_mod: nearest"),
        "interp_mod",
    ),
    "yaml": (lambda b: (b / "configs/inference.yaml").write_text("a: [1"), "cannot be read"),
}


@pytest.mark.parametrize("name", BROKEN)
def test_each_break_of_a_bundle_is_found_with_a_remedy(name: str, copy: Path) -> None:
    damage, said = BROKEN[name]
    damage(copy)
    errors = find_errors(copy)
    assert any(said in error for error in errors), errors
    assert all(error.count("; ") >= 1 and "\n" not in error for error in errors)


def test_overlay_with_an_id_that_the_bundle_lacks_is_an_error(
    copy: Path, capsys: pytest.CaptureFixture[str], tmp_path: Path
) -> None:
    edit(copy / "configs/train.yaml", "slices_per_volume: 27", "slices_of_volume: 24")
    edit(copy / "configs/train.yaml", "@slices_per_volume", "@slices_of_volume")
    overlay = "slices_per_volume: 2\n"
    (copy / "configs/multi_gpu_train.yaml").write_text(overlay)
    assert main(["doctor", "--bundle", str(copy)]) == 1
    said = capsys.readouterr()
    assert "multi_gpu_train.yaml: 'slices_per_volume' is not an id of" in said.out
    assert "did you mean 'slices_of_volume'" in said.out
    assert said.err.count("\n") == 1


def test_bundle_that_is_not_there_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--bundle", "nowhere"]) == 1
    assert "nowhere: is not a bundle" in capsys.readouterr().err


def test_data_is_compared_with_its_datalist(prepared_phantoms: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(prepared_phantoms, tmp_path / "data"))
    label = sorted((data / "labelsTr").iterdir())[0]
    nib.save(nib.Nifti1Image(np.zeros((3, 3, 3), np.uint8), np.eye(4)), label)
    shutil.copy(label, data / "labelsTr" / "stray.nii.gz")
    found = examine(str(BUNDLE), data).findings
    assert any(one.level == ERROR and str(label) in str(one) and "3x3x3" in one.what for one in found)
    assert any("stray.nii.gz" in str(one) for one in found)
    label.unlink()
    assert any(one.level == ERROR and "is missing" in str(one) for one in examine(str(BUNDLE), data).findings)


def test_code_of_a_bundle_is_not_run(copy: Path, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    with (copy / "configs/inference.yaml").open() as file:
        content = yaml.safe_load(file)
    content["network_def"] = {"_target_": "os.system", "command": f"touch {mark}"}
    content["cases"] = f"$__import__('subprocess').run(['touch', '{mark}'])"
    content["handlers"].append({"_target_": "$().__class__.__base__"})
    (copy / "configs/inference.yaml").write_text(yaml.safe_dump(content))
    found = examine(str(copy))
    assert any("network_def is not only a network" in advice.what for advice in found.findings)
    assert not mark.exists()


def test_a_bundle_that_waits_for_weights_is_no_error(tmp_path: Path) -> None:
    copy = shutil.copytree("bundles/brainseg_unet", tmp_path / "other", ignore=shutil.ignore_patterns("*.pt"))
    assert [advice for advice in check_bundle(copy) if advice.level != NOTE] == []
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "unet.yaml").write_text("bundle_root: bundles/brainseg_unet\nepoch: 3")
    assert check_overlays(copy, tmp_path / "configs") == []  # it says that it is another bundle's
