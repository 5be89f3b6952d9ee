"""The contract with a MONAI Label server: our bundle keeps it, and each breach is found with its remedy."""

from __future__ import annotations

import json
import shutil
import time
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
import yaml
from monai.bundle import ConfigParser
from support.bundle_runs import CONFIGS

from monai_brainseg.serving.label_apps import adapt_config
from monai_brainseg.serving.label_contract import check_contract


@pytest.fixture
def served(tmp_path: Path) -> Path:
    """The U-Net bundle as it would lie in an app, with random weights."""
    bundle = tmp_path / "brainseg_unet"
    shutil.copytree(CONFIGS.parent, bundle, ignore=shutil.ignore_patterns("*.pt"))
    train = bundle / "configs" / "train.yaml"
    train.write_text(adapt_config(train.read_text()))
    network = ConfigParser(ConfigParser.load_config_file(train)).get_parsed_content("network_def")
    torch.save({"model": network.state_dict()}, bundle / "models" / "model.pt")
    return bundle


def test_the_bundle_keeps_the_contract_and_that_is_known_in_a_second(served: Path) -> None:
    check_contract(served)  # loads libraries
    started = time.process_time()
    assert check_contract(served) == []
    assert time.process_time() - started < 1


def edit(file: str, change: Callable[[dict], None]) -> Callable[[Path], None]:
    def make(bundle: Path) -> None:
        path = bundle / "configs" / file
        if path.suffix == ".json":
            content = json.loads(path.read_text())
            change(content)
            path.write_text(json.dumps(content))
        else:
            content = yaml.safe_load(path.read_text())
            change(content)
            path.write_text(yaml.safe_dump(content, sort_keys=False))

    return make


def transforms(content: dict, name: str) -> list:
    return content[name]["transforms"]


def find(content: dict, target: str) -> dict:
    entries = transforms(content, "postprocessing") + transforms(content, "preprocessing")
    return next(entry for entry in entries if isinstance(entry, dict) and entry["_target_"].endswith(target))


def rename_key(content: dict, old: str, new: str) -> None:
    content[new] = content.pop(old)


BREACHES: dict[str, tuple[Callable[[Path], object], str]] = {
    "renamed inference": (lambda b: (b / "configs/inference.yaml").rename(b / "configs/inference.yml"), "rename infer"),
    "no training": (lambda b: (b / "configs/train.yaml").unlink(), "train.yaml: is missing"),
    "broken YAML": (lambda b: (b / "configs/train.yaml").write_text("a: [1"), "train.yaml: cannot be read"),
    "broken metadata": (
        lambda b: (b / "configs/metadata.json").write_text("{"),
        "metadata.json: gives no network_data_format",
    ),
    "no metadata": (lambda b: (b / "configs/metadata.json").unlink(), "metadata.json: gives no network_data_format"),
    "another input first": (
        edit("metadata.json", lambda c: rename_key(c["network_data_format"]["inputs"], "image", "volume")),
        "put 'image' first",
    ),
    "another output first": (
        edit("metadata.json", lambda c: rename_key(c["network_data_format"]["outputs"], "pred", "mask")),
        "put 'pred' first",
    ),
    "no label": (
        edit(
            "metadata.json",
            lambda c: c["network_data_format"]["outputs"]["pred"].update(channel_def={"0": "Background"}),
        ),
        "names no label",
    ),
    "no inferer": (edit("inference.yaml", lambda c: c.pop("inferer")), "has no 'inferer'"),
    "other key": (
        edit("inference.yaml", lambda c: find(c, "CaseLoadImaged").update(keys="volume")),
        "no LoadImaged",
    ),
    "Spacingd": (
        edit(
            "inference.yaml", lambda c: transforms(c, "preprocessing").append({"_target_": "Spacingd", "keys": "image"})
        ),
        "image_path",
    ),
    "no Invertd": (
        edit("inference.yaml", lambda c: transforms(c, "postprocessing").remove(find(c, "Invertd"))),
        "another grid",
    ),
    "disabled Invertd": (
        edit("inference.yaml", lambda c: find(c, "Invertd").update(_disabled_=True)),
        "another grid",
    ),
    "float mask": (
        edit("inference.yaml", lambda c: find(c, "CastToTyped").update(dtype="$torch.float32")),
        "viewers refuse",
    ),
    "something after the cast": (
        edit(
            "inference.yaml", lambda c: transforms(c, "postprocessing").append({"_target_": "ToNumpyd", "keys": "pred"})
        ),
        "viewers refuse",
    ),
    "no epochs": (
        edit("train.yaml", lambda c: c["train"]["trainer"].pop("max_epochs")),
        "'train::trainer::max_epochs'",
    ),
    "no data": (edit("train.yaml", lambda c: c["validate"]["dataset"].pop("data")), "'validate::dataset::data'"),
    "no run": (edit("train.yaml", lambda c: c.pop("run")), "has no 'run'"),
    "handlers elsewhere": (edit("train.yaml", lambda c: c["train"].update(handlers="@others")), "not a plain list"),
    "trains elsewhere": (edit("train.yaml", lambda c: c.update(ckpt_dir="runs")), "brainseg label install"),
    "handlers by number": (
        edit("multi_gpu_train.yaml", lambda c: c.update({"train::handlers::0::_disabled_": True})),
        "numbers the handlers",
    ),
    "detection in its name": (lambda b: b.rename(b.parent / "tumor_detection"), "makes it a detection task"),
    "space in its name": (lambda b: b.rename(b.parent / "a b"), "rename the folder"),
    "two weights": (lambda b: shutil.copy(b / "models/model.pt", b / "models/a.pt"), "a.pt: the server offers"),
    "no weights": (lambda b: (b / "models/model.pt").unlink(), "--checkpoint"),
    "bare weights of another network": (
        lambda b: torch.save({"model": torch.nn.Conv2d(3, 2, 3).state_dict()}, b / "models/model.pt"),
        "another network",
    ),
    "state_dict as key": (
        lambda b: torch.save({"state_dict": {}}, b / "models/model.pt"),
        "would use random weights",
    ),
}


@pytest.mark.parametrize("name", BREACHES)
def test_each_breach_is_found_alone_and_says_what_to_do(name: str, served: Path) -> None:
    make, said = BREACHES[name]
    make(served)
    bundle = served if served.exists() else next(path for path in served.parent.iterdir() if path.is_dir())
    found = check_contract(bundle)
    assert len(found) == 1, found
    assert said in str(found[0])
    assert found[0].remedy


def test_torchscript_alone_is_enough_to_serve(served: Path) -> None:
    (served / "models/model.pt").rename(served / "models/model.ts")
    assert check_contract(served) == []


def test_bundle_outside_an_app_is_not_asked_for_what_installing_sees_to(served: Path) -> None:
    shutil.copy(CONFIGS / "train.yaml", served / "configs/train.yaml")
    assert check_contract(served, served=False) == []
    assert len(check_contract(served)) == 1
