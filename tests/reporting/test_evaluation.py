"""A folder of predictions against a datalist, by the command a user types."""

from __future__ import annotations

import csv
import json
import re
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from sklearn.metrics import f1_score, precision_score, recall_score

from monai_brainseg.cli.main import main
from monai_brainseg.images.volumes import Volume, read_nifti, write_nifti
from monai_brainseg.reporting.evaluation import evaluate, hash_files

AFFINE = np.diag([-1.0, -1.0, 1.0, 1.0])
TEST = ("t0", "t1", "t2", "t3", "t4", "t5", "t6")
TRAINING = ("a0", "a1", "b0")


def write_mask(voxels: np.ndarray, path: Path) -> None:
    write_nifti(Volume(voxels.astype(np.uint8), AFFINE, spacing_known=False), path)


def draw_patient(seed: int) -> tuple[np.ndarray, np.ndarray]:
    """Return truth and prediction [x, y, z], sizes and quality varying with the seed."""
    rng = np.random.default_rng(seed)
    truth = np.zeros((20, 18, 6 + seed % 3), dtype=bool)
    truth[4 : 9 + seed % 4, 5:12, 1:4] = True
    return truth, np.roll(truth, seed % 3, axis=0) ^ (rng.random(truth.shape) < 0.004)


@pytest.fixture
def prepared(tmp_path: Path) -> Path:
    """A prepared folder beside ``masks``, the predictions; t3 has none. Image and label are the same file."""
    content: dict[str, list[dict[str, Any]]] = {"training": [], "test": []}
    for seed, patient in enumerate(TEST + TRAINING):
        truth, prediction = draw_patient(seed)
        write_mask(truth, tmp_path / "prepared" / "labels" / f"{patient}.nii.gz")
        if patient != "t3":
            write_mask(prediction, tmp_path / "masks" / f"{patient}.nii.gz")
        file = f"labels/{patient}.nii.gz"
        item: dict[str, Any] = {
            "image": file,
            "label": file,
            "patient": patient,
            "site": f"S{seed % 2}",
            "spacing_known": False,
        }
        content["test" if patient in TEST else "training"].append(item)
    for item in content["training"]:
        item["fold"] = "ab".index(str(item["patient"])[0])
    (tmp_path / "prepared" / "datalist.json").write_text(json.dumps(content))
    return tmp_path / "prepared"


def run(prepared: Path, *options: str) -> int:
    """Run the command as typed; output goes beside the prepared folder."""
    folder = prepared.parent
    arguments = ["--datalist", f"{prepared}/datalist.json", "--predictions", f"{folder}/masks"]
    return main(["evaluate", *arguments, "--output", f"{folder}/scores", *options])


def read_rows(prepared: Path) -> dict[str, dict[str, str]]:
    with (prepared.parent / "scores" / "metrics.csv").open() as file:
        return {row["patient"]: row for row in csv.DictReader(file)}


def read_summary(prepared: Path) -> dict[str, Any]:
    def refuse(constant: str) -> None:
        raise AssertionError(f"{constant} is no JSON")

    text = (prepared.parent / "scores" / "summary.json").read_text()
    return dict(json.loads(text, parse_constant=refuse))


def test_every_test_patient_has_a_row_that_agrees_with_scikit_learn(prepared: Path) -> None:
    assert run(prepared) == 0
    rows = read_rows(prepared)
    assert tuple(rows) == TEST
    assert list(rows["t0"])[:7] == ["patient", "site", "dice", "iou", "precision", "recall", "specificity"]
    for seed, patient in enumerate(TEST):
        if patient != "t3":
            flat = [mask.ravel() for mask in draw_patient(seed)]
            assert float(rows[patient]["dice"]) == pytest.approx(f1_score(*flat), abs=1e-6)
            assert float(rows[patient]["precision"]) == pytest.approx(precision_score(*flat), abs=1e-6)
            assert float(rows[patient]["recall"]) == pytest.approx(recall_score(*flat), abs=1e-6)
            assert float(rows[patient]["specificity"]) == pytest.approx(recall_score(*flat, pos_label=0), abs=1e-6)
            assert float(rows[patient]["true_volume"]) == flat[0].sum()
            assert rows[patient]["distance_unit"] == rows[patient]["volume_unit"] == "voxels"


