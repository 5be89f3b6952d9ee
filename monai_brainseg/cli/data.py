"""The commands on data sets: ``brainseg check``, ``download``, ``phantom`` and ``prepare``."""

from __future__ import annotations

import argparse
from pathlib import Path

from monai_brainseg.data.downloads import download
from monai_brainseg.errors import InputError
from monai_brainseg.data.layouts import LAYOUTS
from monai_brainseg.phantoms.patients import STYLES, WRITERS, write_phantoms
from monai_brainseg.data.prepare import prepare


def add_check(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to those of ``brainseg``."""
    parser = commands.add_parser(
        "check",
        help="look at a data set before training on it",
        description="Read every patient of a data set, as published or prepared; print a table and what is odd, with "
        "what to do about it, and write check.html, a page with pictures, and check.json. A patient that cannot be "
        "used is listed with the reason, and makes the exit code 1.",
    )
    _add_source(parser)
    parser.add_argument(
        "--output", type=Path, default=Path("runs/check"), metavar="DIR", help="for both files (default: runs/check)"
    )
    parser.set_defaults(call=_check)


def _check(arguments: argparse.Namespace) -> None:
    from monai_brainseg.survey.datasets import check  # loads SciPy and scikit-image, which take a second

    survey = check(
        arguments.source,
        arguments.output,
        layout=arguments.layout,
        naming=arguments.naming,
        tumor_labels=_read_labels(arguments.tumor_labels),
    )
    if survey.bad:
        count = f"{len(survey.bad)} of {len(survey.bad) + len(survey.profiles)} patients cannot be used"
        raise InputError(f"{arguments.source}: {count}, as listed; mend them, or leave them out by prepare --skip-bad")


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


def add_phantom(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to those of ``brainseg``."""
    parser = commands.add_parser(
        "phantom",
        help="make synthetic patients",
        description="Write synthetic patients in the layout of a published data set, for trying things out. A patient "
        "depends on the seed and its number alone; one that is there already is replaced.",
    )
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder to make or to add to")
    parser.add_argument("--patients", type=int, default=24, metavar="N", help="how many (default: 24)")
    parser.add_argument("--seed", type=int, default=0, metavar="S", help="other patients (default: 0)")
    parser.add_argument("--layout", choices=WRITERS, default="kaggle_3m", help="default: kaggle_3m")
    parser.add_argument("--size", type=int, default=128, metavar="N", help="columns and rows (default: 128)")
    parser.add_argument("--slices", type=int, default=24, metavar="N", help="slices of a patient (default: 24)")
    parser.add_argument("--style", choices=STYLES, default="usual", help="scanners (default: usual)")
    parser.set_defaults(call=_phantom)


def _phantom(arguments: argparse.Namespace) -> None:
    options = {name: value for name, value in vars(arguments).items() if name not in ("call", "command")}
    names = write_phantoms(**{**options, "style": STYLES[arguments.style]})
    print(f"{len(names)} patients in {arguments.output}")


def add_prepare(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to those of ``brainseg``."""
    parser = commands.add_parser(
        "prepare",
        help="make volumes, folds and a datalist of a published data set",
        description="Read a data set as published, check every file, and write NIfTI volumes with a datalist: a test "
        "part and folds of whole patients, balanced by site and tumour size.",
    )
    _add_source(parser)
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder to make")
    parser.add_argument("--test-share", type=float, default=0.15, metavar="SHARE", help="test patients (default: 0.15)")
    parser.add_argument("--folds", type=int, default=5, metavar="N", help="folds of the others (default: 5)")
    parser.add_argument("--seed", type=int, default=0, metavar="N", help="seed of the split (default: 0)")
    parser.add_argument("--skip-bad", action="store_true", help="report and leave out bad patients instead of stopping")
    parser.add_argument("--overwrite", action="store_true", help="replace what was prepared in DIR before")
    parser.set_defaults(call=_prepare)


def _prepare(arguments: argparse.Namespace) -> None:
    options = {name: value for name, value in vars(arguments).items() if name not in ("call", "command")}
    prepare(**{**options, "tumor_labels": _read_labels(arguments.tumor_labels)})


def _add_source(parser: argparse.ArgumentParser) -> None:
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


def _read_labels(text: str) -> list[int]:
    return read_numbers("--tumor-labels", text)


def read_numbers(option: str, text: str) -> list[int]:
    """Return the whole numbers of an option such as ``1,2,3``.

    Raises:
        InputError: they are none.
    """
    try:
        return [int(number) for number in text.split(",") if number]
    except ValueError:
        raise InputError(f"{option} {text}: expected whole numbers with commas, such as 1,2,3") from None
