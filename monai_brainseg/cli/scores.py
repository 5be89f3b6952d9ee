"""The commands that score: ``brainseg benchmark`` and ``evaluate``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from monai_brainseg.cli.data import read_numbers
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
        raise InputError(f"{plan.output}: failed, as listed: {'; '.join(failed)}; the same command tries again")


_EVALUATE = """\
Score <patient>.nii.gz in a folder against a datalist; writes metrics.csv, summary.json and report.html. A patient
without a prediction is scored as a failure (Dice 0) and listed; the exit code stays 0. Where
<patient>_probability.nii.gz lie beside all of them there is a precision-recall curve, and on the training part
operating points are chosen."""

_EVALUATE_EXAMPLES = """\
examples:
  brainseg evaluate --datalist data/lgg --predictions runs/test --output runs/scores

operating points, chosen on a fold that RUN of `brainseg benchmark` left out and measured on the test part; EVALUATING
= python -m monai.bundle run evaluating --config_file bundles/brainseg_unet/configs/evaluate.yaml --dataset_dir data/lgg
  EVALUATING --checkpoint RUN/weights.pt --part training --fold 0 --save_probability True --output_dir runs/fold0
  brainseg evaluate --datalist data/lgg --part training --fold 0 --predictions runs/fold0 --output runs/fold0/scores
  EVALUATING --checkpoint RUN/weights.pt --save_probability True --output_dir runs/test
  brainseg evaluate --datalist data/lgg --predictions runs/test --output runs/test/scores \\
      --operating-points runs/fold0/scores/summary.json"""


def add_evaluate(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to those of ``brainseg``."""
    parser = commands.add_parser(
        "evaluate",
        help="score predicted masks against the truth of a datalist",
        description=_EVALUATE,
        epilog=_EVALUATE_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--datalist", type=Path, required=True, help="datalist.json, or the prepared folder")
    parser.add_argument("--predictions", type=Path, required=True, help="folder of masks on the truth's grid")
    parser.add_argument("--output", type=Path, required=True, help="folder for metrics.csv, summary.json, report.html")
    parser.add_argument("--part", choices=("test", "training", "all"), default="test", help="default: test")
    parser.add_argument("--fold", type=int, help="only this fold, with --part training")
    parser.add_argument(
        "--tolerance", type=float, default=2.0, help="of surface Dice, in mm or, where spacing is unknown, voxels; 2"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap intervals; 0")
    parser.add_argument("--run", type=Path, metavar="RUN_DIR", help="training run whose learning curves are shown")
    parser.add_argument(
        "--operating-points",
        type=Path,
        metavar="SUMMARY_JSON",
        help="summary.json of an evaluation of the folds; its operating points are measured here",
    )
    parser.add_argument(
        "--allow-seen",
        action="store_true",
        help="score patients too that the weights were trained or selected on; every output then says so",
    )
    parser.set_defaults(call=_evaluate)


def _evaluate(arguments: argparse.Namespace) -> None:
    from monai_brainseg.reporting.evaluation import evaluate  # loads MONAI, which takes seconds
    from monai_brainseg.scoring.summary_text import format_summary

    summary = evaluate(
        arguments.datalist,
        arguments.predictions,
        arguments.output,
        part=arguments.part,
        fold=arguments.fold,
        tolerance=arguments.tolerance,
        seed=arguments.seed,
        run=arguments.run,
        operating_points=arguments.operating_points,
        allow_seen=arguments.allow_seen,
        command=sys.argv,
    )
    print(f"wrote {arguments.output / 'report.html'}, metrics.csv, summary.json\n")
    print(format_summary(summary))
