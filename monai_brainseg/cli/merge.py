"""The command ``brainseg merge``."""

from __future__ import annotations

import argparse
from pathlib import Path

from monai_brainseg.data.merge import merge


def add_merge(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to those of ``brainseg``."""
    parser = commands.add_parser(
        "merge",
        help="make one prepared folder of several, to train on all of them",
        description="Make one prepared folder of several. Each case keeps its fold, and its folder's name becomes its "
        "source. A training draws from the sources by --source_shares, such as \"{'lgg': 0.7, 'brats': 0.3}\". Files "
        "are hard links where the disk allows it. The same patient or the same images in two folders are refused.",
    )
    parser.add_argument("sources", type=Path, nargs="+", metavar="DIR", help="prepared folders, two or more")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder to make")
    parser.add_argument("--overwrite", action="store_true", help="replace what was prepared in DIR before")
    parser.set_defaults(call=_merge)


def _merge(arguments: argparse.Namespace) -> None:
    merge(arguments.sources, arguments.output, overwrite=arguments.overwrite)