def test_a_missing_prediction_is_scored_as_failure_listed_and_said(
    prepared: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    assert run(prepared) == 0
    row, summary = read_rows(prepared)["t3"], read_summary(prepared)
    assert (row["missing"], row["dice"], row["surface_dice"], row["hd95"]) == ("1", "0.0", "0.0", "")
    assert summary["missing"] == ["t3"]
    dices = [float(other["dice"]) for other in read_rows(prepared).values()]
    assert len(dices) == 7
    assert summary["headline"]["value"] == pytest.approx(np.mean(dices))
    assert summary["distances_and_volumes"]["voxels"]["hd95"]["undefined"] == 1
    assert "NO PREDICTION, scored as failure, for 1 patient: t3" in capsys.readouterr().out


def test_the_last_line_is_the_headline_with_its_interval(prepared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    run(prepared)
    headline = read_summary(prepared)["headline"]
    value, low, high = (f"{number:.3f}" for number in (headline["value"], *headline["interval"]))
    output = capsys.readouterr()
    expected = f"mean per-patient volume dice {value} (95 % interval {low} to {high}) over 7 patients"
    assert output.out.splitlines()[-1] == expected
    assert output.err == "", "no progress bar where stderr is no terminal"


def test_the_output_states_its_rules_and_how_it_came_about(prepared: Path) -> None:
    run(prepared, "--tolerance", "1.5", "--seed", "7")
    summary = read_summary(prepared)
    assert (summary["protocol"]["part"], summary["protocol"]["tolerance"]) == ("test", 1.5)
    assert {"empty_masks", "missing_prediction", "undefined", "interval", "units"} <= set(summary["protocol"]["rules"])
    record = summary["run"]
    assert record["seed"] == 7
    assert set(record["versions"]) >= {"monai-brainseg", "monai", "torch"}
    assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\+00:00", record["date"])
    assert record["datalist_sha256"] == hash_files([prepared / "datalist.json"])
    assert record["truth_sha256"] == hash_files(prepared / "labels" / f"{patient}.nii.gz" for patient in TEST)
    assert summary["not_scored"] == ["a0.nii.gz", "a1.nii.gz", "b0.nii.gz"]


def test_the_hash_of_files_is_of_names_and_contents_alone(tmp_path: Path) -> None:
    for name, text in {
        "here/a": "1",
        "here/b": "2",
        "there/a": "1",
        "there/b": "2",
        "other/a": "1",
        "other/b": "3",
    }.items():
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(text)
    here, there, other = (hash_files((tmp_path / folder).iterdir()) for folder in ("here", "there", "other"))
    assert here == there != other
    assert hash_files([tmp_path / "here" / "b", tmp_path / "here" / "a"]) == here


def test_the_same_masks_give_the_same_numbers(prepared: Path) -> None:
    folders = [prepared.parent / name for name in ("once", "twice")]
    first, second = (evaluate(prepared, prepared.parent / "masks", folder) for folder in folders)
    first["run"].pop("date"), second["run"].pop("date")
    assert first == second
    assert (folders[0] / "metrics.csv").read_bytes() == (folders[1] / "metrics.csv").read_bytes()


@pytest.mark.parametrize(
    ("options", "patients"),
    [
        (("--part", "training"), TRAINING),
        (("--part", "training", "--fold", "0"), ("a0", "a1")),
        (("--part", "training", "--fold", "1"), ("b0",)),
        (("--part", "all"), TEST + TRAINING),
    ],
)
def test_a_part_or_a_fold_is_scored_alone(prepared: Path, options: tuple[str, ...], patients: tuple[str, ...]) -> None:
    assert run(prepared, *options) == 0
    assert tuple(read_rows(prepared)) == patients
    assert read_summary(prepared)["headline"]["patients"] == len(patients)


def _edit(change: Callable[[dict[str, Any]], Any]) -> Callable[[Path], None]:
    def edit(prepared: Path) -> None:
        content = json.loads((prepared / "datalist.json").read_text())
        change(content)
        (prepared / "datalist.json").write_text(json.dumps(content))

    return edit


def _crop_prediction(prepared: Path) -> None:
    mask = prepared.parent / "masks" / "t4.nii.gz"
    write_mask(read_nifti(mask).voxels[:-1], mask)


def _relabel_prediction(prepared: Path) -> None:
    mask = prepared.parent / "masks" / "t4.nii.gz"
    write_mask(read_nifti(mask).voxels * 255, mask)


def _empty_folder(prepared: Path) -> None:
    shutil.rmtree(prepared.parent / "masks")
    (prepared.parent / "masks").mkdir()


FAULTS: dict[str, tuple[Callable[[Path], object], tuple[str, ...], str]] = {
    "another grid": (_crop_prediction, (), r"t4\.nii\.gz: has 19x18x7 voxels, but .*t4\.nii\.gz has 20x18x7"),
    "another label": (_relabel_prediction, (), r"t4\.nii\.gz: holds the label 255"),
    "no NIfTI": (lambda prepared: (prepared.parent / "masks" / "t5.nii.gz").write_text("?"), (), r"t5\.nii\.gz"),
    "no folder": (lambda prepared: shutil.rmtree(prepared.parent / "masks"), (), "masks: no such folder"),
    "no predictions": (_empty_folder, (), "holds no prediction for any of 7 patients"),
    "no datalist": (lambda prepared: (prepared / "datalist.json").unlink(), (), r"datalist\.json"),
    "empty datalist": (lambda prepared: (prepared / "datalist.json").write_text("{}"), (), r"datalist\.json"),
    "empty part": (_edit(lambda content: content["test"].clear()), (), "lists no patient in its test part"),
    "patient twice": (_edit(lambda content: content["test"].append(content["test"][0])), (), "t0 twice"),
    "truth gone": (lambda prepared: (prepared / "labels" / "t2.nii.gz").unlink(), (), r"t2\.nii\.gz"),
    "no such fold": (lambda _: None, ("--part", "training", "--fold", "4"), "has no fold 4; its folds are 0, 1"),
    "fold of the test part": (lambda _: None, ("--fold", "0"), "the test part has no folds"),
    "negative tolerance": (lambda _: None, ("--tolerance", "-1"), "--tolerance -1.0"),
    "tolerance not a number": (lambda _: None, ("--tolerance", "nan"), "--tolerance nan"),
    "output is a file": (lambda prepared: (prepared.parent / "scores").write_text(""), (), "scores: cannot be written"),
}


@pytest.mark.parametrize("fault", FAULTS)
def test_bad_input_ends_in_one_line_and_leaves_no_scores(
    prepared: Path, fault: str, capsys: pytest.CaptureFixture[str]
) -> None:
    spoil, options, message = FAULTS[fault]
    spoil(prepared)
    assert run(prepared, *options) == 1
    output = capsys.readouterr()
    assert output.out == ""
    assert re.fullmatch(rf"brainseg evaluate: .*{message}.*\n", output.err), output.err
    assert not list(prepared.parent.glob("scores/*"))


def test_a_single_patient_is_scored_without_an_interval(prepared: Path, capsys: pytest.CaptureFixture[str]) -> None:
    _edit(lambda content: content.update(test=content["test"][:1]))(prepared)
    assert run(prepared) == 0
    assert read_summary(prepared)["headline"]["interval"] is None
    assert capsys.readouterr().out.splitlines()[-1].endswith("(no interval) over 1 patient")
