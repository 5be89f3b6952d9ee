"""Short runs of the U-Net bundle's real configs: what a training leaves, and the masks of its weights."""

from __future__ import annotations

import hashlib
import json
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import torch
import yaml
from monai.bundle import ConfigParser
from support.bundle_runs import NARROW, QUICK, build, load, run
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator

from monai_brainseg.weights.provenance import read_seen

AFFINES = {
    "LPS": np.diag([-1.0, -1.0, 3.0, 1.0]),
    "RAS": np.diag([1.0, 1.0, 3.0, 1.0]),
    "oblique": np.array([[-0.96, 0.1, 0.6, 90], [-0.12, -0.95, 0.7, 80], [-0.2, 0.24, 2.8, -40], [0, 0, 0, 1.0]]),
    "sagittal": np.array([[0.0, 0, 2, 3], [-1, 0, 0, 4], [0, -1, 0, 5], [0, 0, 0, 1]]),
}


@pytest.fixture(scope="module")
def weights(prepared_phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Weights of a narrow network after two epochs: a mask of theirs is no good, but it is not empty."""
    output = tmp_path_factory.mktemp("trained")
    done = run("training", "train.yaml", prepared_phantoms, output, **QUICK)
    assert done.returncode == 0, done.stderr
    return output / "models" / "model.pt"


def infer(dataset: Path, weights: Path, output: Path, **overrides: object) -> None:
    options = NARROW | {"patch_size": [32, 32], "remove_small": False} | overrides
    build("inference.yaml", "infer", dataset, output, checkpoint=str(weights), **options).run()


@pytest.mark.parametrize(("config", "kind"), [("train.yaml", "train"), ("inference.yaml", "infer")])
def test_bundle_has_every_property_that_monai_asks_for(
    config: str, kind: str, prepared_phantoms: Path, weights: Path, tmp_path: Path
) -> None:
    known = {"infer": {"checkpoint": str(weights), **NARROW}, "train": {}}
    assert build(config, kind, prepared_phantoms, tmp_path, **known[kind]).check_properties() == []


def test_training_writes_weights_state_record_and_dashboard(weights: Path) -> None:
    output = weights.parent.parent
    assert sorted(item.name for item in output.iterdir()) == [
        "config.yaml",
        "last.pt",
        "models",
        "run.json",
        "tensorboard",
    ]
    record = json.loads((output / "run.json").read_text())
    assert record["seed"] == 0
    assert record["precision"] in ("bfloat16", "float32")
    assert {"monai", "torch", "monai-brainseg"} <= set(record["versions"])
    assert yaml.safe_load((output / "config.yaml").read_text())["epochs"] == QUICK["epochs"]
    events = EventAccumulator(str(output / "tensorboard"))
    events.Reload()
    wanted = {"train_loss", "val_loss", "val_mean_dice", "val_mean_iou", "learning_rate", "images_per_second"}
    assert wanted <= set(events.Tags()["scalars"])
    assert [event.step for event in events.Scalars("val_mean_dice")] == [1, 2]


def test_config_kept_with_a_run_trains_the_same_weights_again(weights: Path, tmp_path: Path) -> None:
    kept = weights.parent.parent / "config.yaml"
    words = [sys.executable, "-m", "monai.bundle", "run", "training", "--config_file", str(kept)]
    subprocess.run([*words, "--output_dir", str(tmp_path)], check=True)
    again = torch.load(tmp_path / "models" / "model.pt", weights_only=True)
    once = torch.load(weights, weights_only=True)
    assert again["seen"] == once["seen"]
    assert all(torch.equal(again["model"][name], once["model"][name]) for name in once["model"])


def test_evaluating_scores_each_test_patient_and_writes_its_mask(
    weights: Path, prepared_phantoms: Path, tmp_path: Path
) -> None:
    done = run(
        "evaluating", "evaluate.yaml", prepared_phantoms, tmp_path, checkpoint=weights, patch_size=[32, 32], **NARROW
    )
    assert done.returncode == 0, done.stderr
    patients = [item["patient"] for item in json.loads((prepared_phantoms / "datalist.json").read_text())["test"]]
    assert sorted(file.name for file in tmp_path.glob("*.nii.gz")) == sorted(f"{name}.nii.gz" for name in patients)
    rows = (tmp_path / "val_mean_dice_raw.csv").read_text().splitlines()[1:]
    for row in rows:
        name, dice, _ = row.split(",")
        patient = Path(name).name.removesuffix("_0000.nii.gz")
        mask = np.asarray(nib.load(tmp_path / f"{patient}.nii.gz").dataobj)
        truth = np.asarray(nib.load(prepared_phantoms / "labelsTs" / f"{patient}.nii.gz").dataobj)
        assert float(dice) == pytest.approx(2 * (mask * truth).sum() / (mask.sum() + truth.sum()), abs=1e-5)
    assert len(rows) == len(patients) == 2


def test_evaluating_refuses_patients_that_the_weights_have_seen_unless_allowed(
    weights: Path, prepared_phantoms: Path, tmp_path: Path
) -> None:
    """Fold 0 chose the best epoch; the others were trained on."""
    options = NARROW | {"checkpoint": weights, "patch_size": [32, 32], "part": "training", "fold": 0}
    done = run("evaluating", "evaluate.yaml", prepared_phantoms, tmp_path / "refused", **options)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].startswith("evaluating: 4 of 4 patients (")
    assert "--allow_seen True" in done.stderr.splitlines()[-1]
    assert not (tmp_path / "refused").exists()
    done = run("evaluating", "evaluate.yaml", prepared_phantoms, tmp_path / "allowed", allow_seen=True, **options)
    assert done.returncode == 0, done.stderr
    assert "NOT UNSEEN: the weights were trained or selected on 4 of 4" in done.stdout + done.stderr
    record = json.loads((tmp_path / "allowed" / "run.json").read_text())
    assert record["provenance"]["state"] == "seen"
    assert record["precision"] in ("bfloat16", "float32")
    assert record["checkpoint"][0]["sha256"] == hashlib.sha256(weights.read_bytes()).hexdigest()


def test_inferring_leaves_a_record_of_what_its_weights_have_seen(
    weights: Path, prepared_phantoms: Path, tmp_path: Path
) -> None:
    options = NARROW | {"checkpoint": str(weights), "patch_size": [32, 32]}
    build("inference.yaml", "infer", prepared_phantoms, tmp_path, **options).run()
    assert read_seen(tmp_path) == torch.load(weights, weights_only=True)["seen"]
    assert len(read_seen(tmp_path) or []) == 16  # of eight patients, person and images


@pytest.mark.parametrize("name", AFFINES)
@pytest.mark.parametrize("shape", [(64, 64, 8), (61, 75, 9), (33, 40, 2), (40, 40, 1)])
def test_mask_lies_on_the_grid_of_its_input(
    weights: Path, tmp_path: Path, name: str, shape: tuple[int, int, int]
) -> None:
    voxels = np.random.default_rng(0).integers(0, 900, shape).astype(np.int16)
    (tmp_path / "in").mkdir()
    nib.save(nib.Nifti1Image(voxels, AFFINES[name]), tmp_path / "in" / "case.nii.gz")
    infer(tmp_path / "in", weights, tmp_path / "out")
    mask = nib.load(tmp_path / "out" / "case.nii.gz")
    assert mask.shape == shape
    assert mask.get_data_dtype() == np.uint8
    assert np.allclose(mask.affine, AFFINES[name], atol=1e-5)
    assert set(np.unique(np.asarray(mask.dataobj))) <= {0, 1}


def test_turned_patient_gets_the_same_mask_turned(weights: Path, prepared_phantoms: Path, tmp_path: Path) -> None:
    source = nib.load(sorted((prepared_phantoms / "imagesTs").glob("*_0001.nii.gz"))[0])
    turned = source.as_reoriented(np.array([[2, 1], [0, -1], [1, -1]]))
    (tmp_path / "in").mkdir()
    nib.save(source, tmp_path / "in" / "straight.nii.gz")
    nib.save(turned, tmp_path / "in" / "turned.nii.gz")
    infer(tmp_path / "in", weights, tmp_path / "out")
    straight, back = nib.load(tmp_path / "out/straight.nii.gz"), nib.load(tmp_path / "out/turned.nii.gz")
    assert back.shape == turned.shape != source.shape
    one = np.asarray(straight.dataobj)
    other = np.asarray(nib.as_closest_canonical(back).dataobj)
    expected = np.asarray(nib.as_closest_canonical(straight).dataobj)
    assert one.any()
    assert np.array_equal(other, expected)


def test_one_file_three_files_and_a_4d_file_of_a_case_give_one_mask(
    weights: Path, prepared_phantoms: Path, tmp_path: Path
) -> None:
    files = sorted((prepared_phantoms / "imagesTs").glob("*.nii.gz"))[:3]
    images = [nib.load(file) for file in files]
    (tmp_path / "in").mkdir()
    for number, image in enumerate(images):
        nib.save(image, tmp_path / "in" / f"three_000{number}.nii.gz")
    stacked = np.stack([np.asarray(image.dataobj) for image in images], -1)
    nib.save(nib.Nifti1Image(stacked, images[0].affine), tmp_path / "in" / "four.d.nii")
    nib.save(images[1], tmp_path / "in" / "flair [1].nii.gz")
    infer(tmp_path / "in", weights, tmp_path / "out")
    found = sorted(file.name for file in (tmp_path / "out").glob("*.nii.gz"))
    assert found == ["flair [1].nii.gz", "four.d.nii.gz", "three.nii.gz"]
    three, four = (np.asarray(nib.load(tmp_path / "out" / name).dataobj) for name in ("three.nii.gz", "four.d.nii.gz"))
    assert np.array_equal(three, four)


@pytest.mark.parametrize("axes", [(2, 0, 1), (0, 2, 1), (1, 2, 0)])
def test_4d_file_with_slices_along_any_axis_gets_its_mask(
    weights: Path, prepared_phantoms: Path, tmp_path: Path, axes: tuple[int, int, int]
) -> None:
    files = sorted((prepared_phantoms / "imagesTs").glob("*.nii.gz"))[:3]
    stacked = np.stack([np.asarray(nib.load(file).dataobj) for file in files], -1)
    image = nib.Nifti1Image(stacked, nib.load(files[0]).affine)
    turned = image.as_reoriented(np.array([(axes.index(axis), 1) for axis in range(3)]))
    (tmp_path / "in").mkdir()
    nib.save(turned, tmp_path / "in" / "case.nii.gz")
    infer(tmp_path / "in", weights, tmp_path / "out")
    mask = nib.load(tmp_path / "out" / "case.nii.gz")
    assert mask.shape == turned.shape[:3] != image.shape[:3]
    assert np.allclose(mask.affine, turned.affine)


def test_two_patients_never_overwrite_each_other(weights: Path, prepared_phantoms: Path, tmp_path: Path) -> None:
    infer(prepared_phantoms, weights, tmp_path, part="all")
    patients = {file.name[:-12] for file in prepared_phantoms.glob("images*/*_0000.nii.gz")}
    assert {file.name.removesuffix(".nii.gz") for file in tmp_path.glob("*.nii.gz")} == patients
    assert len(patients) == 10
    events = EventAccumulator(str(tmp_path / "tensorboard"), size_guidance={"images": 0})
    events.Reload()
    assert {f"tumor_voxels/{patient}" for patient in patients} == set(events.Tags()["scalars"])
    assert {f"tumor/{patient}" for patient in patients} == set(events.Tags()["images"])


def test_operating_points_and_probabilities_agree_with_the_mask(
    weights: Path, prepared_phantoms: Path, tmp_path: Path
) -> None:
    """A lower threshold gives a mask that holds the other, and the map that is written is what was thresholded."""
    options = NARROW | {"patch_size": [32, 32], "remove_small": False, "fill_holes": False, "checkpoint": str(weights)}
    masks = {}
    for point in ("balanced", "recall"):
        chosen = {"operating_point": point, "save_probability": True}
        build("inference.yaml", "infer", prepared_phantoms, tmp_path / point, **options, **chosen).run()
        files = sorted(file for file in (tmp_path / point).glob("*.nii.gz") if "_probability" not in file.name)
        assert len(files) == 2
        masks[point] = [np.asarray(nib.load(file).dataobj) for file in files]
    points = load("inference.yaml")["operating_points"]
    for number, file in enumerate(files):
        probability = nib.load(file.with_name(file.name.replace(".nii", "_probability.nii")))
        assert np.array_equal(np.asarray(probability.dataobj) >= points["recall"], masks["recall"][number])
        assert np.array_equal(probability.affine, nib.load(file).affine)
        assert (masks["recall"][number] >= masks["balanced"][number]).all()


def test_volumes_that_eight_threads_read_are_those_of_one(prepared_phantoms: Path) -> None:
    read: dict[str, list[list[torch.Tensor]]] = {"train": [], "validate": []}
    for threads in (1, 8):
        parser = ConfigParser(load("train.yaml"))
        parser.update({"dataset_dir": str(prepared_phantoms), "reading_threads": threads})
        training = parser.get_parsed_content("train::dataset")
        training.set_epoch(1)
        read["train"].append([training[number].slices for number in range(len(training))])
        read["validate"].append([item["image"] for item in parser.get_parsed_content("validate::dataset")._cache])
    for ones, many in read.values():
        assert len(ones) == 4
        assert all(torch.equal(one, other) for one, other in zip(ones, many, strict=True))
        assert {one.dtype for one in ones} == {torch.float16}


def test_masks_of_other_weights_in_the_folder_stay_in_the_record_once(
    weights: Path, prepared_phantoms: Path, tmp_path: Path
) -> None:
    other = tmp_path / "other.pt"
    torch.save(torch.load(weights, weights_only=True) | {"seen": ["images:other"]}, other)
    options = NARROW | {"patch_size": [32, 32]}
    for checkpoint in (other, weights, weights):
        build(
            "inference.yaml", "infer", prepared_phantoms, tmp_path / "masks", checkpoint=str(checkpoint), **options
        ).run()
    record = json.loads((tmp_path / "masks" / "run.json").read_text())
    assert [Path(each["file"]) for each in record["checkpoint"]] == [weights, other]
    assert "images:other" in (read_seen(tmp_path / "masks") or [])
