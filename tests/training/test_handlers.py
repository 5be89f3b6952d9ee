"""Seeding, summaries and checkpoints, on real trainings of the real config."""

from __future__ import annotations

import signal
import subprocess
import time
from pathlib import Path
from typing import Any

import pytest
import torch
import yaml
from ignite.engine import Engine
from support.bundle_runs import NARROW_UNET, QUICK, assert_equal, build, command, run
from support.trainings import TRAIN_EPOCHS, train

from monai_brainseg.data.splits import read_datalist
from monai_brainseg.errors import InputError
from monai_brainseg.training.handlers import EpochSeeding
from monai_brainseg.weights.provenance import find_seen


@pytest.mark.slow
@pytest.mark.parametrize("memory", [4, 0.0006], ids=["all volumes resident", "some exchanged"])
def test_resumed_training_equals_the_uninterrupted_one_to_the_bit(
    prepared_phantoms: Path, tmp_path: Path, memory: float
) -> None:
    whole = train(prepared_phantoms, tmp_path / "whole", slice_memory=memory)
    train(prepared_phantoms, tmp_path / "parts", stop_in=3, slice_memory=memory)
    resumed = train(prepared_phantoms, tmp_path / "parts", slice_memory=memory, resume=True)
    assert whole["epoch"] == TRAIN_EPOCHS
    assert_equal(resumed, whole)
    assert_equal(
        torch.load(tmp_path / "parts/models/model.pt", weights_only=True),
        torch.load(tmp_path / "whole/models/model.pt", weights_only=True),
    )


@pytest.mark.slow
def test_same_seed_gives_the_same_weights_and_another_seed_others(prepared_phantoms: Path, tmp_path: Path) -> None:
    first, second, other = (
        train(prepared_phantoms, tmp_path / str(number), seed=seed, epochs=1)["network"]
        for number, seed in enumerate((5, 5, 6))
    )
    assert_equal(first, second)
    assert any(not torch.equal(first[name], other[name]) for name in first)


@pytest.mark.slow
def test_resuming_with_another_network_or_fold_is_refused_by_name(prepared_phantoms: Path, tmp_path: Path) -> None:
    train(prepared_phantoms, tmp_path, epochs=1)
    for changed, name in (
        ({"fold": 1}, "fold"),
        ({"epochs": 2}, "epochs"),
        ({"network_def": NARROW_UNET | {"channels": [4, 8, 8, 8, 16]}}, "network"),
    ):
        with pytest.raises(RuntimeError) as refused:
            train(prepared_phantoms, tmp_path, resume=True, **changed)
        assert isinstance(refused.value.__cause__, InputError)
        assert f"another {name}" in str(refused.value.__cause__)


@pytest.mark.slow
def test_model_file_holds_weights_and_hashes_of_every_patient_it_has_seen(
    prepared_phantoms: Path, tmp_path: Path
) -> None:
    train(prepared_phantoms, tmp_path, epochs=1)
    model = torch.load(tmp_path / "models/model.pt", weights_only=True)
    assert set(model) == {"model", "seen"}
    assert len(set(model["seen"])) == 16  # person and images of each
    assert not any(name.startswith("module.") for name in model["model"])


@pytest.mark.slow
def test_a_training_is_not_replaced_unless_that_is_asked_for(prepared_phantoms: Path, tmp_path: Path) -> None:
    output = tmp_path / "run"
    output.mkdir()
    (output / "last.pt").write_bytes(b"of hours")
    done = run("training", "train.yaml", prepared_phantoms, output, **QUICK)
    assert done.returncode == 1
    assert done.stderr.splitlines()[-1].endswith(f"{output}: already holds a training; --resume True continues it, "
        "another --output_dir keeps it, --overwrite True replaces it")  # fmt: skip
    assert [file.name for file in output.iterdir()] == ["last.pt"]
    assert (output / "last.pt").read_bytes() == b"of hours"
    done = run("training", "train.yaml", prepared_phantoms, output, overwrite=True, **QUICK)
    assert done.returncode == 0, done.stderr
    assert torch.load(output / "last.pt", weights_only=True)["epoch"] == QUICK["epochs"]
    assert yaml.safe_load((output / "config.yaml").read_text())["overwrite"] is False
    done = run("training", "train.yaml", prepared_phantoms, output, overwrite=True, resume=True, **QUICK)
    assert done.returncode == 1
    assert "one continues a training, the other replaces it" in done.stderr.splitlines()[-1]


