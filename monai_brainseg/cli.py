"""The ``brainseg`` command: arguments in, one call out, and the one place where errors become exit codes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence
from pathlib import Path

from monai_brainseg import __version__
from monai_brainseg.errors import InputError
from monai_brainseg.layouts import LAYOUTS
from monai_brainseg.phantom import STYLES, WRITERS, write_phantoms
from monai_brainseg.prepare import prepare


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of every command; each sets ``call``, a function of the parsed arguments."""
    parser = argparse.ArgumentParser(prog="brainseg", description=__doc__)
    parser.add_argument("--version", action="version", version=f"brainseg {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    _add_check(commands)
    _add_evaluate(commands)
    _add_prepare(commands)
    _add_phantom(commands)
    return parser


def _add_prepare(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "prepare",
        help="make volumes, folds and a datalist of a published data set",
        description="Read a data set as published, check every file, and write NIfTI volumes with a datalist: a test "
        "part and folds of whole patients, balanced by site and tumour size.",
    )
    _add_source(parser)
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder to make")
    parser.add_argument("--test-share", type=float, default=0.15, metavar="SHARE", help="test patients (default: 0.15)")
    parser.add_argument("--folds", type=int, default=5, metavar="N", help="folds of the others (default: 5)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the split (default: 0)")
    parser.add_argument("--skip-bad", action="store_true", help="report and leave out bad patients instead of stopping")
    parser.add_argument("--overwrite", action="store_true", help="replace what was prepared in DIR before")
    parser.set_defaults(call=_prepare)


def _add_source(parser: argparse.ArgumentParser) -> None:
    parser.add_argument("source", type=Path, metavar="SOURCE", help="folder of the data set, unpacked")
    parser.add_argument(
        "--layout",
        default="auto",
        metavar="NAME",
        help=f"auto (default), {', '.join(LAYOUTS)}; nnunet covers the Medical Segmentation Decathlon",
    )
    parser.add_argument(
        "--naming",
        metavar="PATTERNS",
        help="one file for each sequence and a mask, e.g. 'pre=*_T1.nii.gz,flair=*_FLAIR.nii.gz,post=*_T1ce.nii.gz,"
        "label=*_seg.nii.gz'. A pattern is matched against the end of a path; what its first * stands for, or the "
        "folder where there is none, names the case: flair=FLAIR.nii.gz, flair=images/*.nii.gz, label=masks/*.nii.gz",
    )
    parser.add_argument(
        "--tumor-labels", default="", metavar="N,N", help="labels that are tumour (default: all above 0)"
    )


def _add_check(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "check",
        help="look at a data set before training on it",
        description="Read every patient of a data set, as published or prepared; print a table and what is odd, with "
        "what to do about it, and write check.html, a page with pictures, and check.json. A patient that cannot be "
        "used is listed with the reason, and makes the exit code 1.",
    )
    _add_source(parser)
    parser.add_argument(
        "--output", type=Path, default=Path("runs/check"), metavar="DIR", help="for both files (default: runs/check)"
    )
    parser.set_defaults(call=_check)


def _check(arguments: argparse.Namespace) -> None:
    from monai_brainseg.survey import check  # loads SciPy and scikit-image, which take a second

    survey = check(
        arguments.source,
        arguments.output,
        layout=arguments.layout,
        naming=arguments.naming,
        tumor_labels=_read_labels(arguments.tumor_labels),
    )
    if survey.bad:
        count = f"{len(survey.bad)} of {len(survey.bad) + len(survey.profiles)} patients cannot be used"
        raise InputError(f"{arguments.source}: {count}, as listed; mend them, or leave them out by prepare --skip-bad")


def _prepare(arguments: argparse.Namespace) -> None:
    options = {name: value for name, value in vars(arguments).items() if name not in ("call", "command")}
    prepare(**{**options, "tumor_labels": _read_labels(arguments.tumor_labels)})


def _read_labels(text: str) -> list[int]:
    try:
        return [int(label) for label in text.split(",") if label]
    except ValueError:
        raise InputError(f"--tumor-labels {text}: expected whole numbers with commas, such as 1,2,3") from None


def _add_evaluate(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "evaluate",
        help="score predicted masks against the truth of a datalist",
        description="Score <patient>.nii.gz in a folder against a datalist; writes metrics.csv and summary.json. A "
        "patient without a prediction is scored as a failure (Dice 0) and listed; the exit code stays 0.",
    )
    parser.add_argument("--datalist", type=Path, required=True, help="datalist.json, or the prepared folder")
    parser.add_argument("--predictions", type=Path, required=True, help="folder of masks on the truth's grid")
    parser.add_argument("--output", type=Path, required=True, help="folder for metrics.csv and summary.json")
    parser.add_argument("--part", choices=("test", "training", "all"), default="test", help="default: test")
    parser.add_argument("--fold", type=int, help="only this fold, with --part training")
    parser.add_argument(
        "--tolerance", type=float, default=2.0, help="of surface Dice, in mm or, where spacing is unknown, voxels; 2"
    )
    parser.add_argument("--seed", type=int, default=0, help="of the bootstrap intervals; 0")
    parser.set_defaults(call=_evaluate)


def _evaluate(arguments: argparse.Namespace) -> None:
    from monai_brainseg.evaluation import evaluate, format_summary  # loads MONAI, which takes seconds

    summary = evaluate(
        arguments.datalist,
        arguments.predictions,
        arguments.output,
        part=arguments.part,
        fold=arguments.fold,
        tolerance=arguments.tolerance,
        seed=arguments.seed,
        command=sys.argv,
    )
    print(format_summary(summary))


def _add_phantom(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    parser = commands.add_parser(
        "phantom",
        help="make synthetic patients",
        description="Write synthetic patients in the layout of a published data set, for trying things out. A patient "
        "depends on the seed and its number alone; one that is there already is replaced.",
    )
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder to make or to add to")
    parser.add_argument("--patients", type=int, default=24, metavar="N", help="how many (default: 24)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="other patients (default: 0)")
    parser.add_argument("--layout", choices=WRITERS, default="kaggle_3m", help="default: kaggle_3m")
    parser.add_argument("--size", type=int, default=128, metavar="N", help="columns and rows (default: 128)")
    parser.add_argument("--slices", type=int, default=24, metavar="N", help="slices of a patient (default: 24)")
    parser.add_argument("--style", choices=STYLES, default="usual", help="scanners (default: usual)")
    parser.set_defaults(call=_phantom)


def _phantom(arguments: argparse.Namespace) -> None:
    options = {name: value for name, value in vars(arguments).items() if name not in ("call", "command")}
    names = write_phantoms(**{**options, "style": STYLES[arguments.style]})
    print(f"{len(names)} patients in {arguments.output}")


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; an expected failure is one line on stderr and exit code 1."""
    arguments = build_parser().parse_args(argv)
    try:
        arguments.call(arguments)
    except (InputError, OSError) as error:
        print(f"brainseg {arguments.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"brainseg {arguments.command}: interrupted", file=sys.stderr)
        return 130
    return 0
