"""The command ``brainseg evaluate``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

_EVALUATE = """\
Score masks (<patient>.nii.gz in one folder) against the masks of a datalist. Write metrics.csv, summary.json and
report.html. A patient without a predicted mask is scored as a failure (Dice 0) and listed; the exit code is still 0. If
every mask has a <patient>_probability.nii.gz, the report has a precision-recall curve, and on the training part
operating points are chosen."""

_EVALUATE_EXAMPLES = """\
examples:
  brainseg evaluate --datalist data/lgg --predictions runs/test --output runs/scores

Operating points are chosen on a fold that the weights have not seen, then measured on the test part:
  brainseg predict data/lgg --part training --fold 0 --checkpoint WEIGHTS --probability --output runs/fold0
  brainseg evaluate --datalist data/lgg --part training --fold 0 --predictions runs/fold0 --output runs/fold0/scores
  brainseg predict data/lgg --checkpoint WEIGHTS --probability --output runs/test
  brainseg evaluate --datalist data/lgg --predictions runs/test --output runs/test/scores \\
      --operating-points runs/fold0/scores/summary.json
WEIGHTS are of a training without fold 0, such as runs/bundle/runs/bundle/patient_fold0_seed0/weights.pt of a
benchmark."""


def add_evaluate(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to those of ``brainseg``."""
    parser = commands.add_parser(
        "evaluate",
        help="score predicted masks against the truth of a datalist",
        description=_EVALUATE,
        epilog=_EVALUATE_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("--datalist", type=Path, required=True, help="datalist.json or its prepared folder")
    parser.add_argument(
        "--predictions", type=Path, required=True, help="folder of masks, each on the grid of the true mask"
    )
    parser.add_argument("--output", type=Path, required=True, help="folder for metrics.csv, summary.json, report.html")
    parser.add_argument(
        "--part",
        choices=("test", "training", "all"),
        default="test",
        help="part of the datalist to score (default: test)",
    )
    parser.add_argument("--fold", type=int, help="fold to score; needs --part training (default: all folds)")
    parser.add_argument(
        "--tolerance",
        type=float,
        default=2.0,
        help="tolerance of the surface Dice in mm, or in voxels if the spacing is unknown (default: 2)",
    )
    parser.add_argument("--seed", type=int, default=0, help="seed of the bootstrap intervals (default: 0)")
    parser.add_argument(
        "--run", type=Path, metavar="RUN_DIR", help="training run; the report then shows its learning curves"
    )
    parser.add_argument(
        "--operating-points",
        type=Path,
        metavar="SUMMARY_JSON",
        help="summary.json of a fold that was scored before; its operating points are measured here",
    )
    parser.add_argument(
        "--allow-seen",
        action="store_true",
        help="also score patients that the weights were trained or selected on; every output then says so",
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
