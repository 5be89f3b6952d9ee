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
        help="check a bundle, a data set and this machine before a run",
        description="Check package versions, a bundle (rules of the model zoo, of MONAI and of MONAI Label), the "
        "overlay configs, a prepared folder and its datalist, disk, memory, GPU and threads. Estimate the time of an "
        "epoch and the peak memory. The check takes seconds and needs no network. If there is an error, the exit code "
        "is 1. A bundle's config is code: run a bundle only if you trust its author.",
    )
    parser.add_argument(
        "--bundle", default="brainseg_unet", metavar="NAME", help="bundle or its folder (default: brainseg_unet)"
    )
    parser.add_argument(
        "--dataset_dir", type=Path, metavar="DIR", help="prepared folder to train on (default: no data is checked)"
    )
    parser.add_argument(
        "--output_dir",
        type=Path,
        default=Path("runs"),
        metavar="DIR",
        help="folder that the runs will write to; its disk is checked (default: runs)",
    )
    parser.add_argument("--strict", action="store_true", help="exit with code 1 for a warning too")
    parser.set_defaults(call=_doctor)


def _doctor(arguments: argparse.Namespace) -> None:
    from monai_brainseg.doctor.examination import examine, format_examination  # loads MONAI, which takes seconds
    from monai_brainseg.findings import ERROR, WARNING

    found = examine(arguments.bundle, arguments.dataset_dir, arguments.output_dir)
    print(format_examination(found))
    levels = Counter(finding.level for finding in found.findings)
    if levels[ERROR] or arguments.strict and levels[WARNING]:
        raise InputError(arguments.bundle, f"{levels[ERROR]} errors and {levels[WARNING]} warnings, as listed")
