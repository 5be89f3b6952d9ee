"""The command ``brainseg doctor``."""

from __future__ import annotations

import argparse
from collections import Counter
from pathlib import Path

from monai_brainseg.errors import InputError


def add_doctor(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to ``brainseg``."""
    parser = commands.add_parser(
        "doctor",
        help="check bundle, data and machine before a run",
        description="Check, offline and in seconds, package versions, a bundle (model zoo, MONAI's properties, MONAI "
        "Label's contract), the overlays in configs, a prepared folder against its datalist, disk, memory, GPU and "
        "threads; and estimate the time of an epoch and the peak of memory. An error makes the exit code 1. "
        "A bundle's config is code: run a bundle only if you trust whoever wrote it.",
    )
    parser.add_argument("--bundle", default="brainseg_unet", metavar="NAME", help="or its folder; brainseg_unet")
    parser.add_argument("--dataset_dir", type=Path, metavar="DIR", help="a prepared folder to train on")
    parser.add_argument(
        "--output_dir", type=Path, default=Path("runs"), metavar="DIR", help="where runs will be written; runs"
    )
    parser.add_argument("--strict", action="store_true", help="warnings make the exit code 1 too")
    parser.set_defaults(call=_doctor)


def _doctor(arguments: argparse.Namespace) -> None:
    from monai_brainseg.doctor.checks import examine, format_examination  # loads MONAI, which takes seconds
    from monai_brainseg.findings import ERROR, WARNING

    found = examine(arguments.bundle, arguments.dataset_dir, arguments.output_dir)
    print(format_examination(found))
    levels = Counter(finding.level for finding in found.findings)
    if levels[ERROR] or arguments.strict and levels[WARNING]:
        raise InputError(arguments.bundle, f"{levels[ERROR]} errors and {levels[WARNING]} warnings, as listed")
