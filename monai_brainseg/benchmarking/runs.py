"""One run of a benchmark: a network trained on all folds but one, and scored on what it has not seen.

Everything a run does is a command of ``monai.bundle`` that can be repeated by hand: its words are the first line of its
log. The weights after the last epoch are scored, never those of the best one: choosing an epoch by the fold that is
then scored would make every score too good. Validation runs once, at the end, and nothing depends on it.
"""

from __future__ import annotations

import json
import shlex
import shutil
import statistics
import sys
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
import yaml

from monai_brainseg.data.splits import read_datalist
from monai_brainseg.errors import InputError
from monai_brainseg.files import write_json, write_whole
from monai_brainseg.reporting.evaluation import evaluate
from monai_brainseg.reporting.learning_curves import read_training_run
from monai_brainseg.runs.processes import Processes
from monai_brainseg.runs.recipes import Recipe
from monai_brainseg.weights.checkpoints import write_checkpoint
from monai_brainseg.weights.provenance import list_hashes

LEFT_OUT, SAME_SLICES, TEST = "left out", "same slices", "test part"


@dataclass(frozen=True)
class Target:
    """Patients to be scored.

    Attributes:
        name: ``LEFT_OUT``, ``SAME_SLICES`` or ``TEST``.
        datalist: file that lists them.
        part: of the datalist.
        fold: of the part; None for all.
        seen: whether slices of them were trained on; every output then says so.
    """

    name: str
    datalist: Path
    part: str
    fold: int | None = None
    seen: bool = False

    @property
    def folder(self) -> str:
        """Name of the folder that it is scored in."""
        return self.name.replace(" ", "_")


@dataclass(frozen=True)
class Run:
    """One training and what it is scored on.

    Attributes:
        recipe: how it is trained.
        split: ``patient`` or ``slice``.
        fold: of the patients, left out.
        seed: of the training.
        folder: of all its files.
        datalist: that it trains on.
        datalist_fold: the fold left out of that; of a split by slice it is another than ``fold``.
        overrides: ids and values for the training.
        targets: what it is scored on.
    """

    recipe: Recipe
    split: str
    fold: int
    seed: int
    folder: Path
    datalist: Path
    datalist_fold: int
    overrides: Mapping[str, Any]
    targets: tuple[Target, ...]

    @property
    def name(self) -> str:
        """Its name in the table."""
        return f"{self.recipe.name}, {self.split} split, fold {self.fold}, seed {self.seed}"

    @property
    def state(self) -> dict[str, Any]:
        """``minutes`` of training so far, whether ``finished``, complete ``epoch`` of ``epochs``, and its speed."""
        file = self.folder / "state.json"
        return dict(json.loads(file.read_text())) if file.is_file() else {"minutes": 0.0, "finished": False}

    @property
    def weights(self) -> Path:
        """Weights after its last complete epoch."""
        return self.folder / "weights.pt"


def do_run(run: Run, processes: Processes, environment: Mapping[str, str], budget: float | None) -> None:
    """Do what is left of a run: train, predict, score.

    Args:
        run: the run.
        processes: where its programs are started.
        environment: variables of its programs.
        budget: minutes of training after which it is cut short, summed over restarts.

    Raises:
        InputError: a step failed; the last line of its log says why.
        StoppedError: the benchmark is being stopped.
    """
    state = run.state
    spent = budget is not None and state["minutes"] >= budget and run.weights.is_file()
    if not (state["finished"] or spent):
        for target in run.targets:
            shutil.rmtree(run.folder / target.folder, ignore_errors=True)
        _train(run, processes, environment, budget)
    for target in run.targets:
        score(run.recipe, run.weights, target, run.folder, processes, environment, training=run.folder)


