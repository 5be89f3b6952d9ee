"""Commands on damaged data: handled, or one line and no output; a healthy case among the damaged is not touched."""

from __future__ import annotations

import json
from functools import partial
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from support import damages
from support.damaged_volumes import draw_image, list_volumes
from support.fixed_bundles import BRIGHT, bright_state, make_bundle, read_mask
from support.ledger import Ledger

from monai_brainseg.cli.main import main
from monai_brainseg.data.prepare import prepare
from monai_brainseg.data.splits import Item, read_datalist
from monai_brainseg.images.image_files import open_image
from monai_brainseg.images.slices import encode_slices
from monai_brainseg.images.volumes import read_nifti
from monai_brainseg.inputs.search import find_studies
from monai_brainseg.prediction.options import Options
from monai_brainseg.prediction.studies import predict
from monai_brainseg.reporting.evaluation import evaluate
from monai_brainseg.scoring.patients import score_patient


def write_studies(folder: Path) -> list[str]:
    """Write one study for each of a selection of damaged volumes and slices, and a healthy one."""
    names = []
    for number, (name, ending, data) in enumerate(list_volumes()):
        if number % 3 == 0 or "affine" in name or name in ("NaN", "infinite", "constant", "huge double", "one slice"):
            names.append(f"v{number:03d}")
            (folder / f"v{number:03d}{ending}").write_bytes(data)
    slices = [encode_slices(draw_image()[..., z].T[None].astype(np.uint8), ".tif") for z in range(4)]
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
        bad = predict(find_studies([each], leave_out=None), place, options, say=said.append)
    for case, reason in bad.items():
        ledger.refused[case] = reason
        ledger.expect("\n" not in reason and "Traceback" not in reason, case, reason)
        ledger.expect("cannot be segmented" not in reason, case, f"not foreseen: {reason}")
        ledger.expect(not list(output.glob(f"{case}.*")) and not (output / case).exists(), case, "has a mask")
    for case in set(names) - set(bad):
        ledger.handled.append(case)
        files = list(folder.glob(f"{case}.nii*"))
        if files:
            mask = nib.load(output / f"{case}.nii.gz")
            with open_image(files[0]) as (image, _):
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
