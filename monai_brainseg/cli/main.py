"""The ``brainseg`` command: arguments in, one call out, and the one place where errors become exit codes."""

from __future__ import annotations

import argparse
import difflib
import sys
from collections.abc import Sequence
from typing import Any, NoReturn

from brainseg_unet_scripts.errors import BundleError

from monai_brainseg import __version__
from monai_brainseg.cli.benchmark import add_benchmark
from monai_brainseg.cli.calibrate import add_calibrate
from monai_brainseg.cli.check import add_check
from monai_brainseg.cli.doctor import add_doctor
from monai_brainseg.cli.download import add_download
from monai_brainseg.cli.evaluate import add_evaluate
from monai_brainseg.cli.export import add_export
from monai_brainseg.cli.label import add_label
from monai_brainseg.cli.merge import add_merge
from monai_brainseg.cli.phantom import add_phantom
from monai_brainseg.cli.predict import add_predict
from monai_brainseg.cli.prepare import add_prepare
from monai_brainseg.errors import InputError
from monai_brainseg.files import make_printable


class _Parser(argparse.ArgumentParser):
    """Names what was mistyped, and the most similar option, in one line."""

    def __init__(self, **settings: Any) -> None:
        super().__init__(**{"allow_abbrev": False, **settings})  # --fold is no short form of --folds

    def error(self, message: str) -> NoReturn:
        self.exit(2, f"{self.prog}: {message}; see {self.prog} --help\n")

    def parse_known_args(self, args: Any = None, namespace: Any = None) -> Any:
        # Before argparse: it would first report missing required options, or print the top command's usage.
        known = list(self._option_string_actions)
        for word in [] if self._subparsers else args or []:
            name = word.partition("=")[0]
            if word == "--":
                break
            if word.startswith("--") and name not in known:
                near = difflib.get_close_matches(name, known, n=1)
                self.error(f"unknown option {name}" + (f", did you mean {near[0]}?" if near else ""))
        return super().parse_known_args(args, namespace)


def build_parser() -> argparse.ArgumentParser:
    """Return the parser of every command; each sets ``call``, a function of the parsed arguments."""
    parser: argparse.ArgumentParser = _Parser(
        prog="brainseg",
        description="Brain-MRI tumour segmentation on MONAI: prepare data, segment studies, score masks. Training is a "
        "command of MONAI, `python -m monai.bundle run training`; README.md shows it. For research only, not a medical "
        "device.",
    )
    parser.add_argument("--version", action="version", version=f"brainseg {__version__}")
    commands = parser.add_subparsers(dest="command", required=True, metavar="COMMAND")
    add_benchmark(commands)
    add_calibrate(commands)
    add_check(commands)
    add_doctor(commands)
    add_download(commands)
    add_evaluate(commands)
    add_export(commands)
    add_label(commands)
    add_merge(commands)
    add_predict(commands)
    add_prepare(commands)
    add_phantom(commands)
    return parser


def main(argv: Sequence[str] | None = None) -> int:
    """Run one command; an expected failure is one line on stderr and exit code 1."""
    make_printable()
    arguments = build_parser().parse_args(argv)
    try:
        arguments.call(arguments)
    except (InputError, BundleError, OSError) as error:
        print(f"brainseg {arguments.command}: {error}", file=sys.stderr)
        return 1
    except KeyboardInterrupt:
        print(f"brainseg {arguments.command}: interrupted", file=sys.stderr)
        return 130
    return 0
