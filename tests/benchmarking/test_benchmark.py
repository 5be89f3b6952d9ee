"""`brainseg benchmark` on phantoms: what it trains and scores, what it leaves alone, and how it goes on."""

from __future__ import annotations

import csv
import json
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
from support.quick_benchmarks import NARROW, benchmark

from monai_brainseg.runs.processes import hold_folder
from monai_brainseg.weights.provenance import list_hashes


@pytest.fixture(scope="module")
def narrow(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A recipe that trains in seconds."""
    file = tmp_path_factory.mktemp("recipes") / "narrow.yaml"
    file.write_text(NARROW)
    return file


@pytest.fixture(scope="module")
def done(prepared_phantoms: Path, narrow: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The output of a benchmark of both splits."""
    output = tmp_path_factory.mktemp("benchmark")
    assert benchmark(prepared_phantoms, output, narrow, "--folds", 0, "--split", "patient,slice") == 0
    return output


def list_items(datalist: Path, part: str, fold: int | None = None) -> list[dict[str, Any]]:
    items = json.loads(datalist.read_text())[part]
    return [item for item in items if fold is None or item["fold"] == fold]


def list_patients(dataset: Path, part: str, fold: int | None = None) -> set[str]:
    return {item["patient"] for item in list_items(dataset / "datalist.json", part, fold)}


def list_masks(folder: Path) -> set[str]:
    return {file.name.removesuffix(".nii.gz") for file in folder.rglob("*.nii.gz")}


def read_csv(file: Path) -> list[dict[str, str]]:
    with file.open() as stream:
        return list(csv.DictReader(stream))


def count_slices(dataset: Path, items: list[dict[str, Any]]) -> int:
    return sum(nib.load(dataset / item["label"]).shape[2] for item in items)


@pytest.mark.slow
def test_left_out_patients_alone_are_predicted_and_no_test_patient_without_final(
    done: Path, prepared_phantoms: Path
) -> None:
    run = done / "runs" / "narrow" / "patient_fold0_seed0"
    assert list_masks(run / "left_out") == list_patients(prepared_phantoms, "training", 0)
    tested = list_patients(prepared_phantoms, "test")
    assert len(tested) == 2
    assert not [name for name in list_masks(done) for test in tested if name.startswith(test)]
    assert not [file for file in done.rglob("*.csv") for test in tested if test in file.read_text()]


@pytest.mark.slow
def test_weights_that_are_scored_are_those_of_the_last_epoch_and_have_not_seen_the_left_out_patients(
    done: Path, prepared_phantoms: Path
) -> None:
    run = done / "runs" / "narrow" / "patient_fold0_seed0"
    weights, last = (torch.load(run / name, weights_only=True) for name in ("weights.pt", "last.pt"))
    assert last["epoch"] == 2
    assert all(torch.equal(weights["model"][name], last["network"][name]) for name in last["network"])
    items = list_items(prepared_phantoms / "datalist.json", "training")
    assert weights["seen"] == list_hashes(item for item in items if item["fold"] != 0)


@pytest.mark.slow
def test_leak_guard_knows_what_the_slice_split_has_seen(done: Path, prepared_phantoms: Path) -> None:
    runs = done / "runs" / "narrow"
    people = [{"patient": patient} for patient in list_patients(prepared_phantoms, "training")]
    for weights in ("weights.pt", "models/model.pt"):
        seen = torch.load(runs / "slice_fold0_seed0" / weights, weights_only=True)["seen"]
        assert set(list_hashes(people)) <= set(seen)
    notes = {
        name: json.loads((runs / name / "summary.json").read_text())["provenance"]["state"]
        for name in ("slice_fold0_seed0/left_out", "patient_fold0_seed0/left_out", "patient_fold0_seed0/same_slices")
    }
    assert list(notes.values()) == ["seen", "clean", "clean"]


@pytest.mark.slow
def test_slice_split_trains_on_as_many_slices_in_as_many_steps_with_every_patient_on_both_sides(
    done: Path, prepared_phantoms: Path
) -> None:
    folder = done / "slices" / "fold0"
    patients = list_patients(prepared_phantoms, "training")
    assert list_patients(folder, "training", 1) == {f"{patient}_train" for patient in patients}
    assert list_patients(folder, "training", 0) == {f"{patient}_left" for patient in patients}
    assert list_items(folder / "datalist.json", "test") == []
    whole = list_items(prepared_phantoms / "datalist.json", "training")
    by_patient = count_slices(prepared_phantoms, [item for item in whole if item["fold"] != 0])
    assert count_slices(folder, list_items(folder / "datalist.json", "training", 1)) == by_patient
    steps = [
        torch.load(done / f"runs/narrow/{split}_fold0_seed0/last.pt", weights_only=True)["lr_scheduler"]["last_epoch"]
        for split in ("patient", "slice")
    ]
    # Four volumes in a step; eight volumes would make two steps an epoch.
    assert steps == [2, 2]


@pytest.mark.slow
def test_stacks_hold_each_slice_of_the_volume_once(done: Path, prepared_phantoms: Path) -> None:
    folder = done / "slices" / "fold0"
    for patient in list_patients(prepared_phantoms, "training"):
        for kind, ending in (("imagesTr", "_0001.nii.gz"), ("labelsTr", ".nii.gz")):
            whole = np.asarray(nib.load(prepared_phantoms / kind / f"{patient}{ending}").dataobj)
            sides = [np.asarray(nib.load(folder / kind / f"{patient}_{s}{ending}").dataobj) for s in ("train", "left")]
            both = np.concatenate(sides, axis=2)
            assert both.shape == whole.shape
            assert sorted(slab.tobytes() for slab in both.T) == sorted(slab.tobytes() for slab in whole.T)


@pytest.mark.slow
def test_table_holds_the_scores_of_both_splits_and_their_gap(done: Path, prepared_phantoms: Path) -> None:
    rows = read_csv(done / "benchmark.csv")
    assert [(row["split"], row["scored on"], row["patients"]) for row in rows] == [
        ("patient", "left out", "4"), ("patient", "same slices", "4"), ("slice", "left out", "8"),
    ]  # fmt: skip
    scored = read_csv(done / "runs/narrow/patient_fold0_seed0/left_out/metrics.csv")
    dices = [float(row["dice"]) for row in scored]
    assert float(rows[0]["dice"]) == pytest.approx(np.mean(dices))
    assert float(rows[0]["dice low"]) <= np.mean(dices) <= float(rows[0]["dice high"])
    counts = [
        sum(int(row[name]) for row in scored) for name in ("true_positives", "false_positives", "false_negatives")
    ]
    assert float(rows[0]["pooled dice"]) == pytest.approx(2 * counts[0] / (2 * counts[0] + counts[1] + counts[2]))
    gaps = {(row["scored on"], row["score"]): row for row in read_csv(done / "benchmark_differences.csv")}
    gap = float(rows[2]["dice"]) - float(rows[0]["dice"])
    assert float(gaps["its own left-out part", "dice"]["difference"]) == pytest.approx(gap)
    fold = {f"{patient}_left" for patient in list_patients(prepared_phantoms, "training", 0)}
    sliced = {
        row["patient"]: float(row["dice"])
        for row in read_csv(done / "runs/narrow/slice_fold0_seed0/left_out/metrics.csv")
    }
    same = np.mean([sliced[patient] for patient in fold]) - float(rows[1]["dice"])
    assert float(gaps["same slices", "dice"]["difference"]) == pytest.approx(same)


@pytest.mark.slow
def test_table_is_written_for_reading_and_pasting(done: Path) -> None:
    markdown, page = (done / "benchmark.md").read_text(), (done / "benchmark.html").read_text()
    rows = [line for line in markdown.splitlines() if line.startswith("| narrow | ")]
    assert len(rows) == 3
    assert all(line.count("|") == rows[0].count("|") for line in rows)
    for text in (markdown, page):
        assert "not touched (no --final)" in text
        assert "10,848" in text
    assert "CUT SHORT" not in markdown


@pytest.mark.slow
def test_final_adds_the_test_part_and_an_ensemble_and_does_nothing_twice(
    done: Path, prepared_phantoms: Path, narrow: Path
) -> None:
    run = done / "runs" / "narrow" / "patient_fold0_seed0"
    before = {file: file.stat().st_mtime_ns for file in done.rglob("*.log")}
    assert benchmark(prepared_phantoms, done, narrow, "--folds", 0, "--final", "--ensemble") == 0
    assert {file: file.stat().st_mtime_ns for file in before} == before
    assert list_masks(run / "test_part") == list_patients(prepared_phantoms, "test")
    rows = read_csv(done / "benchmark.csv")
    alone, mean = (row for row in rows if row["scored on"].startswith("test part"))
    # The mean of one network is that network.
    assert alone["dice"] == mean["dice"]
    assert float(alone["pooled recall"]) > 0


@pytest.mark.slow
def test_failed_run_is_listed_with_its_reason_and_leaves_the_others_alone(
    done: Path, prepared_phantoms: Path, narrow: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    wrong = tmp_path / "wrong.yaml"
    wrong.write_text(NARROW + "network_def::out_channels: '$int(\"three\")'")
    assert benchmark(prepared_phantoms, done, f"{narrow},{wrong}", "--folds", 0) == 1
    said = capsys.readouterr()
    assert "wrong, patient split, fold 0, seed 0" in said.err.strip().splitlines()[-1]
    assert "FAILED: training: " in said.out
    assert "three" in next(line for line in said.out.splitlines() if "FAILED" in line)
    assert "| narrow | patient | left out | 4 |" in said.out


@pytest.mark.slow
def test_killed_benchmark_ends_its_training_is_cut_short_by_a_budget_and_goes_on_to_the_end(
    prepared_phantoms: Path, narrow: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    given = ["--dataset_dir", prepared_phantoms, "--output", tmp_path, "--recipes", narrow, "--folds", 0, "--epochs"]
    words = [sys.executable, "-m", "monai_brainseg", "benchmark", *map(str, given), "12"]
    run = tmp_path / "runs" / "narrow" / "patient_fold0_seed0"
    started = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)
    while not (run / "last.pt").exists():
        assert started.poll() is None
        time.sleep(0.1)
    started.send_signal(signal.SIGTERM)
    assert started.wait(60) == 130
    with hold_folder(tmp_path):  # nothing that it started is left
        epoch = torch.load(run / "last.pt", weights_only=True)["epoch"]
    assert epoch < 12

    # What is left of this budget was used up.
    assert benchmark(prepared_phantoms, tmp_path, narrow, "--folds", 0, "--epochs", 12, "--budget", 0.0001) == 0
    table = capsys.readouterr().out
    assert "CUT SHORT: 1 of 1 runs" in table
    assert f"CUT SHORT | {epoch} of 12" in table

    assert benchmark(prepared_phantoms, tmp_path, narrow, "--folds", 0, "--epochs", 12) == 0
    assert f"after epoch {epoch}\n" in (run / "training.log").read_text()
    table = capsys.readouterr().out
    assert "finished | 12 of 12" in table
    assert "CUT SHORT" not in table
