"""Trainings of several processes under torchrun, on CPUs: shares, sameness, one writer, deaths and resumes."""

from __future__ import annotations

import csv
import json
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import torch
import yaml
from support.bundle_runs import NARROW, assert_equal, build
from support.trainings import TWO_STEPS, torchrun
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from tensorboard.util import tensor_util

pytestmark = pytest.mark.slow


# Writes what each rank made of each validation, and of which files rank 0 had the scores.
WATCH = """
+validate::handlers:
- _target_: MetricsSaver
  save_dir: $@output_dir + '/scores'
  metric_details: val_mean_dice
  batch_transform: '$lambda batch: [item[''image''].meta for item in batch]'
- _target_: StatsHandler
  iteration_log: false
  epoch_print_logger:
    "$lambda engine: print(engine.state.epoch, engine.state.metrics['val_mean_dice'], engine.state.best_metric_epoch,
    file=open(@output_dir + '/rank' + os.environ['RANK'], 'a'))"
"""

# A rank gets SIGKILL in the middle of an epoch.
DEATH = """
+train::handlers:
- _target_: StatsHandler
  epoch_log: false
  iteration_print_logger:
    "$lambda engine: os.kill(os.getpid(), 9) if (int(os.environ['RANK']), engine.state.iteration) == ({rank},
    2 * {epoch} - 1) else None"
"""

# Each volume has one slice, and nothing in the network or the loss looks at more than one.
PLAIN = """
train::deterministic_transforms:
- {_target_: Orientationd, keys: [image, label], axcodes: LPS, labels: null}
- {_target_: Lambdad, keys: image, func: '$lambda x: x.expand(3, -1, -1, -1)'}
- {_target_: CenterSpatialCropd, keys: [image, label], roi_size: '$[*@patch_size, 1]'}
augment: false
losses::dice_ce::batch: false
amp: false
"""


def run(*arguments: Any, **overrides: Any) -> subprocess.CompletedProcess[str]:
    words = torchrun(*arguments, **overrides)
    return subprocess.run(words, capture_output=True, text=True, check=False, timeout=300)


def keep_validation(prepared: Path, folder: Path, count: int) -> Path:
    """Make a prepared folder with ``count`` of the validation patients of another one."""
    folder.mkdir()
    for part in ("imagesTr", "labelsTr", "imagesTs", "labelsTs"):
        (folder / part).symlink_to(prepared / part)
    listed = json.loads((prepared / "datalist.json").read_text())
    validation = [item for item in listed["training"] if item["fold"] == 0]
    listed["training"] = [item for item in listed["training"] if item not in validation[count:]]
    (folder / "datalist.json").write_text(json.dumps(listed))
    return folder


def read_scalars(output: Path, name: str) -> list[float]:
    events = EventAccumulator(str(output / "tensorboard"))
    events.Reload()
    return [event.value for event in events.Scalars(name)]


