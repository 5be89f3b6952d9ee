"""Every damaged input is handled, or one line says what is wrong: no trace, no hang, no memory eaten, no wrong mask."""

from __future__ import annotations

import io
import json
import resource
import signal
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from functools import partial
from pathlib import Path
from types import FrameType
from typing import Any

import damages
import nibabel as nib
import numpy as np
import pytest
import torch
import yaml
from fixed_bundles import BRIGHT, bright_state, draw_phantom, make_bundle, read_mask, save_weights
from hypothesis import given, settings
from hypothesis import strategies as st

from monai_brainseg import volumes
from monai_brainseg.cli import main
from monai_brainseg.commands import Command, check_command, load_config
from monai_brainseg.errors import InputError
from monai_brainseg.evaluation import evaluate
from monai_brainseg.learning_curves import read_training_run
from monai_brainseg.naming import clean_name
from monai_brainseg.operating_points import read_points
from monai_brainseg.predict import Options, predict
from monai_brainseg.prepare import prepare
from monai_brainseg.provenance import read_seen
from monai_brainseg.scoring import score_patient
from monai_brainseg.slices import encode_slice
from monai_brainseg.splits import Item, read_datalist
from monai_brainseg.studies import find_scans
from monai_brainseg.volumes import read_nifti, read_slices
from monai_brainseg.weights import read_checkpoint

SECONDS = 20
GIB = 2**30
PHANTOM = draw_phantom(size=48, slices=8)


class Ledger:
    """What became of each case: how many were handled, how many refused in one line, and which went wrong."""

    def __init__(self) -> None:
        self.handled: list[str] = []
        self.refused: dict[str, str] = {}
        self.wrong: list[str] = []
        self.before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def attempt(self, name: str, call: Callable[[], Any]) -> Any:
        """Return what a call returns; None where it refused."""
        try:
            with limit_time():
                result = call()
        except InputError as error:
            self.refused[name] = str(error)
            if "\n" in str(error) or "Traceback" in str(error) or len(str(error)) > 1500:
                self.wrong.append(f"{name}: not one line: {error!r:.300}")
            return None
        except BaseException:
            self.wrong.append(f"{name}: {traceback.format_exc(limit=-4)}")
            return None
        self.handled.append(name)
        return result

    def expect(self, right: bool, name: str, problem: str) -> None:
        if not right:
            self.wrong.append(f"{name}: {problem}")

    def close(self, least: int) -> None:
        count = len(self.handled) + len(self.refused)
        print(f"{count} cases: {len(self.handled)} handled, {len(self.refused)} refused, {len(self.wrong)} wrong")
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - self.before) * 1024 / GIB
        assert not self.wrong, f"{len(self.wrong)} wrong\n" + "\n".join(self.wrong[:8])
        assert count >= least
        assert grown < 1, f"{grown:.1f} GiB more memory"


