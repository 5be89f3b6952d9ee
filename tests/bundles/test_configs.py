"""The bundles' files as the model zoo and MONAI want them, and configs that agree with one another."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

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


def test_configs_of_the_bundle_agree_on_network_and_preprocessing() -> None:
    train, evaluate, inference = load("train.yaml"), load("evaluate.yaml"), load("inference.yaml")
    for name in ("network_def", "pixel_size", "patch_size", "network_grid", "bundle_root"):
        assert train[name] == evaluate[name] == inference[name], name
    names = (
        "postprocessing",
        "device",
        "amp",
        "precision",
        "inferer",
        "mirroring_inferer",
        "slice_inferer",
        "case_name",
        "min_voxels",
        "min_share",
        "smooth",
        "remove_minor",
        "flip",
        "operating_points",
    )
    for name in (*names, "operating_point", "smooth_slices", "save_probability", "name_formatter", "volume_writer"):
        assert evaluate[name] == inference[name], name
    validation = [*train["reading"], *train["normalizing"], *train["validate"]["deterministic_transforms"]]
    plain = [step for step in keep_image(validation) if "CastToTyped" not in str(step)]
    assert plain[0].pop("_target_") == "monai_brainseg.training.readers.ThreadedLoadImaged"  # the same, for threads
    plain[0]["_target_"] = "LoadImaged"
    checked = [step for step in inference["preprocessing"]["transforms"] if "_assert" not in str(step)]
    assert plain == checked
    assert keep_image(evaluate["preprocessing"]["transforms"]) == plain


def keep_image(steps: list[Any]) -> list[Any]:
    """The steps that change the image, as they would be for it alone."""
    return [{**step, "keys": "image"} if "keys" in step else step for step in steps if "image" in str(step)]


def test_each_config_opens_with_purpose_command_and_time() -> None:
    files = [*Path("bundles").glob("*/configs/*.yaml"), *Path("configs").rglob("*.yaml")]
    assert len(files) >= 18
    for file in files:
        comments = [line for line in file.read_text().splitlines() if line.startswith("#")]
        assert file.read_text().startswith("# ")
        assert any("monai.bundle run" in line for line in comments), file
