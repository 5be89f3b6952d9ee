"""The command ``brainseg download``."""

from __future__ import annotations

import argparse
from pathlib import Path

from monai_brainseg.data.downloads import download


def add_download(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to those of ``brainseg``."""
    parser = commands.add_parser(
        "download",
        help="fetch the public LGG set and prepare it",
        description="Fetch the public LGG MRI segmentation set (110 patients) by kagglehub, say what its licence asks, "
        "check that it is whole, and prepare it as `brainseg prepare` does by default. kagglehub keeps the files as "
        "published in its cache; prepare those again for other folds.",
    )
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="prepared folder to make")
    parser.add_argument("--overwrite", action="store_true", help="replace what was prepared in DIR before")
    parser.set_defaults(call=_download)


def _download(arguments: argparse.Namespace) -> None:
    download(arguments.output, overwrite=arguments.overwrite)
