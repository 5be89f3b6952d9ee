"""The command ``brainseg benchmark``."""

from __future__ import annotations

import argparse
from pathlib import Path

from monai_brainseg.cli.options import read_numbers
from monai_brainseg.errors import InputError


def add_benchmark(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to those of ``brainseg``."""
    parser = commands.add_parser(
        "benchmark",
        help="cross-validate, compare recipes, and show what a split by slice is worth",
        description="Train recipes by monai.bundle on all folds but one, score what was left out, and write one table: "
        "benchmark.md, benchmark.html and benchmark.csv. The same command goes on where it was interrupted; recipes, "
        "folds and seeds can be added to it. A run that fails is listed with the reason, and makes the exit code 1.",
    )
    parser.add_argument("--dataset_dir", type=Path, required=True, metavar="DIR", help="a prepared folder")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="for runs and table")
    parser.add_argument(
        "--recipes", default="best", metavar="A,B", help="of configs/recipes, or paths; compared with the first (best)"
    )
    parser.add_argument("--folds", default="all", metavar="N,N", help="left out in turn: all (default), 0, or 0,1")
    parser.add_argument(
        "--split",
        default="patient",
        metavar="patient|slice",
        help="by patient (default), by slice, which leaks, or both",
    )
    parser.add_argument("--seeds", default="0", metavar="N,N", help="of the trainings; 0")
    parser.add_argument("--budget", type=float, metavar="MINUTES", help="cut each training short after so long")
    parser.add_argument("--epochs", type=int, metavar="N", help="of each training, instead of the recipe's own")
    parser.add_argument(
        "--bundle",
        metavar="NAME",
        help="or its folder, whose config runs code (default: a recipe's own, or brainseg_unet)",
    )
    parser.add_argument("--final", action="store_true", help="score the test part too: once, when all choices are made")
    parser.add_argument("--ensemble", action="store_true", help="score the mean of each recipe's networks on it too")
    parser.add_argument("--processes", type=int, metavar="N", help="runs at a time (default: one a GPU, or one)")
    parser.set_defaults(call=_benchmark)


def _benchmark(arguments: argparse.Namespace) -> None:
    from monai_brainseg.benchmarking.benchmark import carry_out  # loads MONAI, which takes seconds
    from monai_brainseg.benchmarking.plan import make_plan
    from monai_brainseg.benchmarking.table import write_table

    given = vars(arguments)
    options = {name: given[name] for name in ("dataset_dir", "output", "bundle", "epochs", "final", "ensemble")}
    plan = make_plan(
        recipes=arguments.recipes.split(","),
        splits=arguments.split.split(","),
        folds=None if arguments.folds == "all" else read_numbers("--folds", arguments.folds),
        seeds=read_numbers("--seeds", arguments.seeds),
        **options,
    )
    failed = carry_out(plan, arguments.budget, arguments.processes)
    print(write_table(plan, failed))
    print(f"\nwrote {plan.output / 'benchmark.html'}, benchmark.md, benchmark.csv")
    if failed:
        raise InputError(plan.output, f"failed, as listed: {'; '.join(failed)}", "the same command tries again")
