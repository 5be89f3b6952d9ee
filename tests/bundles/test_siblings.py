"""Bundles that repeat each other, as MONAI forces them to, held together: each differs in its network alone."""

from __future__ import annotations

import filecmp
import json
from pathlib import Path
from typing import Any

import pytest
from monai.bundle import ConfigParser, ConfigWorkflow
from support.bundle_runs import CONFIGS, FCN_CONFIGS

# What the FCN bundle has of its own, beside its header: ids and where they are named.
FCN_IDS: dict[str, set[str]] = {
    "train.yaml": {"imports", "initialize", "start_from", "auxiliary", "loss", "network_def", "bundle_root"},
    "multi_gpu_train.yaml": {"initialize"},
    "evaluate.yaml": {"auxiliary", "network_def", "bundle_root"},
    "inference.yaml": {"imports", "auxiliary", "network_def", "bundle_root"},
}


def load(file: Path) -> dict[str, Any]:
    return ConfigParser.load_config_file(file)


@pytest.mark.parametrize("name", FCN_IDS)
def test_siblings_differ_in_the_few_ids_that_are_named_here(name: str) -> None:
    one, other = load(CONFIGS / name), load(FCN_CONFIGS / name)
    assert {item for item in other if item not in one or one[item] != other[item]} == FCN_IDS[name]
    shared = [item for item in other if item in one]
    assert shared == list(one), "ids stand in the same order"


@pytest.mark.parametrize("name", ["train.yaml", "multi_gpu_train.yaml"])
def test_fcn_adds_one_step_to_the_beginning_of_a_run(name: str) -> None:
    one, other = load(CONFIGS / name), load(FCN_CONFIGS / name)
    added = [step for step in other["initialize"] if step not in one["initialize"]]
    assert added == ["$networks.load_published(@network_def, @start_from) if @start_from else None"]
    assert [step for step in other["initialize"] if step not in added] == one["initialize"]


def test_lines_differ_in_comments_that_speak_of_the_network_and_in_these_ids_alone() -> None:
    for name, ids in FCN_IDS.items():
        one, other = ((folder / name).read_text().splitlines() for folder in (CONFIGS, FCN_CONFIGS))
        of_the_unet = {line for line in one if line not in other and line[:1] not in ("#", " ", "-")}
        of_the_fcn = {line for line in other if line not in one and line[:1] not in ("#", " ", "-")}
        heads = {line.split(":")[0] for line in of_the_unet | of_the_fcn}
        assert heads <= ids | {"flip", "operating_points"}, name  # of these two the comments differ


def test_networks_agree_over_the_configs_of_the_fcn() -> None:
    train, evaluate, inference = (
        load(FCN_CONFIGS / name) for name in ("train.yaml", "evaluate.yaml", "inference.yaml")
    )
    for name in ("network_def", "auxiliary", "pixel_size", "patch_size", "network_grid", "bundle_root"):
        assert train[name] == evaluate[name] == inference[name], name
    assert train["network_def"]["_target_"] == "monai_brainseg.training.networks.FCNResNet50"


def test_fcn_has_every_property_that_monai_asks_for(prepared_phantoms: Path, tmp_path: Path) -> None:
    workflow = ConfigWorkflow(
        config_file=str(FCN_CONFIGS / "train.yaml"),
        workflow_type="train",
        run_id="training",
        logging_file=str(FCN_CONFIGS / "logging.conf"),
        dataset_dir=str(prepared_phantoms),
        output_dir=str(tmp_path),
    )
    workflow.initialize()
    assert workflow.check_properties() == []


def test_what_is_no_config_has_the_same_form() -> None:
    for name in ("LICENSE", "configs/logging.conf"):
        assert filecmp.cmp(CONFIGS.parent / name, FCN_CONFIGS.parent / name, shallow=False), name
    one, other = (json.loads((folder / "metadata.json").read_text()) for folder in (CONFIGS, FCN_CONFIGS))
    assert list(one) == list(other)
    for name in one.keys() - {"changelog", "name", "description", "license", "eval_metrics", "references"}:
        assert one[name] == other[name], name
    files = [
        {str(file.relative_to(folder.parent)) for file in folder.parent.rglob("*") if file.is_file()}
        for folder in (CONFIGS, FCN_CONFIGS)
    ]
    # Its Python serves both.
    assert {name for name in files[0] ^ files[1] if "brainseg_unet_scripts" not in name} == {"models/model.pt"}
