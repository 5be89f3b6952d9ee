"""What a benchmark consists of, checked before any long work."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from itertools import product
from pathlib import Path
from typing import Any

from monai_brainseg.benchmarking.runs import LEFT_OUT, SAME_SLICES, TEST, Run, Target
from monai_brainseg.benchmarking.slice_splits import LEFT_FOLD, SAME_PATIENTS
from monai_brainseg.data.splits import Datalist, read_datalist
from monai_brainseg.errors import InputError
from monai_brainseg.runs.recipes import Recipe, read_recipe

SPLITS = ("patient", "slice")


@dataclass(frozen=True)
class Plan:
    """What a benchmark consists of.

    Attributes:
        dataset_dir: the prepared folder.
        datalist: its content.
        recipes: the first is the one that others are compared with.
        splits: of ``SPLITS``.
        folds: of the patients.
        seeds: of the trainings.
        output: folder of everything.
        epochs: of all trainings; None leaves them to the recipe.
        final: score the test part too.
        ensemble: score the mean of a recipe's networks on it too.
    """

    dataset_dir: Path
    datalist: Datalist
    recipes: tuple[Recipe, ...]
    splits: tuple[str, ...]
    folds: tuple[int, ...]
    seeds: tuple[int, ...]
    output: Path
    epochs: int | None
    final: bool
    ensemble: bool

    @property
    def test(self) -> Target:
        """The test part."""
        return Target(TEST, self.dataset_dir / "datalist.json", "test")

    @property
    def slices(self) -> dict[int, Path]:
        """The folder of each fold's split by slice, if a benchmark has one."""
        return {fold: self.output / "slices" / f"fold{fold}" for fold in self.folds if "slice" in self.splits}


def make_plan(
    dataset_dir: Path,
    recipes: Sequence[str],
    output: Path,
    *,
    bundle: str | None = None,
    splits: Sequence[str] = ("patient",),
    folds: Sequence[int] | None = None,
    seeds: Sequence[int] = (0,),
    epochs: int | None = None,
    final: bool = False,
    ensemble: bool = False,
) -> Plan:
    """Check everything that can be checked before any long work.

    Args:
        dataset_dir: a folder that ``brainseg prepare`` wrote.
        recipes: names in ``configs/recipes`` or paths of YAML files.
        output: folder of everything.
        bundle: its name or folder; None for those that the recipes name, or the default.
        splits: of ``SPLITS``.
        folds: None for all.
        seeds: of the trainings.
        epochs: of all trainings; None leaves them to the recipe.
        final: score the test part too.
        ensemble: score the mean of a recipe's networks on the test part too.

    Raises:
        InputError: something cannot be done.
    """
    if ensemble and not final:
        raise InputError("--ensemble", "scores the test part only", "add --final")
    read = tuple(read_recipe(name, bundle) for name in recipes)
    for option, names in (("recipes", [recipe.name for recipe in read]), ("split", splits), ("seeds", seeds)):
        if not names or len(set(names)) < len(names):
            raise InputError(f"--{option} {','.join(map(str, names))}", "name one or more, each once")
    if unknown := [split for split in splits if split not in SPLITS]:
        raise InputError(f"--split {unknown[0]}", f"must be {' or '.join(SPLITS)}, or both with a comma")
    if min(seeds) < 0 or epochs is not None and epochs < 1:
        raise InputError("--seeds, --epochs", "a seed is 0 or more, and epochs are 1 or more")
    datalist = read_datalist(dataset_dir)
    chosen = _choose_folds(dataset_dir, datalist, folds)
    if final and not datalist["test"]:
        raise InputError(dataset_dir, "has no test patients to score", "leave out --final")
    return Plan(dataset_dir, datalist, read, tuple(splits), chosen, tuple(seeds), output, epochs, final, ensemble)


def list_runs(plan: Plan) -> list[Run]:
    """Return every run, in an order in which whole comparisons come early."""
    return [
        _make_run(plan, recipe, split, fold, seed)
        for seed, fold, split, recipe in product(plan.seeds, plan.folds, plan.splits, plan.recipes)
    ]


def _choose_folds(dataset_dir: Path, datalist: Datalist, folds: Sequence[int] | None) -> tuple[int, ...]:
    there = sorted({item["fold"] for item in datalist["training"]})
    count, due = len(datalist["training"]), max(2, datalist.get("folds", 2))
    if len(there) < due:
        raise InputError(dataset_dir, f"has {count} training patients in {len(there)} of {due} folds", "prepare more")
    if unknown := [fold for fold in folds or () if fold not in there]:
        raise InputError(f"--folds {unknown[0]}", f"no such fold in {dataset_dir}", f"name all or some of {there}")
    return tuple(there if folds is None else sorted(set(folds)))


def _make_run(plan: Plan, recipe: Recipe, split: str, fold: int, seed: int) -> Run:
    own = plan.dataset_dir / "datalist.json"
    overrides: dict[str, Any] = {} if plan.epochs is None else {"epochs": plan.epochs}
    targets = [Target(LEFT_OUT, own, "training", fold)]
    if split == "slice":
        folder = plan.slices[fold]
        targets = [Target(LEFT_OUT, folder / "datalist.json", "training", LEFT_FOLD, seen=True)]
        # As many steps as in the patient split, though there are more volumes, each with fewer slices.
        volumes = sum(item["fold"] != fold for item in plan.datalist["training"])
        overrides |= {"train::dataloader::num_samples": f"${volumes} * @slices_per_volume"}
    elif "slice" in plan.splits:
        targets.append(Target(SAME_SLICES, plan.slices[fold] / SAME_PATIENTS, "training"))
    return Run(
        recipe=recipe,
        split=split,
        fold=fold,
        seed=seed,
        folder=plan.output / "runs" / recipe.name / f"{split}_fold{fold}_seed{seed}",
        datalist=targets[0].datalist,
        datalist_fold=LEFT_FOLD if split == "slice" else fold,
        overrides=overrides,
        targets=(*targets, *([plan.test] if plan.final else [])),
    )
