"""Every damaged file is read right, or one line says what is wrong: no trace, no hang, no memory eaten."""

from __future__ import annotations

import io
import json
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
import yaml
from hypothesis import given, settings
from hypothesis import strategies as st
from support import damages
from support.damaged_volumes import draw_image, list_volumes
from support.fixed_bundles import bright_state, save_weights
from support.ledger import Ledger

from monai_brainseg.data.splits import read_datalist
from monai_brainseg.errors import InputError
from monai_brainseg.files import clean_name
from monai_brainseg.images import volumes
from monai_brainseg.images.slices import encode_slices
from monai_brainseg.images.volumes import read_nifti, read_slices
from monai_brainseg.reporting.learning_curves import read_training_run
from monai_brainseg.runs.commands import Command, load_config
from monai_brainseg.runs.config_checks import check_command
from monai_brainseg.scoring.operating_points import read_points
from monai_brainseg.weights.checkpoints import read_checkpoint
from monai_brainseg.weights.provenance import read_seen


def test_volumes(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    ledger, original = Ledger(), draw_image()
    for name, ending, data in list_volumes():
        file = tmp_path / f"x{ending}"
        file.write_bytes(data)
        volume = ledger.attempt(name, partial(read_nifti, file))
        if volume is None:
            continue
        ledger.expect(volume.voxels.ndim in (3, 4) and volume.voxels.size > 0, name, f"shape {volume.voxels.shape}")
        ledger.expect(bool(np.isfinite(volume.affine).all()), name, "affine")
        if name.startswith("gz ") and "not packed" not in name:
            ledger.expect(np.array_equal(volume.voxels, original), name, "other voxels in silence")
    ledger.close(170)
    monkeypatch.setattr(volumes, "LARGEST", 2**26)
    bomb = tmp_path / "bomb.nii.gz"
    bomb.write_bytes(damages.make_gzip_bomb())
    with pytest.raises(InputError, match="unpacks to more than"):
        read_nifti(bomb)


@pytest.mark.parametrize("ending", [".tif", ".png"])
def test_slices(tmp_path: Path, ending: str) -> None:
    ledger, rng = Ledger(), np.random.default_rng(0)
    grey, colours = rng.integers(0, 255, (12, 10), np.uint8), rng.integers(0, 255, (12, 10, 3), np.uint8)
    others = {
        "colours": colours, "16 bit": grey.astype(np.uint16), "other size": grey[:5], "one pixel": grey[:1, :1]
    }  # fmt: skip
    files = [tmp_path / f"s{number}{ending}" for number in range(3)]
    for file in files:
        file.write_bytes(encode_slices(grey[None], ending))
    damaged = list(damages.damage_bytes(encode_slices(grey[None], ending), 3))
    damaged += [(name, encode_slices(image[None], ending)) for name, image in others.items()]
    damaged += [("the other form", encode_slices(grey[None], ".png" if ending == ".tif" else ".tif"))]
    for name, data in damaged:
        files[1].write_bytes(data)
        stack = ledger.attempt(name, lambda: read_slices(files).voxels)
        if stack is not None:
            ledger.expect(stack.shape == (10, 12, 3), name, f"shape {stack.shape}")
        if stack is not None and ending == ".png":
            ledger.expect(np.array_equal(stack[..., 1], grey.T), name, "other pixels in silence")
    ledger.close(30)


def make_entry(patient: str, **more: Any) -> dict[str, Any]:
    files = {"image": [f"imagesTr/{patient}_000{n}.nii.gz" for n in range(3)], "label": f"labelsTr/{patient}.nii.gz"}
    known = {"subject": patient, "site": "CS", "spacing_known": True, "replaced": [], "tumor_voxels": 5, "hash": "ab"}
    return {**files, "patient": patient, **known, **more}


def make_datalist() -> dict[str, Any]:
    training = [make_entry(name, fold=number % 2) for number, name in enumerate("abcd")]
    return {"name": "few", "training": training, "test": [make_entry("e"), make_entry("f")]}


def check_names(listed: Any) -> bool:
    items = [*listed["training"], *listed["test"]]
    return all(clean_name(item["patient"]) == item["patient"] for item in items)


def test_datalists(tmp_path: Path) -> None:
    ledger, file = Ledger(), tmp_path / "datalist.json"
    content = make_datalist()
    damaged = [(name, text.encode()) for name, text in damages.damage_json(content)]
    damaged += list(damages.damage_bytes(json.dumps(content).encode(), 4, flips=30, cuts=20))
    damaged += [
        (f"called {name!r:.20}", json.dumps({**content, "test": [make_entry(name)]}).encode())
        for name in damages.ODD_NAMES
    ]
    for name, data in damaged:
        file.write_bytes(data)
        listed = ledger.attempt(name, lambda: read_datalist(file, check_files=False))
        if listed is not None:
            ledger.expect(check_names(listed), name, "a name that leads elsewhere")
        ledger.attempt(f"{name}, files", lambda: read_datalist(file))
    for name in ("in both parts", "twice", "no patients", "called '../../escape'", "called 'a\\nnewline'"):
        assert name in ledger.refused
    ledger.close(400)


json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=8),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=6,
)
fields = st.sampled_from(["patient", "image", "label", "fold", "subject", "site", "hash", "spacing_known"])
entries = st.dictionaries(fields, json_values | st.sampled_from(["a", "b", "a.nii.gz", 0, 1]), max_size=8)


