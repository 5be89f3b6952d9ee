"""Options that several commands have."""

from __future__ import annotations

import argparse
from pathlib import Path

from monai_brainseg.data.layouts import LAYOUTS
from monai_brainseg.errors import InputError


def add_source(parser: argparse.ArgumentParser) -> None:
    """Add what says which data set is read, and how."""
    parser.add_argument("source", type=Path, metavar="SOURCE", help="folder of the data set, unpacked")
    parser.add_argument(
        "--layout",
        default="auto",
        metavar="NAME",
        help=f"auto (default), {', '.join(LAYOUTS)}; nnunet covers the Medical Segmentation Decathlon",
    )
    parser.add_argument(
        "--naming",
        metavar="PATTERNS",
        help="one file for each sequence and a mask, e.g. 'pre=*_T1.nii.gz,flair=*_FLAIR.nii.gz,post=*_T1ce.nii.gz,"
        "label=*_seg.nii.gz'. A pattern is matched against the end of a path; what its first * stands for, or the "
        "folder where there is none, names the case: flair=FLAIR.nii.gz, flair=images/*.nii.gz, label=masks/*.nii.gz",
    )
    parser.add_argument(
        "--tumor-labels", default="", metavar="N,N", help="labels that are tumour (default: all above 0)"
    )


def read_labels(text: str) -> list[int]:
    """Return the labels of ``--tumor-labels``."""
    return read_numbers("--tumor-labels", text)


def read_numbers(option: str, text: str) -> list[int]:
    """Return the whole numbers of an option such as ``1,2,3``.

    Raises:
        InputError: they are none.
    """
    try:
        return [int(number) for number in text.split(",") if number]
    except ValueError:
        raise InputError(f"{option} {text}", "expected whole numbers with commas, such as 1,2,3") from None
