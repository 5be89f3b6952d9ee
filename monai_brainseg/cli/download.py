"""The command ``brainseg download``."""

from __future__ import annotations

import argparse
from pathlib import Path

from monai_brainseg.data.downloads import download


def add_download(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to those of ``brainseg``."""
    parser = commands.add_parser(
        "download",
        help="download the public LGG data set and prepare it",
        description="Download the public LGG MRI segmentation data set (110 patients) with kagglehub, show its licence "
        "terms, check that it is complete, and prepare it with the defaults of `brainseg prepare`. kagglehub keeps the "
        "published files in its cache; run `brainseg prepare` on them if you want other folds.",
    )
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="prepared folder to write")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier prepared data set in DIR")
    parser.set_defaults(call=_download)


def _download(arguments: argparse.Namespace) -> None:
    download(arguments.output, overwrite=arguments.overwrite)
