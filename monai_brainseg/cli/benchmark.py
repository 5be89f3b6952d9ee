"""The command ``brainseg benchmark``."""

from __future__ import annotations

import argparse
from pathlib import Path

from monai_brainseg.cli.options import add_bundle, read_numbers
from monai_brainseg.errors import InputError

_BENCHMARK = """\
Train each recipe on all folds but one, score the fold that was left out, and write one table: benchmark.md,
benchmark.html and benchmark.csv. The trainings are runs of monai.bundle. If the command is interrupted, run it again:
it continues where it stopped. You can add recipes, folds and seeds to a benchmark that exists. A run that fails is
listed with its reason, and the command ends with exit code 1."""

_BENCHMARK_EXAMPLES = """\
examples:
  brainseg benchmark --dataset_dir data/lgg --recipes bundle --output runs/bundle
  brainseg benchmark --dataset_dir data/lgg --recipes short,my_recipe.yaml --folds 0,1 --output runs/compare
  brainseg benchmark --dataset_dir data/lgg --recipes short --split patient,slice --seeds 0,1,2 --output runs/leak"""


def add_benchmark(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to those of ``brainseg``."""
    parser = commands.add_parser(
        "benchmark",
        help="cross-validate recipes, compare them, and measure the effect of a split by slice",
        description=_BENCHMARK,
        epilog=_BENCHMARK_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--dataset_dir", type=Path, required=True, metavar="DIR", help="prepared folder to train on")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder for the runs and the table")
    parser.add_argument(
        "--recipes",
        default="bundle",
        metavar="A,B",
        help="names of recipes in configs/recipes, or YAML files; all are compared with the first (default: bundle)",
    )
    parser.add_argument(
        "--folds", default="all", metavar="N,N", help="folds to leave out in turn, such as 0 or 0,1 (default: all)"
    )
    parser.add_argument(
        "--split",
        default="patient",
        metavar="patient|slice",
        help="split by patient, by slice (slices of one patient are then on both sides), or patient,slice for both "
        "(default: patient)",
    )
    parser.add_argument("--seeds", default="0", metavar="N,N", help="training seeds (default: 0)")
    parser.add_argument(
        "--budget", type=float, metavar="MINUTES", help="stop each training after this time (default: no limit)"
    )
    parser.add_argument(
        "--epochs", type=int, metavar="N", help="epochs of each training (default: those of the recipe)"
    )
    add_bundle(parser)
    parser.add_argument(
        "--final", action="store_true", help="also score the test part; do this once, when all choices are made"
    )
    parser.add_argument(
        "--ensemble",
        action="store_true",
        help="also score the test part with the mean of the networks of each recipe",
    )
    parser.add_argument(
        "--processes", type=int, metavar="N", help="runs at the same time (default: one for each GPU, or 1)"
    )
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
        raise InputError(
            plan.output, f"failed, as listed: {'; '.join(failed)}", "run the same command again to retry them"
        )