def score(
    recipe: Recipe,
    weights: Path,
    target: Target,
    folder: Path,
    processes: Processes,
    environment: Mapping[str, str],
    overlay: Mapping[str, Any] | None = None,
    training: Path | None = None,
) -> None:
    """Predict patients by ``evaluating`` and score the masks, unless that was done.

    Args:
        recipe: that the weights were trained by.
        weights: file of a ``model``.
        target: the patients.
        folder: where ``<target>/masks``, scores and log go.
        processes: where the program is started.
        environment: its variables.
        overlay: further ids for evaluating.
        training: folder of the training run, for the report's curves.

    Raises:
        InputError: predicting or scoring failed.
        StoppedError: the benchmark is being stopped.
    """
    output = folder / target.folder
    if (output / "summary.json").is_file():
        return
    shutil.rmtree(output, ignore_errors=True)
    files = [*recipe.evaluating_files]
    for name, content in (("recipe", recipe.evaluating), ("ensemble", overlay)):
        if content:
            files.append(str(output / f"{name}.yaml"))
            write_whole(Path(files[-1]), yaml.safe_dump(dict(content), sort_keys=False).encode())
    options = {"datalist": target.datalist, "part": target.part, "checkpoint": weights, "output_dir": output / "masks"}
    options |= {"fold": target.fold} if target.fold is not None else {}
    options |= {"allow_seen": True} if target.seen else {}
    words = make_command("evaluating", recipe.bundle, files, options)
    log = output / "evaluating.log"
    if run_logged(words, log, processes, environment):
        raise InputError("evaluating", read_last_line(log))
    evaluate(
        target.datalist,
        output / "masks",
        output,
        part=target.part,
        fold=target.fold,
        run=training,
        allow_seen=target.seen,
        command=words,
    )


def make_command(run_id: str, bundle: Path, files: Sequence[str], options: Mapping[str, Any]) -> list[str]:
    """Return the words of a ``python -m monai.bundle run``."""
    given = {"config_file": list(files), "bundle_root": bundle, **options}
    start = [sys.executable, "-m", "monai.bundle", "run", run_id]
    return start + [word for name, value in given.items() for word in (f"--{name}", _write_value(value))]


def _write_value(value: Any) -> str:
    """Return a value as a word; of a path the whole, which MONAI takes neither for a number nor for code."""
    return str(value.absolute()) if isinstance(value, Path) else str(value)


def run_logged(
    words: Sequence[str], log: Path, processes: Processes, environment: Mapping[str, str], **limits: Any
) -> int:
    """Run a command whose words are put before its output in its log, and return its exit code."""
    log.parent.mkdir(parents=True, exist_ok=True)
    with log.open("a") as stream:
        stream.write(f"$ {shlex.join(words)}\n")
    return processes.run(words, log, environment, **limits)


def read_last_line(log: Path) -> str:
    """Return the last line of a log, in which a run reports its error."""
    lines = log.read_text(errors="replace").replace("\r", "\n").strip().splitlines()
    return f"{lines[-1].strip()} ({log})" if lines else f"no output ({log})"


def _train(run: Run, processes: Processes, environment: Mapping[str, str], budget: float | None) -> None:
    """Train or continue a training, and keep the weights after the last complete epoch."""
    before = run.state["minutes"]
    run.weights.unlink(missing_ok=True)
    options = {
        "datalist": run.datalist,
        "fold": run.datalist_fold,
        "seed": run.seed,
        "output_dir": run.folder,
        "resume": True,
        "val_interval": "@epochs",
        **run.overrides,
    }
    words = make_command("training", run.recipe.bundle, run.recipe.training_files, options)
    log = run.folder / "training.log"
    code = run_logged(
        words, log, processes, environment,
        seconds=None if budget is None else 60 * (budget - before),
        follow=lambda seconds: _note(run, minutes=before + seconds / 60, finished=False),
    )  # fmt: skip
    cut = budget is not None and run.state["minutes"] >= budget
    if code and not cut:
        raise InputError("training", read_last_line(log))
    if not (run.folder / "last.pt").is_file():
        raise InputError("training", f"no epoch was complete after --budget {budget:g} minutes", f"raise it ({log})")
    _keep_weights(run, finished=code == 0)


def _keep_weights(run: Run, finished: bool) -> None:
    state = torch.load(run.folder / "last.pt", map_location="cpu", weights_only=True)
    items = read_datalist(run.datalist, check_files=False)["training"]
    trained_on = list_hashes([item for item in items if item["fold"] != run.datalist_fold])
    write_checkpoint({"model": state["network"], "seen": trained_on}, run.weights)
    training = read_training_run(run.folder)
    speeds = [value for _, value in training.curves["images_per_second"]]
    epochs = yaml.safe_load(training.config)["epochs"]
    facts = {"epochs": epochs, "images_per_second": statistics.median(speeds)}
    precision = state["identity"]["precision"].removeprefix("torch.")
    _note(run, finished=finished, epoch=state["epoch"], precision=precision, **facts)


def _note(run: Run, **facts: Any) -> None:
    write_json(run.folder / "state.json", {**run.state, **facts})
