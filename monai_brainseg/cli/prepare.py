"""The command ``brainseg prepare``."""

from __future__ import annotations

import argparse
from pathlib import Path

from monai_brainseg.cli.options import add_source, read_labels
from monai_brainseg.data.prepare import prepare


def add_prepare(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to those of ``brainseg``."""
    parser = commands.add_parser(
        "prepare",
        help="make volumes, folds and a datalist of a published data set",
        description="Read a data set as published, check every file, and write NIfTI volumes with a datalist: a test "
        "part and folds of whole patients, balanced by site and tumour size.",
    )
    add_source(parser)
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder to make")
    parser.add_argument("--test-share", type=float, default=0.15, metavar="SHARE", help="test patients (default: 0.15)")
    parser.add_argument("--folds", type=int, default=5, metavar="N", help="folds of the others (default: 5)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the split (default: 0)")
    parser.add_argument("--skip-bad", action="store_true", help="report and leave out bad patients instead of stopping")
    parser.add_argument("--overwrite", action="store_true", help="replace what was prepared in DIR before")
    parser.set_defaults(call=_prepare)


def _prepare(arguments: argparse.Namespace) -> None:
    options = {name: value for name, value in vars(arguments).items() if name not in ("call", "command")}
    prepare(**{**options, "tumor_labels": read_labels(arguments.tumor_labels)})