@contextmanager
def limit_time() -> Iterator[None]:
    def stop(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"more than {SECONDS} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)


def draw_image() -> np.ndarray:
    image = np.ascontiguousarray(PHANTOM.images[8:40, 8:40, 2:6, 1].astype(np.int16))
    image[12:22, 12:22, 1:3] = 3 * image.max()  # what the bundle of these tests takes for tumour
    return image


def list_volumes() -> Iterator[tuple[str, str, bytes]]:
    """Every damaged NIfTI: what was done, an ending, and the bytes."""
    whole = damages.make_nifti(draw_image())
    for name, data in damages.damage_bytes(damages.compress(whole), 1):
        yield f"gz {name}", ".nii.gz", data
    for name, data in damages.damage_bytes(whole, 2):
        yield name, ".nii", data
    for name, data in damages.damage_header(whole):
        yield name, ".nii", data
    for name, data in damages.make_odd_volumes(draw_image()):
        yield name, ".nii.gz", damages.compress(data)
    yield "gz ending, not packed", ".nii.gz", whole
    yield "packed, plain ending", ".nii", damages.compress(whole)


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
    monkeypatch.setattr(volumes, "_LARGEST", 2**26)
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
        file.write_bytes(encode_slice(grey, ending))
    damaged = list(damages.damage_bytes(encode_slice(grey, ending), 3))
    damaged += [(name, encode_slice(image, ending)) for name, image in others.items()]
    damaged += [("the other form", encode_slice(grey, ".png" if ending == ".tif" else ".tif"))]
    for name, data in damaged:
        files[1].write_bytes(data)
        stack = ledger.attempt(name, lambda: read_slices(files))
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


def write_studies(folder: Path) -> list[str]:
    """Write one study for each of a selection of damaged volumes and slices, and a healthy one."""
    names = []
    for number, (name, ending, data) in enumerate(list_volumes()):
        if number % 3 == 0 or "affine" in name or name in ("NaN", "infinite", "constant", "huge double", "one slice"):
            names.append(f"v{number:03d}")
            (folder / f"v{number:03d}{ending}").write_bytes(data)
    slices = [encode_slice(np.ascontiguousarray(draw_image()[..., z].T.astype(np.uint8)), ".tif") for z in range(4)]
    for number, (_, data) in enumerate(damages.damage_bytes(slices[1], 7, flips=4, cuts=3)):
        names.append(f"s{number:03d}")
        for z, each in enumerate([slices[0], data, *slices[2:]]):
            (folder / f"s{number:03d}_{z}.tif").write_bytes(each)
    (folder / "healthy.nii.gz").write_bytes(damages.compress(damages.make_nifti(draw_image())))
    return [*names, "healthy"]


def test_predict(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle", BRIGHT, bright_state())
    folder, alone = tmp_path / "in", tmp_path / "alone"
    folder.mkdir()
    names = write_studies(folder)
    alone.mkdir()
    (alone / "healthy.nii.gz").write_bytes((folder / "healthy.nii.gz").read_bytes())
    ledger, options, output = Ledger(), Options(bundle=str(bundle)), tmp_path / "masks"
    for each, place in ((alone, tmp_path / "reference"), (folder, output)):
        said: list[str] = []
        bad = predict(find_scans([each], leave_out=None), place, options, say=said.append)
    for case, reason in bad.items():
        ledger.refused[case] = reason
        ledger.expect("\n" not in reason and "Traceback" not in reason, case, reason)
        ledger.expect("cannot be segmented" not in reason, case, f"not foreseen: {reason}")
        ledger.expect(not list(output.glob(f"{case}.*")) and not (output / case).exists(), case, "has a mask")
    for case in set(names) - set(bad):
        ledger.handled.append(case)
        files = list(folder.glob(f"{case}.nii*"))
        if files:
            image, mask = nib.load(files[0]), nib.load(output / f"{case}.nii.gz")
            ledger.expect(mask.shape == image.shape[:3], case, f"{mask.shape} for {image.shape}")
            ledger.expect(np.allclose(mask.affine, image.affine, equal_nan=True), case, "another affine")
    assert np.array_equal(read_mask(output / "healthy.nii.gz"), read_mask(tmp_path / "reference" / "healthy.nii.gz"))
    assert read_mask(output / "healthy.nii.gz").any()
    assert not list(output.rglob(".unfinished*"))
    ledger.close(70)


@pytest.mark.parametrize("name", damages.ODD_NAMES)
def test_odd_names_stay_in_the_folder(name: str, tmp_path: Path) -> None:
    """Of a prepared folder somebody else's datalist gives the names."""
    bundle = make_bundle(tmp_path / "bundle", BRIGHT, bright_state())
    data = tmp_path / "deep" / "er" / "data"
    data.mkdir(parents=True)
    (data / "x.nii.gz").write_bytes(damages.compress(damages.make_nifti(draw_image())))
    (data / "y.nii.gz").write_bytes(damages.compress(damages.make_nifti((draw_image() > 100).astype(np.uint8))))
    entry = {"image": "x.nii.gz", "label": "y.nii.gz", "patient": name}
    training = [{**entry, "patient": "other", "fold": 0}]
    (data / "datalist.json").write_text(json.dumps({"training": training, "test": [entry]}))
    before = set(tmp_path.rglob("*"))
    output = tmp_path / "deep" / "er" / "masks"
    main(["predict", str(data), "--bundle", str(bundle), "--output", str(output)])
    main(["evaluate", "--datalist", str(data), "--predictions", str(output), "--output", str(output / "scores")])
    assert all(output in (path, *path.parents) for path in set(tmp_path.rglob("*")) - before)


def write_brats(source: Path, name: str, data: bytes, role: str, ending: str) -> None:
    for number in range(4):
        folder = source / f"P_{number}"
        folder.mkdir(parents=True, exist_ok=True)
        image = damages.make_nifti(draw_image() + number)
        mask = damages.make_nifti((draw_image() > 150 + number).astype(np.uint8))
        for kind, content in (("flair", image), ("t1", image), ("seg", mask)):
            (folder / f"P_{number}_{kind}.nii.gz").write_bytes(damages.compress(content))
    (source / "P_1" / f"P_1_{role}.nii.gz").unlink()
    (source / "P_1" / f"P_1_{role}{ending}").write_bytes(data)


@pytest.mark.parametrize("role", ["flair", "t1", "seg"])
def test_prepare(role: str, tmp_path: Path) -> None:
    ledger = Ledger()
    for number, (name, ending, data) in enumerate(list_volumes()):
        if number % 6 != ("flair", "t1", "seg").index(role) and "affine" not in name:
            continue
        source, output = tmp_path / f"{number}", tmp_path / f"{number}-out"
        write_brats(source, name, data, role, ending)
        said: list[str] = []
        options: dict[str, Any] = {"test_share": 0.0, "folds": 2, "say": said.append}
        ledger.attempt(name, partial(prepare, source, output, **options))
        whole = name in ledger.handled
        ledger.expect(output.exists() == whole, name, "left a folder")
        if whole:
            items = read_datalist(output)["training"]
            ledger.expect(len(items) == 4, name, f"{len(items)} patients")
            for item in items:
                shapes = {read_nifti(Path(file)).voxels.shape for file in (*item["image"], item["label"])}
                ledger.expect(len(shapes) == 1, name, f"grids {shapes}")
        else:
            ledger.attempt(f"{name}, skipped", partial(prepare, source, output, skip_bad=True, **options))
            ledger.expect("P_1" in "".join(said), name, "left out in silence")
        ledger.expect(not list(tmp_path.glob(".*unfinished")), name, "left an unfinished folder")
    ledger.close(40)


def test_evaluate(tmp_path: Path) -> None:
    ledger = Ledger()
    truth = (draw_image() > 150).astype(np.uint8)
    (tmp_path / "truth.nii.gz").write_bytes(damages.compress(damages.make_nifti(truth)))
    predictions = tmp_path / "masks"
    predictions.mkdir()
    item: Item = {"image": [str(tmp_path / "i.nii.gz")], "label": str(tmp_path / "truth.nii.gz"), "patient": "x"}
    good = damages.compress(damages.make_nifti(truth))
    damaged = [*damages.damage_bytes(good, 8), *((n, damages.compress(d)) for n, d in damages.make_odd_volumes(truth))]
    for name, data in damaged:
        (predictions / "x.nii.gz").write_bytes(data)
        scores = ledger.attempt(name, lambda: score_patient(item, predictions, 2.0))
        if scores is not None and not name.startswith(("all zero", "mask", "int8", "uint64", "affine", "single")):
            ledger.expect(scores.overlap("dice") == 1, name, "another score in silence")
    (predictions / "x.nii.gz").write_bytes(good)
    for name, data in damaged:
        (predictions / "x_probability.nii.gz").write_bytes(data)
        ledger.attempt(f"probability {name}", lambda: score_patient(item, predictions, 2.0))
    (predictions / "x_probability.nii.gz").unlink()
    for name, data in damaged:
        (tmp_path / "truth.nii.gz").write_bytes(data)
        ledger.attempt(f"truth {name}", lambda: score_patient(item, predictions, 2.0))
    ledger.close(150)


def test_evaluate_writes_nothing_where_it_refuses(tmp_path: Path) -> None:
    ledger = Ledger()
    truth = damages.compress(damages.make_nifti((draw_image() > 150).astype(np.uint8)))
    for name in ("t.nii.gz", "i.nii.gz", "masks/x.nii.gz"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_bytes(truth)
    entry = {"image": "i.nii.gz", "label": "t.nii.gz", "patient": "x"}
    for name, data in damages.damage_bytes(truth, 9, flips=6, cuts=4):
        training = [{**entry, "patient": "y", "fold": 0}]
        (tmp_path / "datalist.json").write_text(json.dumps({"training": training, "test": [entry]}))
        (tmp_path / "masks/x.nii.gz").write_bytes(data)
        output = tmp_path / f"scores {name}"
        ledger.attempt(name, partial(evaluate, tmp_path, tmp_path / "masks", output))
        if name in ledger.refused:
            ledger.expect(not any(output.glob("*")), name, "wrote scores")
    ledger.close(15)


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
