"""Options that several commands have."""

from __future__ import annotations

import argparse
from pathlib import Path

from monai_brainseg.data.layouts import LAYOUTS
from monai_brainseg.errors import InputError


def add_bundle(parser: argparse.ArgumentParser) -> None:
    """Add ``--bundle``."""
    parser.add_argument(
        "--bundle",
        metavar="NAME",
        help="bundle or its folder; its config is code (default: the bundle of the recipe, or brainseg_unet)",
    )


def add_recipe(parser: argparse.ArgumentParser) -> None:
    """Add ``--recipe``."""
    parser.add_argument(
        "--recipe", metavar="NAME", help="recipe or overlay config that the weights were trained with (default: none)"
    )


def add_channels(parser: argparse.ArgumentParser) -> None:
    """Add ``--channels``."""
    parser.add_argument(
        "--channels",
        metavar="NAMES",
        help="what the channels of files with several sequences are, in order, such as flair,t1,t1ce,t2; - is one that "
        "is not used",
    )


def add_source(parser: argparse.ArgumentParser) -> None:
    """Add the options for which data set is read, and how."""
    parser.add_argument("source", type=Path, metavar="SOURCE", help="folder of the unpacked data set")
    parser.add_argument(
        "--layout",
        default="auto",
        metavar="NAME",
        help=f"layout of the data set: auto, {', '.join(LAYOUTS)}; nnunet includes the Medical Segmentation Decathlon "
        "(default: auto)",
    )
    parser.add_argument(
        "--naming",
        metavar="PATTERNS",
        help="file names of a data set in no known layout, such as 'pre=*_T1.nii.gz,flair=*_FLAIR.nii.gz,"
        "post=*_T1ce.nii.gz,label=*_seg.nii.gz'. A pattern is compared with the end of a path. The text in place of "
        "its first * names the case; in a pattern without a * the folder does. More examples: flair=FLAIR.nii.gz, "
        "flair=images/*.nii.gz, label=masks/*.nii.gz",
    )
    add_channels(parser)
    parser.add_argument(
        "--tumor-labels", default="", metavar="N,N", help="label values that are tumour (default: all above 0)"
    )


def read_labels(text: str) -> list[int]:
    """Return the labels of ``--tumor-labels``."""
    return read_numbers("--tumor-labels", text)


def read_numbers(option: str, text: str) -> list[int]:
    """Return the whole numbers of an option such as ``1,2,3``.

    Raises:
        InputError: they are not whole numbers.
    """
    try:
        return [int(number) for number in text.split(",") if number]
    except ValueError:
        raise InputError(f"{option} {text}", "expected whole numbers with commas, such as 1,2,3") from None
