"""The command ``brainseg evaluate``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

_EVALUATE = """\
Score <patient>.nii.gz in a folder against a datalist; writes metrics.csv, summary.json and report.html. A patient
without a prediction is scored as a failure (Dice 0) and listed; the exit code stays 0. Where
<patient>_probability.nii.gz lie beside all of them there is a precision-recall curve, and on the training part
operating points are chosen."""

_EVALUATE_EXAMPLES = """\
examples:
  brainseg evaluate --datalist data/lgg --predictions runs/test --output runs/scores

operating points, chosen on a fold that RUN of `brainseg benchmark` left out and measured on the test part; EVALUATING
= python -m monai.bundle run evaluating --dataset_dir data/lgg --config_file \\
      "['bundles/brainseg_unet/configs/inference.yaml','bundles/brainseg_unet/configs/evaluate.yaml']"
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
