"""The command ``brainseg prepare``."""

from __future__ import annotations

import argparse
from pathlib import Path

from monai_brainseg.cli.options import add_source, read_labels
from monai_brainseg.data.prepare import prepare

_PREPARE = """\
Read a published data set, check every file, and write NIfTI volumes with a datalist. The datalist holds a test part
and folds of whole patients, balanced by site and tumour size."""

_PREPARE_EXAMPLES = """\
examples:
  brainseg prepare data/kaggle_3m --output data/lgg
  brainseg prepare my_studies --output data/mine --test-share 0 --folds 2
  brainseg prepare my_studies --output data/mine --naming 'flair=*_FLAIR.nii.gz,label=*_seg.nii.gz'"""


def add_prepare(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to those of ``brainseg``."""
    parser = commands.add_parser(
        "prepare",
        help="convert a data set to volumes, folds and a datalist",
        description=_PREPARE,
        epilog=_PREPARE_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    add_source(parser)
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder to write")
    parser.add_argument(
        "--test-share",
        type=float,
        default=0.15,
        metavar="SHARE",
        help="share of the patients in the test part (default: 0.15)",
    )
    parser.add_argument(
        "--folds", type=int, default=5, metavar="N", help="number of folds of the other patients (default: 5)"
    )
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the split (default: 0)")
    parser.add_argument("--skip-bad", action="store_true", help="list patients that cannot be used and leave them out")
    parser.add_argument("--overwrite", action="store_true", help="replace an earlier prepared data set in DIR")
    parser.set_defaults(call=_prepare)


def _prepare(arguments: argparse.Namespace) -> None:
    options = {name: value for name, value in vars(arguments).items() if name not in ("call", "command")}
    prepare(**{**options, "tumor_labels": read_labels(arguments.tumor_labels)})
