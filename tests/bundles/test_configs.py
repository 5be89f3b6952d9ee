"""The bundles' files as the model zoo and MONAI want them, and configs that agree with one another."""

from __future__ import annotations

import json
from pathlib import Path

from support.bundle_runs import BUNDLE, CONFIGS, load

METADATA_KEYS = {  # what the 2024-07-25 schema requires; MONAI's own check downloads it
    "schema", "version", "changelog", "monai_version", "pytorch_version", "numpy_version", "required_packages_version",
    "task", "description", "authors", "copyright", "network_data_format",
}  # fmt: skip


def test_bundle_has_the_model_zoo_layout() -> None:
    for file in (
        "LICENSE",
        "docs/README.md",
        "docs/data_license.txt",
        "models",
        "configs/metadata.json",
        "configs/logging.conf",
    ):
        assert (BUNDLE / file).exists(), file
    assert "Apache License" in (BUNDLE / "LICENSE").read_text()


def test_metadata_has_every_key_of_the_schema_and_its_changelog_the_version() -> None:
    metadata = json.loads((CONFIGS / "metadata.json").read_text())
    assert METADATA_KEYS - {"required_packages_version"} <= set(metadata)
    assert "required_packages_version" in metadata or "optional_packages_version" in metadata
    assert metadata["version"] in metadata["changelog"]
    formats = metadata["network_data_format"]
    assert next(iter(formats["inputs"])) == "image"
    assert formats["outputs"]["pred"]["channel_def"] == {"0": "background", "1": "tumor"}
    assert formats["inputs"]["image"]["num_channels"] == load("inference.yaml")["network_def"]["in_channels"]


def test_inference_needs_monai_alone() -> None:
    names = [line for line in (CONFIGS / "inference.yaml").read_text().splitlines() if not line.startswith("#")]
    assert not any("monai_brainseg" in line for line in names)
    for module in (BUNDLE / "brainseg_unet_scripts").glob("*.py"):
        assert "monai_brainseg" not in module.read_text(), module


def test_training_and_inference_agree_on_network_and_on_what_it_sees() -> None:
    train, inference = load("train.yaml"), load("inference.yaml")
    for name in (
        "network_def",
        "pixel_size",
        "patch_size",
        "normalizing",
        "bundle_root",
        "device",
        "amp",
        "search_path",
    ):
        assert train[name] == inference[name], name
    assert train["validate"]["slice_inferer"] == inference["slice_inferer"]
    validation = [*train["reading"], "@normalizing", *train["validate"]["deterministic_transforms"]]
    validation = [step for step in validation if "CastToTyped" not in str(step) and "> 0" not in str(step)]
    alike = [step if isinstance(step, str) else {**step, "keys": "image"} for step in validation]
    assert alike == inference["preprocessing"]["transforms"]


def test_evaluate_yaml_says_of_inference_yaml_only_what_differs() -> None:
    evaluate, inference = load("evaluate.yaml"), load("inference.yaml")
    assert {name for name in evaluate if name in inference and evaluate[name] == inference[name]} == set()
    untouched = {"network_def", "network", "preprocessing", "postprocessing", "inferer", "evaluator", "saving"}
    assert untouched & set(evaluate) == set()


def test_configs_declare_and_their_programs_are_in_modules() -> None:
    limits = {
        "inference.yaml": (132, 18),
        "evaluate.yaml": (60, 6),
        "train.yaml": (300, 29),
        "multi_gpu_train.yaml": (30, 5),
    }
    files = [*Path("bundles").glob("*/configs/*.yaml"), *Path("configs").rglob("*.yaml")]
    assert {file.name for file in CONFIGS.glob("*.yaml")} == set(limits)
    for file in files:
        lines = file.read_text().splitlines()
        code = [line.split(" #")[0] for line in lines if not line.lstrip().startswith("#")]
        for word in ("sys.exit", "excepthook", "json.", "open(", "type("):
            assert not any(word in line for line in code), (file, word)
        assert all("lambda" not in line or line.count("'") % 2 == 0 and len(line) <= 120 for line in code), file
        most, expressions = limits.get(file.name, (60, 10))
        assert len(lines) <= most, file
        assert sum("$" in line for line in code) <= expressions, file


def test_parts_that_programs_take_have_ids_of_their_own() -> None:
    inference = load("inference.yaml")
    assert "SaveImaged" in str(inference["saving"])
    assert "SaveImaged" not in str(inference["postprocessing"])
    assert "@postprocessing, @saving" in inference["evaluator"]["postprocessing"]


def test_each_config_opens_with_purpose_command_and_time() -> None:
    files = [*Path("bundles").glob("*/configs/*.yaml"), *Path("configs").rglob("*.yaml")]
    assert len(files) >= 14
    for file in files:
        comments = [line for line in file.read_text().splitlines() if line.startswith("#")]
        assert file.read_text().startswith("# ")
        assert any("monai.bundle run" in line for line in comments), file