@pytest.mark.slow
def test_killed_run_resumes_a_finished_one_says_so_and_nothing_to_resume_too(
    prepared_phantoms: Path, tmp_path: Path
) -> None:
    options = QUICK | {"epochs": 6}
    process = subprocess.Popen(
        command("training", "train.yaml", prepared_phantoms, tmp_path, resume=True, **options),
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )
    assert process.stdout is not None
    said = ""
    for line in process.stdout:
        said += line
        if "Epoch[3] Complete" in line:
            break
    process.kill()
    process.wait()
    assert "nothing to resume" in said
    epoch = torch.load(tmp_path / "last.pt", weights_only=True)["epoch"]
    assert epoch >= 2
    done = run("training", "train.yaml", prepared_phantoms, tmp_path, resume=True, **options)
    assert done.returncode == 0, done.stderr
    assert f"after epoch {epoch}" in done.stdout
    again = run("training", "train.yaml", prepared_phantoms, tmp_path, resume=True, **options)
    assert again.returncode == 0, again.stderr
    assert "is finished" in again.stdout


@pytest.mark.slow
@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT])
def test_asked_to_stop_it_leaves_with_one_line_and_a_whole_checkpoint(
    prepared_phantoms: Path, tmp_path: Path, number: signal.Signals
) -> None:
    options = QUICK | {"epochs": 400, "patience": 1000}
    with (tmp_path / "log").open("w") as log:
        process = subprocess.Popen(
            command("training", "train.yaml", prepared_phantoms, tmp_path, **options),
            stdout=log,
            stderr=subprocess.PIPE,
            text=True,
        )
        while not (tmp_path / "last.pt").is_file():
            time.sleep(0.1)
            assert process.poll() is None
        process.send_signal(number)
        _, stderr = process.communicate(timeout=60)
    assert process.returncode == 128 + number
    assert f"stopped by {number.name}" in stderr.strip().splitlines()[-1]
    assert "Traceback" not in stderr
    assert torch.load(tmp_path / "last.pt", weights_only=True)["epoch"] >= 1
    assert not list(tmp_path.rglob(".*unfinished*"))


def test_epoch_seeding_depends_on_seed_epoch_and_rank_alone() -> None:
    def draw(seed: int, epoch: int, rank: int) -> float:
        engine = Engine(lambda engine, batch: None)
        engine.state.epoch, engine.state.rank = epoch, rank
        EpochSeeding(seed, [])(engine)
        return float(torch.rand(1))

    assert draw(0, 1, 0) == draw(0, 1, 0)
    assert len({draw(*key) for key in ((0, 1, 0), (1, 1, 0), (0, 2, 0), (0, 1, 1))}) == 4


@pytest.mark.parametrize("overrides", [{"val_interval": 5}, {"validate::dataset::data": []}])
def test_without_a_validated_epoch_the_last_weights_are_kept(
    prepared_phantoms: Path, tmp_path: Path, overrides: dict[str, Any]
) -> None:
    """As a label server asks for it: one epoch, or too few labels to set any aside."""
    last = train(prepared_phantoms, tmp_path, epochs=1, **overrides)
    assert_equal(torch.load(tmp_path / "models/model.pt", weights_only=True)["model"], last["network"])


@pytest.mark.slow
def test_the_last_epoch_is_kept_if_that_is_asked_and_the_fold_stays_unseen(
    prepared_phantoms: Path, tmp_path: Path
) -> None:
    options: dict[str, Any] = {"epochs": 3, "val_interval": 1, "learning_rate": 0.1}  # a rate at which scores jump
    last = train(prepared_phantoms, tmp_path, keep_best=False, **options)
    kept = torch.load(tmp_path / "models/model.pt", weights_only=True)
    assert_equal(kept["model"], last["network"])
    items = read_datalist(prepared_phantoms)["training"]
    folds = {fold: [item for item in items if (item["fold"] == 0) is fold] for fold in (True, False)}
    assert find_seen(folds[True], kept["seen"]) == []
    assert len(find_seen(folds[False], kept["seen"])) == len(folds[False])


@pytest.mark.slow
def test_images_per_second_count_the_reading_of_volumes(prepared_phantoms: Path, tmp_path: Path) -> None:
    workflow = build("train.yaml", "train", prepared_phantoms, tmp_path, **(QUICK | {"epochs": 1}))
    loader, seconds = workflow.parser.get_parsed_content("train::dataloader"), 2
    set_epoch = loader.set_epoch

    def read_slowly(epoch: int) -> None:
        time.sleep(seconds)
        set_epoch(epoch)

    loader.set_epoch = read_slowly
    workflow.run()
    images = len(loader) * loader.batch_size
    assert workflow.trainer.state.metrics["images_per_second"] < images / seconds
