"""The ``brainseg`` command: arguments in, one call out, and the one place where errors become exit codes."""

from __future__ import annotations

import argparse
import sys
from collections.abc import Sequence

from monai_brainseg import __version__
from monai_brainseg.cli_data import add_check, add_download, add_phantom, add_prepare
from monai_brainseg.cli_export import add_export
from monai_brainseg.cli_label import add_label
from monai_brainseg.cli_predict import add_predict
from monai_brainseg.cli_scores import add_benchmark, add_evaluate
from monai_brainseg.doctor import add_doctor
from monai_brainseg.errors import InputError


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of every command; each sets ``call``, a function of the parsed arguments."""
    parser = argparse.ArgumentParser(
        prog="brainseg",
        description="Brain-MRI tumour segmentation on MONAI: data sets in, masks and scores out. Training is "
        "`python -m monai.bundle run training`, as README.md shows. For research only.",
    )
    parser.add_argument("--version", action="version", version=f"brainseg {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    add_benchmark(commands)
    add_check(commands)
    add_doctor(commands)
    add_download(commands)
    add_evaluate(commands)
    add_export(commands)
    add_label(commands)
    add_predict(commands)
    add_prepare(commands)
    add_phantom(commands)
    return parser


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