@pytest.fixture(scope="module")
def dataset(prepared_phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Four patients to train on and three to validate on, which two processes cannot share evenly."""
    return keep_validation(prepared_phantoms, tmp_path_factory.mktemp("odd") / "data", 3)


@pytest.fixture(scope="module")
def whole(dataset: Path, tmp_path_factory: pytest.TempPathFactory) -> tuple[Path, subprocess.CompletedProcess[str]]:
    """A training by two processes that nothing disturbed, and what it said."""
    output = tmp_path_factory.mktemp("whole") / "run"
    done = run(dataset, output, WATCH)
    assert done.returncode == 0, done.stderr
    return output, done


def test_each_validation_patient_is_scored_once_and_every_rank_knows_the_mean(
    whole: tuple[Path, subprocess.CompletedProcess[str]], dataset: Path
) -> None:
    output, _ = whole
    listed = json.loads((dataset / "datalist.json").read_text())["training"]
    validation = [item["patient"] for item in listed if item["fold"] == 0]
    with (output / "scores" / "val_mean_dice_raw.csv").open() as file:
        rows = list(csv.reader(file))[1:]
    assert sorted(Path(name).name.removesuffix("_0000.nii.gz") for name, *_ in rows) == sorted(validation)
    assert len(validation) == 3
    one, other = ((output / f"rank{rank}").read_text().splitlines() for rank in (0, 1))
    assert one == other
    assert len(one) == TWO_STEPS["epochs"]
    mean = sum(float(score) for _, score, *_ in rows) / 3
    assert float(one[-1].split()[1]) == pytest.approx(mean, abs=1e-4)  # the table is rounded


def test_scores_are_those_of_the_one_network_that_is_kept(
    whole: tuple[Path, subprocess.CompletedProcess[str]], dataset: Path, tmp_path: Path
) -> None:
    """After a step of training each rank has batch norm statistics of its own; a validation is with those of rank 0."""
    output, _ = whole
    alone = build("train.yaml", "train", dataset, tmp_path, **TWO_STEPS)
    alone.network_def.load_state_dict(torch.load(output / "last.pt", weights_only=True)["network"])
    alone.parser.get_parsed_content("early_stop").set_trainer(alone.trainer)
    alone.evaluator.run()
    for name, tolerance in (("val_mean_dice", 1e-6), ("val_loss", 1e-5)):
        shared = read_scalars(output, name)[-1]
        assert alone.evaluator.state.metrics[name] == pytest.approx(shared, rel=tolerance)


def test_rank_0_alone_writes_and_logs_and_inference_loads_the_weights(
    whole: tuple[Path, subprocess.CompletedProcess[str]], dataset: Path, tmp_path: Path
) -> None:
    output, done = whole
    names = {item.name for item in output.iterdir()} - {"scores", "rank0", "rank1"}
    assert names == {"config.yaml", "last.pt", "models", "run.json", "tensorboard"}
    processes = {file.name.split(".")[-2] for file in (output / "tensorboard").iterdir()}
    assert len(processes) == 1
    assert done.stdout.count("best val_mean_dice") == 1
    assert done.stdout.count("train_loss") == TWO_STEPS["epochs"]
    assert done.stdout.count("Key metric") == TWO_STEPS["epochs"]
    options = NARROW | {"patch_size": [32, 32], "remove_small": False, "checkpoint": str(output / "models/model.pt")}
    build("inference.yaml", "infer", dataset, tmp_path, **options).run()
    assert [nib.load(file).shape for file in tmp_path.glob("*.nii.gz")] == [(64, 64, 8)] * 2


def test_dashboard_shows_the_patients_and_voxels_of_all_ranks(
    whole: tuple[Path, subprocess.CompletedProcess[str]], dataset: Path
) -> None:
    output, _ = whole
    events = EventAccumulator(str(output / "tensorboard"), {"tensors": 0})
    events.Reload()
    listed = json.loads((dataset / "datalist.json").read_text())["training"]
    validation = [item for item in listed if item["fold"] == 0]
    worst = {f"worst_patients/{place}" for place in (1, 2, 3)}
    assert set(events.Tags()["images"]) == worst | {f"fixed_patients/{item['patient']}" for item in validation}
    curve = tensor_util.make_ndarray(events.Tensors("validation_voxels")[0].tensor_proto)
    truth = [np.asarray(nib.load(dataset / item["label"]).dataobj) > 0 for item in validation]
    assert curve[:4].sum(axis=0).tolist() == [sum(each.size for each in truth)] * curve.shape[1]
    assert curve[0, 0] == sum(each.sum() for each in truth)


def test_killed_rank_ends_the_run_in_seconds_with_a_line_and_resumes_to_the_bit_or_alone(
    whole: tuple[Path, subprocess.CompletedProcess[str]], dataset: Path, tmp_path: Path
) -> None:
    output = tmp_path / "parts"
    for rank, epoch, options in ((1, 3, {}), (0, 5, {"resume": True})):
        done = run(dataset, output, DEATH.format(rank=rank, epoch=epoch), **options)
        assert time.time() - (output / "last.pt").stat().st_mtime < 20
        assert done.returncode != 0
        ours = [line for line in done.stderr.splitlines() if line.startswith(("training:", "stopped by"))]
        assert len(ours) == 1, done.stderr
        assert "--resume True continues" in ours[0]
        assert torch.load(output / "last.pt", weights_only=True)["epoch"] == epoch - 1
        shutil.copytree(output, tmp_path / f"alone{rank}")
    done = run(dataset, output, resume=True)
    assert done.returncode == 0, done.stderr
    for file in ("last.pt", "models/model.pt"):
        resumed, uninterrupted = (torch.load(folder / file, weights_only=True) for folder in (output, whole[0]))
        assert_equal(resumed, uninterrupted)
    build("train.yaml", "train", dataset, tmp_path / "alone1", resume=True, **TWO_STEPS).run()
    assert torch.load(tmp_path / "alone1/last.pt", weights_only=True)["epoch"] == TWO_STEPS["epochs"]


def test_losses_equal_those_of_one_process_for_the_same_batches(dataset: Path, tmp_path: Path) -> None:
    """Of four volumes, a batch of four is the same whatever the order; two processes have two of them each."""
    options = TWO_STEPS | {"slices_per_volume": 1, "batch_size": 4, "learning_rate": 0.01}
    options["network_def::norm"] = "INSTANCE"
    done = run(dataset, tmp_path / "two", PLAIN, **options)
    assert done.returncode == 0, done.stderr
    build("train.yaml", "train", dataset, tmp_path / "one", **options, **yaml.safe_load(PLAIN)).run()
    losses = read_scalars(tmp_path / "one", "train_loss")
    assert len(losses) == TWO_STEPS["epochs"]
    assert losses[0] - losses[-1] > 0.01
    # float32 sums come in another order, also with another number of threads, and grow apart over the epochs
    assert read_scalars(tmp_path / "two", "train_loss") == pytest.approx(losses, rel=1e-4)


def test_early_stop_is_the_same_on_every_rank(dataset: Path, tmp_path: Path) -> None:
    """Without a learning rate and running statistics no validation beats the first."""
    options = {"learning_rate": 0.0, "network_def::norm": "INSTANCE", "patience": 2, "weight_decay": 0.0}
    done = run(dataset, tmp_path / "run", WATCH, **options)
    assert done.returncode == 0, done.stderr
    for rank in (0, 1):
        epochs = [line.split()[0] for line in (tmp_path / "run" / f"rank{rank}").read_text().splitlines()]
        assert epochs == ["1", "2", "3"]


def test_fewer_patients_than_processes_are_refused_in_one_line_before_any_work(
    prepared_phantoms: Path, tmp_path: Path
) -> None:
    done = run(keep_validation(prepared_phantoms, tmp_path / "data", 1), tmp_path / "run")
    assert done.returncode != 0
    lines = [line for line in done.stderr.splitlines() if line.startswith("training:")]
    assert len(lines) == 1
    assert "2 processes" in lines[0]
    assert "1 to validate on; start at most 1" in lines[0]
    assert done.stderr.strip().splitlines()[-2].endswith(lines[0])  # the end of torchrun's own summary
    assert not (tmp_path / "run").exists()


def test_file_that_no_rank_can_read_is_named_by_one_of_them(prepared_phantoms: Path, tmp_path: Path) -> None:
    broken = sorted((shutil.copytree(prepared_phantoms, tmp_path / "data") / "imagesTr").iterdir())[4]
    broken.write_bytes(broken.read_bytes()[:200])
    done = run(tmp_path / "data", tmp_path / "run")
    assert done.returncode != 0
    lines = [line for line in done.stderr.splitlines() if line.startswith("training:")]
    assert len(lines) == 1
    assert str(broken) in lines[0]


def test_torchrun_asked_to_stop_says_one_line_and_leaves_a_whole_checkpoint(dataset: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"
    with (tmp_path / "log").open("w") as log, (tmp_path / "errors").open("w") as errors:
        words = torchrun(dataset, output, epochs=400, patience=1000)
        process = subprocess.Popen(words, stdout=log, stderr=errors)
        while not (output / "last.pt").is_file():
            time.sleep(0.1)
            assert process.poll() is None
        process.send_signal(signal.SIGTERM)
        process.wait(timeout=20)
    said = (tmp_path / "errors").read_text()
    assert process.returncode != 0
    assert said.count("stopped by SIGTERM") == 1
    assert "Exception ignored" not in said
    assert torch.load(output / "last.pt", weights_only=True)["epoch"] >= 1
    assert not list(tmp_path.rglob(".*unfinished*"))


def test_network_with_imagenets_weights_is_trained_by_two_processes(dataset: Path, tmp_path: Path) -> None:
    """Its second step needs a gradient of every parameter from the first."""
    words = torchrun(dataset, tmp_path / "run", patch_size=[64, 64])
    narrow = words.index("--network_def")  # in place of the bundle's own
    del words[narrow : narrow + 2]
    done = subprocess.run(words, capture_output=True, text=True, check=False, timeout=300)
    assert done.returncode == 0, done.stderr
    assert torch.load(tmp_path / "run" / "last.pt", weights_only=True)["epoch"] == TWO_STEPS["epochs"]
