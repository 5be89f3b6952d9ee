"""`brainseg doctor` on the bundle as it is, and on bundles, overlays and data that are broken in one place each."""

from __future__ import annotations

import json
import os
import pickle
import shutil
import subprocess
import sys
import time
import webbrowser
from collections.abc import Callable
from pathlib import Path

import monai
import nibabel as nib
import numpy as np
import pytest
import yaml
from bundle_runs import CONFIGS
from fixed_bundles import BRIGHT, bright_state, make_bundle
from monai.bundle import ConfigParser

from monai_brainseg import machine_checks
from monai_brainseg.advice import ERROR, NOTE, Advice
from monai_brainseg.bundle_checks import check_bundle, check_overlays, list_bundle_code, read_settings
from monai_brainseg.bundle_code import list_code
from monai_brainseg.cli import main
from monai_brainseg.commands import load_config
from monai_brainseg.doctor import Examination, _estimate, examine
from monai_brainseg.errors import InputError
from monai_brainseg.machine_checks import Load, check_disk, check_start, check_workers, measure_load
from monai_brainseg.plain_networks import make_network, read_network
from monai_brainseg.splits import read_datalist

BUNDLE = CONFIGS.parent


@pytest.fixture
def copy(tmp_path: Path) -> Path:
    """A bundle that a test may break."""
    return Path(shutil.copytree(BUNDLE, tmp_path / "brainseg_unet"))


