"""Weights that another program wrapped are taken by the package and by the bundle, and it is said."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
from brainseg_unet_scripts.weights import WeightsLoader, read_weights
from ignite.engine import Engine
from support.fixed_bundles import bright_state, draw_phantom, save_flair

from monai_brainseg.cli.main import main
from monai_brainseg.weights.checkpoints import read_checkpoint, write_checkpoint
from monai_brainseg.weights.provenance import describe_checkpoint


def begin(prefix: str) -> dict[str, torch.Tensor]:
    return {f"{prefix}{name}": value for name, value in bright_state().items()}


WRAPPED: dict[str, tuple[Any, str | None]] = {
    "bare": (bright_state(), None),
    "ours": ({"model": bright_state(), "seen": ["images:1"]}, None),
    "several GPUs": (begin("module."), "'module.'"),
    "compiled": (begin("_orig_mod."), "'_orig_mod.'"),
    "both": ({"model": begin("_orig_mod.module."), "seen": ["images:1"]}, "'_orig_mod.' and 'module.'"),
    "an average": ({**begin("module."), "n_averaged": torch.tensor(3)}, "'module.'"),
    "with its optimizer": ({"state_dict": begin("module."), "epoch": 3}, "'state_dict' and 'module.'"),
    "of a training module": ({"state_dict": begin("model."), "epoch": 3}, "'state_dict' and 'model.'"),
    "of nnU-Net's trainer": ({"network_weights": begin("module."), "epoch": 3}, "'network_weights' and 'module.'"),
    "twice": ({"model": {"state_dict": bright_state()}}, "'state_dict'"),
    "as torch's guide": ({"model_state_dict": bright_state(), "loss": 0.1}, "'model_state_dict'"),
}


@pytest.mark.parametrize("kind", WRAPPED)
def test_wrapped_weights_are_taken_and_said(kind: str, tmp_path: Path) -> None:
    content, said = WRAPPED[kind]
    file = tmp_path / "model.pt"
    torch.save(content, file)
    for found in (read_checkpoint(file), read_weights(str(file))):
        assert found["model"].keys() == bright_state().keys()
        assert found.get("seen") == (["images:1"] if "seen" in content else None)
        assert found.get("wrapped") == said
    network = torch.nn.Conv2d(3, 2, 1)
    WeightsLoader(str(file), network)(Engine(lambda engine, batch: None))
    assert torch.equal(network.weight, bright_state()["weight"])
    write_checkpoint(read_checkpoint(file), tmp_path / "plain.pt")
    assert "wrapped" not in read_checkpoint(tmp_path / "plain.pt")
    assert describe_checkpoint(file).get("note") == (said and f"weights were taken out of {said}")


def test_predict_takes_wrapped_weights_and_its_record_says_so(
    bright_bundle: Path, tmp_path: Path, predict: Callable[..., Any], capsys: pytest.CaptureFixture[str]
) -> None:
    torch.save({"state_dict": begin("module.")}, tmp_path / "w.pt")
    record = predict(save_flair(draw_phantom(), tmp_path / "scan.nii.gz"), "--checkpoint", tmp_path / "w.pt")
    assert record["cases"][0]["tumor_voxels"] > 0
    assert record["checkpoint"][0]["note"] == "weights were taken out of 'state_dict' and 'module.'"
    assert "w.pt: weights were taken out of" in "".join(capsys.readouterr())
    other = tmp_path / "export" / "half.pt"
    words = ["--bundle", str(bright_bundle), "--format", "half", "--output", str(other)]
    assert main(["export", str(tmp_path / "w.pt"), *words]) == 0
    assert torch.load(other, weights_only=True)["model"].keys() == bright_state().keys()
    assert json.loads((tmp_path / "masks" / "run.json").read_text()) == record


def test_names_that_begin_with_model_by_themselves_are_kept(tmp_path: Path) -> None:
    state = {"model.0.conv.weight": torch.zeros(1), "model.1.submodule.bias": torch.zeros(1)}
    torch.save({"state_dict": {f"model.{name}": value for name, value in state.items()}}, tmp_path / "w.pt")
    assert read_weights(str(tmp_path / "w.pt"))["model"].keys() == state.keys()
    torch.save(state, tmp_path / "w.pt")
    assert read_weights(str(tmp_path / "w.pt"))["model"].keys() == state.keys()
