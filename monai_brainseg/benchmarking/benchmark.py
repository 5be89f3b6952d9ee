"""Recipes x splits x folds x seeds: trained, scored on what was left out, and put into one table."""

from __future__ import annotations

import json
import queue
import signal
import threading
from collections.abc import Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor, as_completed
from contextlib import contextmanager
from itertools import product
from pathlib import Path
from types import FrameType

import numpy as np
import torch
from monai.bundle import ConfigParser
from tqdm import tqdm

from monai_brainseg.benchmarking.plan import Plan, list_runs
from monai_brainseg.benchmarking.runs import Run, Target, do_run, score
from monai_brainseg.benchmarking.slice_splits import write_slice_split
from monai_brainseg.errors import InputError
from monai_brainseg.files import unwritable, write_json
from monai_brainseg.runs.processes import Processes, hold_folder, make_environments
from monai_brainseg.runs.recipes import Recipe, hash_content
from monai_brainseg.weights.checkpoints import write_checkpoint


def carry_out(plan: Plan, budget: float | None = None, processes: int | None = None) -> dict[str, str]:
    """Do everything that is missing in a benchmark; what is done already is skipped.

    Args:
        plan: the benchmark.
        budget: minutes after which each training is cut short.
        processes: runs at the same time; None means one for each GPU, or one.

    Returns:
        what failed, run (or ensemble) to reason.

    Raises:
        InputError: the output folder is of another benchmark, or in use by one.
    """
    if budget is not None and not budget > 0 or processes is not None and processes < 1:
        raise InputError("--budget, --processes", "must be above 0")
    try:
        with hold_folder(plan.output) as lock, _stop_in_order():
            check_identity(plan)
            for fold, folder in plan.slices.items():
                if not (folder / "datalist.json").is_file():
                    write_slice_split(plan.datalist, fold, folder, np.random.default_rng(0))
            running = Processes(lock)
            try:
                failed = _do_runs(list_runs(plan), running, budget, make_environments(processes))
                return failed | _do_ensembles(plan, running)
            finally:
                running.stop()
    except OSError as error:
        raise unwritable(plan.output, error) from error


def list_ensembles(plan: Plan) -> list[tuple[Path, list[Run]]]:
    """Return the folder and the trained runs of the ensemble of each recipe and split; none without --ensemble."""
    ensembles = []
    for recipe, split in product(plan.recipes, plan.splits if plan.ensemble else ()):
        runs = [run for run in list_runs(plan) if (run.recipe, run.split) == (recipe, split) and run.weights.is_file()]
        name = hash_content([(run.fold, run.seed, run.state["epoch"]) for run in runs])[:8]
        if runs:
            ensembles.append((plan.output / "ensembles" / recipe.name / f"{split}_{name}", runs))
    return ensembles


def check_identity(plan: Plan) -> None:
    """Refuse an output folder whose runs have other data or settings; recipes, folds and seeds may be added."""
    identity = {
        "data": hash_content([{**item, "image": 0, "label": 0} for item in plan.datalist["training"]]),
        **{f"bundle {recipe.bundle.resolve().name}": _hash_configs(recipe.bundle) for recipe in plan.recipes},
        "epochs": plan.epochs,
        **{f"recipe {recipe.name}": recipe.digest for recipe in plan.recipes},
    }
    file = plan.output / "benchmark.json"
    known = json.loads(file.read_text()) if file.is_file() else {}
    if other := [name for name, value in identity.items() if known.get(name, value) != value]:
        raise InputError(plan.output, f"holds a benchmark with other {other[0]}", "name another --output")
    write_json(file, known | identity)


def _hash_configs(bundle: Path) -> str:
    files = [bundle / "configs" / name for name in ("train.yaml", "inference.yaml", "evaluate.yaml")]
    return hash_content([ConfigParser.load_config_file(file) for file in files])


def _do_runs(
    runs: Sequence[Run], running: Processes, budget: float | None, environments: Sequence[dict[str, str]]
) -> dict[str, str]:
    """Do several runs at a time, each with its own environment; a failed run does not stop the others."""
    free: queue.Queue[dict[str, str]] = queue.Queue()
    for environment in environments:
        free.put(environment)

    def work(run: Run) -> None:
        environment = free.get()
        try:
            do_run(run, running, environment, budget)
        finally:
            free.put(environment)

    failed = {}
    pool = ThreadPoolExecutor(len(environments))
    try:
        futures = {pool.submit(work, run): run for run in runs}
        for future in tqdm(as_completed(futures), "benchmark", len(runs), disable=None, unit="run"):
            try:
                future.result()
            except (InputError, OSError) as error:
                failed[futures[future].name] = str(error)
    finally:
        pool.shutdown(wait=False, cancel_futures=True)
    return failed


def _do_ensembles(plan: Plan, running: Processes) -> dict[str, str]:
    failed = {}
    for folder, runs in list_ensembles(plan):
        try:
            _score_ensemble(runs[0].recipe, runs, plan.test, folder, running)
        except (InputError, OSError) as error:
            failed[f"{runs[0].recipe.name}, {runs[0].split} split, ensemble"] = str(error)
    return failed


def _score_ensemble(recipe: Recipe, runs: Sequence[Run], target: Target, folder: Path, running: Processes) -> None:
    """Put the weights of several networks into one file and score their mean."""
    states = [torch.load(run.weights, map_location="cpu", weights_only=True) for run in runs]
    model = {f"networks.{i}.{name}": value for i, state in enumerate(states) for name, value in state["model"].items()}
    seen = sorted({patient for state in states for patient in state["seen"]})
    write_checkpoint({"model": model, "seen": seen}, folder / "weights.pt")
    network = ConfigParser.load_config_files(list(recipe.training_files))["network_def"]
    mean = {"_target_": "monai_brainseg.weights.ensembles.MeanNetwork", "network": network, "size": len(runs)}
    environment = make_environments(1)[0]
    score(recipe, folder / "weights.pt", target, folder, running, environment, overlay={"network_def": mean})


@contextmanager
def _stop_in_order() -> Iterator[None]:
    """Let SIGTERM end this program as Ctrl-C does, so that it ends those that it started."""
    if threading.current_thread() is not threading.main_thread():
        yield
        return

    def leave(number: int, frame: FrameType | None) -> None:
        raise KeyboardInterrupt

    before = signal.signal(signal.SIGTERM, leave)
    try:
        yield
    finally:
        signal.signal(signal.SIGTERM, before)