def find_errors(bundle: Path, dataset: Path | None = None) -> list[str]:
    return [str(advice) for advice in examine(str(bundle), dataset).advice if advice.level == ERROR]


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
        "has no 'device'; add it: the zoo asks",
    ),
    "no packages": (lambda b: change_metadata(b, required_packages_version=None), "'required_packages_version'"),
    "package not there": (
        lambda b: change_metadata(b, required_packages_version={"no-such-package-here": "1.0"}),
        "no-such-package-here 1.0 is not installed",
    ),
    "no version": (lambda b: change_metadata(b, numpy_version="new"), "'new' is no version"),
    "metadata is text": (lambda b: (b / "configs/metadata.json").write_text("{"), "is no metadata"),
    "no evaluator": (
        lambda b: edit(b / "configs/inference.yaml", "\nevaluator:", "\nevaluater:"),
        "MONAI asks for 'evaluator'",
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
        lambda b: edit(b / "configs/inference.yaml", "_target_: UNet\n", "_target_: UNett\n"),
        "UNett",
    ),
    "misspelt argument": (
        lambda b: edit(b / "configs/inference.yaml", "num_res_units: 2", "num_res_unitz: 2"),
        "num_res_unitz",
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
    edit(copy / "configs/train.yaml", "slices_per_volume: 4", "slices_of_volume: 4")
    edit(copy / "configs/train.yaml", "@slices_per_volume", "@slices_of_volume")
    overlay = "slices_per_volume: 2\n"
    (copy / "configs/multi_gpu_train.yaml").write_text(overlay)
    assert main(["doctor", "--bundle", str(copy)]) == 1
    said = capsys.readouterr()
    assert "multi_gpu_train.yaml: 'slices_per_volume' is no id of" in said.out
    assert "did you mean 'slices_of_volume'" in said.out
    assert said.err.count("\n") == 1


def test_bundle_that_is_not_there_is_one_line(capsys: pytest.CaptureFixture[str]) -> None:
    assert main(["doctor", "--bundle", "nowhere"]) == 1
    assert "nowhere: no bundle" in capsys.readouterr().err


def test_data_is_compared_with_its_datalist(prepared_phantoms: Path, tmp_path: Path) -> None:
    data = Path(shutil.copytree(prepared_phantoms, tmp_path / "data"))
    label = sorted((data / "labelsTr").iterdir())[0]
    nib.save(nib.Nifti1Image(np.zeros((3, 3, 3), np.uint8), np.eye(4)), label)
    shutil.copy(label, data / "labelsTr" / "stray.nii.gz")
    found = examine(str(BUNDLE), data).advice
    assert any(one.level == ERROR and str(label) in str(one) and "3x3x3" in one.what for one in found)
    assert any("stray.nii.gz" in str(one) for one in found)
    label.unlink()
    assert any(one.level == ERROR and "is gone" in str(one) for one in examine(str(BUNDLE), data).advice)


def test_code_from_outside_is_listed_and_not_run(copy: Path, tmp_path: Path) -> None:
    mark = tmp_path / "ran"
    with (copy / "configs/inference.yaml").open() as file:
        content = yaml.safe_load(file)
    content["network_def"] = {"_target_": "os.system", "command": f"touch {mark}"}
    content["cases"] = f"$__import__('subprocess').run(['touch', '{mark}'])"
    content["handlers"].append({"_target_": "$().__class__.__base__"})
    (copy / "configs/inference.yaml").write_text(yaml.safe_dump(content))
    found = examine(str(copy))
    code = "\n".join(found.code)
    for said in ("os.system", "__import__", "cases", "__class__"):
        assert said in code, code
    assert any("network_def runs code" in advice.what for advice in found.advice)
    assert not mark.exists()


UNET = {
    "_target_": "UNet", "spatial_dims": 2, "in_channels": 3, "out_channels": 2, "channels": [4, 8], "strides": [2],
}  # fmt: skip
TOUCH = "touch {mark}"


class Evil:
    """Unpickled without care, it leaves a mark."""

    def __init__(self, mark: Path) -> None:
        self.mark = mark

    def __reduce__(self) -> tuple[Callable[[str], int], tuple[str]]:
        return os.system, (f"touch {self.mark}",)


# A network, ids beside it, and what of it the list of code names; None where it is on no list and only not made.
OUTSIDE: dict[str, tuple[object, dict[str, object], str | None]] = {
    "reference": (
        UNET | {"spatial_dims": "@dims"},
        {"dims": f"$__import__('os').system('{TOUCH}') or 2"},
        "__import__",
    ),
    "reference of a reference": (
        UNET | {"spatial_dims": "@a::0"},
        {"a": ["@dims"], "dims": f"$torch.os.system('{TOUCH}') or 2"},
        "torch.os",
    ),
    "torch.os": (UNET | {"spatial_dims": f"$torch.os.system('{TOUCH}') or 2"}, {}, "torch.os"),
    "module's module": (
        UNET | {"spatial_dims": f"$torch.serialization.os.system('{TOUCH}') or 2"},
        {},
        "torch.serialization.os",
    ),
    "pickle": ({"_target_": "torch.load", "f": "{evil}", "weights_only": False}, {}, "torch.load"),
    "open": ({"_target_": "open", "file": "{mark}", "mode": "w"}, {}, "open"),
    "dotless module": ({"_target_": "antigravity"}, {}, "antigravity"),
    "target through torch": ({"_target_": "torch.os.system", "command": TOUCH}, {}, "torch.os"),
    "target through monai": (
        {"_target_": "monai.bundle.scripts.os.system", "command": TOUCH},
        {},
        "monai.bundle.scripts.os",
    ),
    "another bundle": ({"_target_": "run", "config_file": "evil.yaml", "run_id": "run"}, {}, "monai.bundle"),
    "target by reference": ({"_target_": "@t", "command": TOUCH}, {"t": "os.system"}, "@t"),
    "mode": (UNET | {"_mode_": "debug"}, {}, None),
    "requirement": (UNET | {"_requires_": f"$torch.os.system('{TOUCH}')"}, {}, "torch.os"),
    "two of one id": (
        UNET | {"spatial_dims": "@a::b"},
        {"a::b": f"$torch.os.system('{TOUCH}') or 2", "a": {"b": 2}},
        "torch.os",
    ),
    "fetches weights": (
        {"_target_": "EfficientNetBN", "model_name": "efficientnet-b0", "spatial_dims": 2, "in_channels": 3},
        {},
        None,
    ),
    "macro": (UNET | {"spatial_dims": "%configs/train.yaml::batch_size"}, {}, "reads a file"),
}


@pytest.mark.parametrize("name", OUTSIDE)
def test_network_that_is_more_than_a_network_is_not_made(
    name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prepared_phantoms: Path
) -> None:
    """In all three places that make one: weights, contract, estimate."""
    mark, evil = tmp_path / "ran", tmp_path / "evil.bin"
    evil.write_bytes(pickle.dumps(Evil(mark)))
    network, more, said = json.loads(
        json.dumps(OUTSIDE[name]).replace("{mark}", str(mark)).replace("{evil}", str(evil))
    )
    bundle = make_bundle(tmp_path / "bundle", BRIGHT, bright_state())
    for config in ("inference.yaml", "train.yaml"):
        content = yaml.safe_load((CONFIGS / config).read_text()) | {"network_def": network, **more}
        (bundle / "configs" / config).write_text(yaml.safe_dump(content, sort_keys=name != "two of one id"))
    monkeypatch.setattr(webbrowser, "open", lambda url: mark.touch())
    found = Examination(code=list_bundle_code(bundle))
    _estimate(found, bundle, read_settings(bundle / "configs/train.yaml"), Load(4, 4, 0.0))
    advice = check_bundle(bundle)
    assert not mark.exists()
    assert "antigravity" not in sys.modules
    assert any("network_def runs code" in one.what for one in advice), advice
    assert found.facts == ["estimate: not made, the network is not all monai's, torch's or ours"]
    assert said is None or any(said in line for line in found.code), found.code


@pytest.mark.parametrize("target", ["UNet", "monai.networks.nets.UNet", "monai.networks.nets.unet.UNet"])
def test_networks_with_plain_references_are_made(target: str) -> None:
    config = {"network_def": UNET | {"_target_": target, "spatial_dims": "@more::dims::0"}, "more": {"dims": ["@two"]}}
    definition = read_network(config | {"two": 2})
    assert definition == UNET | {"_target_": target}
    assert isinstance(make_network(definition), monai.networks.nets.UNet)
    assert list_code(config) == []
    with pytest.raises(InputError, match="'@two' is no id"):
        read_network(config)
    with pytest.raises(InputError, match="leads around"):
        read_network(config | {"two": "@two"})


def test_our_networks_are_made_and_their_configs_are_not_on_the_list() -> None:
    for name in ("brainseg_unet", "brainseg_fcn"):
        for file in ("train.yaml", "inference.yaml"):
            content = load_config(Path("bundles") / name / "configs" / file)
            assert read_network(content) is not None
            places = [code.place for code in list_code(content) if code.place.endswith("_target_")]
            assert all(place.startswith("handlers") or "handlers" in place for place in places), places


@pytest.mark.parametrize(
    ("text", "named"),
    [
        ("$torch.load(@f, weights_only=True)['model']", []),
        ("$torch.load(@f)", ["torch.load without weights_only"]),
        ("$torch.load(@f, weights_only=False)", ["torch.load without weights_only"]),
        ("$torch.hub.load('a', 'b')", ["torch.hub.load", "hub"]),
        ("$torch.jit.load(@f)", ["torch.jit.load"]),
        ("$str(torch.load(@f, weights_only=True).get(1))", []),
        ("$monai.data.load_decathlon_datalist(@datalist)", []),
        ("$lambda x: x > 0", []),
        ("$[i for i in range(3)]", []),
        ("$open('/etc/passwd').read()", ["open"]),
        ("$(lambda: eval('1'))()", ["eval"]),
        ("$import os", ["os"]),
        ("$import monai_brainseg.runs as runs", []),
        ("$from torch import os", ["torch.os"]),
        ("$import torch, os", ["os"]),
        ("$from os import path", ["os.path"]),
        ("$torch.utils.tensorboard.SummaryWriter('x')", []),
        ("$torch.utils.tensorboard.summary.np.fromfile('x')", ["torch.utils.tensorboard.summary.np"]),
        ("$torch.utils.tensorboard.os.system('x')", ["torch.utils.tensorboard.os", "os"]),
        ("$torch.os.system('x')", ["torch.os", "os"]),
        ("$[torch][0].os.system('x')", ["os"]),
        ("$torch.random.manual_seed(1)", []),
        ("$monai.transforms.Compose([torch.nn.Identity(), torch.float32, torch.tensor(1)])", []),
        ("$monai.bundle.run('x')", ["monai.bundle.run"]),
        ("$getattr(torch, 'lo' + 'ad')", ["getattr"]),
        ("$1 +", ["cannot be parsed"]),
        ("%other.yaml::x", ["reads a file"]),
        ("plain", None),
    ],
)
def test_expressions_are_told_apart(text: str, named: list[str] | None) -> None:
    found = list_code({"x": text})
    assert [name for code in found for name in code.names] == (named or [])


def test_a_name_that_an_import_hides_is_seen_through() -> None:
    assert list_code({"imports": ["$import shutil as monai"], "x": "$monai.rmtree('/')"})[-1].names == ("shutil",)
    assert list_code({"imports": ["$import monai_brainseg.runs as runs"], "x": "$runs.start_run('a')"}) == []


def test_machine_advice_names_disk_and_workers(tmp_path: Path) -> None:
    assert list(check_disk(tmp_path / "not" / "yet")) == []
    (advice,) = check_workers(10_000)
    assert isinstance(advice, Advice)
    assert "cores" in advice.what
    assert check_start(tmp_path, [], {"num_workers": 10_000}) == [advice]


def test_machine_that_is_no_linux_leaves_out_what_it_cannot_know(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, prepared_phantoms: Path
) -> None:
    """As on macOS and Windows: no affinity, no /proc, and no module `resource`."""
    monkeypatch.delattr(os, "sched_getaffinity")
    monkeypatch.setattr(machine_checks, "_MEMORY", tmp_path / "meminfo")
    monkeypatch.setitem(sys.modules, "resource", None)
    assert machine_checks.find_memory() is None
    assert list(machine_checks.check_memory(Load(1, 1, 1e15))) == []
    (advice,) = check_start(
        tmp_path, read_datalist(prepared_phantoms)["training"], {"num_workers": 9999, "cache_num": 1}
    )
    assert f"{os.cpu_count()} cores" in advice.what
    found = examine(str(BUNDLE), prepared_phantoms)
    assert "of memory free" not in found.facts[0]
    assert any("slices a second" in fact for fact in found.facts)
    for name in ("brainseg_unet", "brainseg_fcn"):
        config = load_config(Path("bundles") / name / "configs/train.yaml")
        workers = ConfigParser({name: config[name] for name in ("imports", "cache_workers")})
        assert 1 <= workers.get_parsed_content("cache_workers") <= 8


def test_load_counts_both_sides_of_the_fold_and_the_cache(prepared_phantoms: Path) -> None:
    items = read_datalist(prepared_phantoms)["training"]
    settings = {"fold": 0, "pixel_size": 1.0, "patch_size": [32, 32], "cache_num": 100}
    load = measure_load(items, settings)
    assert (load.training, load.validation) == (4, 4)
    assert load.cache == 4 * 64 * 64 * 8 * (11 + 6)
    assert measure_load(items, settings | {"cache_num": 0}).cache == 0


def test_a_bundle_that_waits_for_weights_is_no_error() -> None:
    found = [advice for advice in check_bundle(Path("bundles/brainseg_fcn")) if advice.level != NOTE]
    assert found == []
    overlays = check_overlays(Path("bundles/brainseg_fcn"), Path("configs"))
    assert overlays == []  # those of the U-Net alone say so
