"""Bundles are found by path and by name."""

from __future__ import annotations

from pathlib import Path

import pytest

from monai_brainseg.errors import InputError
from monai_brainseg.runs.bundle_folders import find_bundle


def test_bundles_are_found_by_path_and_by_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    folder = tmp_path / "mine"
    (folder / "configs").mkdir(parents=True)
    (folder / "configs" / "inference.yaml").write_text("run: []\n")
    assert find_bundle(str(folder), "inference.yaml") == folder
    assert find_bundle("brainseg_unet", "train.yaml") == find_bundle("bundles/brainseg_unet", "train.yaml")
    monkeypatch.chdir(tmp_path)
    assert find_bundle("mine", "inference.yaml").resolve() == folder
    assert (find_bundle("brainseg_unet", "inference.yaml") / "configs" / "inference.yaml").is_file()
    with pytest.raises(InputError, match=r"--bundle other: is not a bundle .*brainseg_unet"):
        find_bundle("other", "inference.yaml")


def test_a_bundle_without_the_config_that_is_needed_is_refused_by_its_name(tmp_path: Path) -> None:
    (tmp_path / "configs").mkdir()
    (tmp_path / "configs" / "inference.yaml").write_text("run: []\n")
    with pytest.raises(InputError, match=r"is not a bundle with train.yaml and inference.yaml"):
        find_bundle(str(tmp_path), "train.yaml", "inference.yaml")
