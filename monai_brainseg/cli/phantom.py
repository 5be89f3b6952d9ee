"""The command ``brainseg phantom``."""

from __future__ import annotations

import argparse
from pathlib import Path

from monai_brainseg.phantoms.patients import STYLES, WRITERS, write_phantoms


def add_phantom(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to those of ``brainseg``."""
    parser = commands.add_parser(
        "phantom",
        help="make synthetic patients",
        description="Write synthetic patients in the layout of a published data set, to try the commands on. A patient "
        "depends on the seed and on its number only. A patient that exists already is replaced.",
    )
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder to write to")
    parser.add_argument("--patients", type=int, default=24, metavar="N", help="number of patients (default: 24)")
    parser.add_argument(
        "--seed", type=int, default=0, metavar="S", help="random seed; another seed gives other patients (default: 0)"
    )
    parser.add_argument(
        "--layout", choices=WRITERS, default="kaggle_3m", help="layout of the files (default: kaggle_3m)"
    )
    parser.add_argument("--size", type=int, default=128, metavar="N", help="rows and columns of a slice (default: 128)")
    parser.add_argument("--slices", type=int, default=24, metavar="N", help="slices per patient (default: 24)")
    parser.add_argument("--style", choices=STYLES, default="usual", help="look of the scanner (default: usual)")
    parser.set_defaults(call=_phantom)


def _phantom(arguments: argparse.Namespace) -> None:
    options = {name: value for name, value in vars(arguments).items() if name not in ("call", "command")}
    names = write_phantoms(**{**options, "style": STYLES[arguments.style]})
    print(f"{len(names)} patients in {arguments.output}")