@settings(max_examples=150, deadline=None)
@given(training=st.lists(entries, max_size=3) | json_values, test=st.lists(entries, max_size=2) | json_values)
def test_any_json_is_a_datalist_or_one_line(training: Any, test: Any, tmp_path_factory: pytest.TempPathFactory) -> None:
    file = tmp_path_factory.getbasetemp() / "any.json"
    file.write_text(json.dumps({"training": training, "test": test}))
    try:
        assert check_names(read_datalist(file, check_files=False))
    except InputError as error:
        assert "\n" not in str(error)


@settings(max_examples=200, deadline=None)
@given(name=st.text(max_size=30))
def test_any_name_becomes_one_of_a_file_in_the_same_folder(name: str) -> None:
    cleaned = clean_name(name)
    assert cleaned == clean_name(cleaned)
    assert (Path("/out") / cleaned).resolve().parent == Path("/out")


def test_configs(tmp_path: Path) -> None:
    ledger = Ledger()
    base, overlay = tmp_path / "base.yaml", tmp_path / "overlay.yaml"
    ids = {"epochs": 3, "fold": 0, "learning_rate": 0.1, "patch_size": [64, 64], "amp": True, "part": "test", "seed": 0}
    base.write_text(yaml.safe_dump({**ids, "network_def": {"_target_": "UNet", "spatial_dims": 2}}))
    text = "# an overlay\nepochs: 4\npatch_size: [32, 32]\nnetwork_def::spatial_dims: 3\nmine: '$@epochs + 1'\n"
    for name, data in damages.damage_text(text):
        overlay.write_bytes(data)
        ledger.attempt(name, lambda: load_config(overlay))
        command = Command("training", (str(base), str(overlay)), {})
        ledger.attempt(f"{name}, command", partial(check_command, command))
    for line in ("+epochs: [1]", "+patch_size: {a: 1}", "epochs::deep: 1", "patch_size::9: 1", "network_def::x::y: 1"):
        overlay.write_text(line)
        ledger.attempt(line, partial(check_command, Command("training", (str(base), str(overlay)), {})))
    for id_ in ids:
        for value in damages.WRONG:
            command = Command("training", (str(base),), {id_: value})
            ledger.attempt(f"{id_} {value!r:.20}", partial(check_command, command))
    assert not Path("ran").exists()
    assert {"bomb", "itself", "deep", "Python object"} <= set(ledger.refused)
    ledger.close(180)


def test_weights(tmp_path: Path) -> None:
    ledger, file = Ledger(), tmp_path / "model.pt"
    state = bright_state()
    whole = save_weights(tmp_path / "whole.pt", state).read_bytes()
    damaged = list(damages.damage_bytes(whole, 6, flips=60, cuts=10))
    for name, content in {
        "a number": 3, "a list": [state], "no model": {"seen": []}, "model is None": {"model": None},
        "state alone": state, "text in it": {"model": {"weight": "x"}}, "seen is a number": {"model": state, "seen": 5},
        "seen is a text": {"model": state, "seen": "ab"}, "seen holds None": {"model": state, "seen": [None]},
    }.items():  # fmt: skip
        buffer = io.BytesIO()
        torch.save(content, buffer)
        damaged.append((name, buffer.getvalue()))
    buffer = io.BytesIO()
    torch.save({"model": torch.nn.Conv2d(1, 1, 1)}, buffer)  # a pickled module: it would run code
    damaged.append(("module", buffer.getvalue()))
    for name, data in damaged:
        file.write_bytes(data)
        content = ledger.attempt(name, lambda: read_checkpoint(file))
        if content is not None:
            same = all(torch.equal(content["model"][key], value) for key, value in state.items())
            ledger.expect(same, name, "other weights in silence")
    assert "module" in ledger.refused
    ledger.close(80)


def test_records(tmp_path: Path) -> None:
    """``run.json`` and ``summary.json`` of somebody else, and a training run's folder."""
    ledger = Ledger()
    record = {"checkpoint": [{"file": "m.pt", "sha256": "a", "seen": ["images:1"]}], "command": []}
    points = {"thresholds": {"balanced": 0.5, "recall": 0.2}, "file": None, "fold": 0, "patients": ["a"]}
    summary = {"protocol": {"operating_points": points}, "operating_points": {"balanced": {"threshold": 0.5}}}
    for content, name, read in (
        (record, "run.json", lambda: read_seen(tmp_path)),
        (summary, "summary.json", lambda: read_points(tmp_path / "summary.json")),
    ):
        texts = [(n, d) for n, d in damages.damage_bytes(json.dumps(content).encode(), 10)]
        for key in content:
            texts += [(f"{key} {v!r:.20}", json.dumps({**content, key: v}).encode()) for v in damages.WRONG]
        texts.append(("deep", b"[" * 100_000))
        for case, data in texts:
            (tmp_path / name).write_bytes(data)
            ledger.attempt(f"{name} {case}", read)
    (tmp_path / "tensorboard").mkdir()
    for case, data in damages.damage_bytes(b"\x18\0\0\0\0\0\0\0" + bytes(40), 11, flips=3, cuts=3):
        (tmp_path / "tensorboard" / "events.out.tfevents.1").write_bytes(data)
        ledger.attempt(f"events {case}", lambda: read_training_run(tmp_path))
    ledger.close(100)
