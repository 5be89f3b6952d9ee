"""The command ``brainseg check``."""

from __future__ import annotations

import argparse
from pathlib import Path

from monai_brainseg.cli.options import add_source, read_labels
from monai_brainseg.errors import InputError


def add_check(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to those of ``brainseg``."""
    parser = commands.add_parser(
        "check",
        help="check a data set before you train on it",
        description="Read every patient of a data set, published or prepared. Print a table, what looks wrong "
        "and what to do about it. Write check.html, a page with pictures, and check.json. A patient that cannot be "
        "used is listed with the reason, and the exit code is then 1.",
    )
    add_source(parser)
    parser.add_argument(
        "--output",
        type=Path,
        default=Path("runs/check"),
        metavar="DIR",
        help="folder for check.html and check.json (default: runs/check)",
    )
    parser.set_defaults(call=_check)


def _check(arguments: argparse.Namespace) -> None:
    from monai_brainseg.survey.datasets import check  # loads SciPy and scikit-image, which take a second

    survey = check(
        arguments.source,
        arguments.output,
        layout=arguments.layout,
        naming=arguments.naming,
        channels=arguments.channels,
        tumor_labels=read_labels(arguments.tumor_labels),
    )
    if survey.bad:
        count = f"{len(survey.bad)} of {len(survey.bad) + len(survey.profiles)} patients cannot be used"
        raise InputError(
            arguments.source, f"{count}, as listed", "repair them, or leave them out with prepare --skip-bad"
        )
