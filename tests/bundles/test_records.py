"""The record of a folder of masks: which weights made them."""

from __future__ import annotations

import json
from pathlib import Path

import torch
from brainseg_unet_scripts.records import describe_weights, list_weights, write_record


def test_masks_of_other_weights_that_lie_in_a_folder_stay_in_its_record(tmp_path: Path) -> None:
    one, other = {"file": "a", "sha256": "1", "seen": ["images:1"]}, {"file": "b", "sha256": "2", "seen": ["images:2"]}
    assert list_weights(tmp_path, [one]) == [one]
    (tmp_path / "mask.nii.gz").touch()
    assert list_weights(tmp_path, [one])[1]["seen"] is None
    (tmp_path / "run.json").write_text(json.dumps({"checkpoint": [other, one]}))
    assert list_weights(tmp_path, [one]) == [one, other]


def test_record_names_the_weights_whom_they_had_seen_and_the_precision(tmp_path: Path) -> None:
    (tmp_path / "model.pt").write_bytes(b"weights")
    write_record(
        str(tmp_path / "masks"), describe_weights(tmp_path / "model.pt", {"seen": ["images:1"]}), torch.bfloat16
    )
    record = json.loads((tmp_path / "masks" / "run.json").read_text())
    assert record["checkpoint"][0]["seen"] == ["images:1"]
    assert record["precision"] == "bfloat16"
    assert [file.name for file in (tmp_path / "masks").iterdir()] == ["run.json"]
