"""The command ``brainseg predict``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from monai_brainseg.prediction.studies import PARTS

_PREDICT = """\
Segment studies. An INPUT is a folder or files of slices (.tif, .png: grey FLAIR, or pre-contrast, FLAIR and
post-contrast as colours), NIfTI (FLAIR, these three along a fourth axis, or a file each), a folder of DICOM series, a
prepared folder, or a folder of many of these. FLAIR alone is enough: it stands in for what is missing.

Each mask lies on its input's grid, in its form: DIR/CASE/<slice>_mask.tif (0 and 255), DIR/CASE.nii.gz (0 and 1), for
DICOM also DIR/CASE.dcm, a DICOM SEG. DIR/CASE_preview.png shows it; DIR/run.json says what was done, with warnings. The
same command again does what is missing. A study that fails is listed, and makes the exit code 1. For research only."""


_PREDICT_EXAMPLES = """\
examples:
  brainseg predict patient/ --output masks
  brainseg predict flair.nii.gz --output masks --tta --uncertainty
  brainseg predict --flair F.nii.gz --pre T1.nii.gz --post T1c.nii.gz --output masks
  brainseg predict studies/ --naming 'flair=*_FLAIR.nii.gz,post=*_T1Gd.nii.gz' --output masks
  brainseg predict dicom/ --series 401 --output masks
  torchrun --standalone --nproc_per_node=4 -m monai_brainseg predict studies/ --output masks"""


def add_predict(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to those of ``brainseg``."""
    parser = commands.add_parser(
        "predict",
        help="segment any study: slices, NIfTI or DICOM in, masks on their grid out",
        description=_PREDICT,
        epilog=_PREDICT_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("inputs", nargs="*", type=Path, metavar="INPUT", help="files and folders, see above")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder for the masks")
    for role, name in (("flair", "FLAIR"), ("pre", "pre-contrast T1"), ("post", "post-contrast T1")):
        parser.add_argument(f"--{role}", type=Path, metavar="PATH", help=f"{name} of one study, instead of INPUT")
    parser.add_argument(
        "--naming",
        metavar="PATTERNS",
        help="how NIfTI files are named, e.g. 'pre=*_T1.nii.gz,flair=*_FLAIR.nii.gz,post=*_T1ce.nii.gz'; what the "
        "first * stands for, or the folder where there is none, names the case",
    )
    parser.add_argument("--part", choices=PARTS, default="test", help="of a prepared folder (default: test)")
    parser.add_argument("--fold", type=int, metavar="N", help="of a prepared folder, with --part training")
    parser.add_argument(
        "--series", metavar="NUMBER", help="of DICOM studies: number, UID or part of the description (default: FLAIR)"
    )
    parser.add_argument(
        "--bundle",
        metavar="NAME",
        help="or its folder, whose config runs code (default: the recipe's, or brainseg_unet)",
    )
    parser.add_argument("--recipe", metavar="NAME", help="that the weights were trained by; laid over the bundle")
    parser.add_argument(
        "--checkpoint",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="weights (default: the bundle's models/model.pt); of several the probabilities are averaged",
    )
    parser.add_argument("--tta", action="store_true", help="average with the mirrored study: twice the time")
    parser.add_argument(
        "--operating-point",
        choices=("balanced", "recall"),
        default="balanced",
        help="balanced (default), or recall, which marks more so that less is missed",
    )
    parser.add_argument(
        "--smoothing",
        action="store_true",
        help="weigh each slice's probabilities with its neighbours': a little better on average, but tumours of a "
        "single slice are lost",
    )
    parser.add_argument("--probability", action="store_true", help="also write CASE_probability.nii.gz, 0 to 1")
    parser.add_argument(
        "--uncertainty",
        action="store_true",
        help="also write CASE_entropy.nii.gz, 0 (sure) to 1 (even odds), and a confidence per case into run.json",
    )
    parser.add_argument(
        "--keep-scale",
        action="store_true",
        help="where no spacing is known, do not bring a head of another size to that of the training data",
    )
    parser.add_argument("--device", metavar="NAME", help="cpu, cuda or cuda:1 (default: a GPU if there is one)")
    parser.add_argument(
        "--amp",
        type=lambda text: {"True": True, "False": False}.get(text, text),
        choices=("auto", True, False),
        default="auto",
        help="auto (default): 16 bit where the device computes it by itself, else float32; True: 16 bit anyway; False: "
        "float32",
    )
    parser.set_defaults(call=_predict)


def _predict(arguments: argparse.Namespace) -> None:
    from monai_brainseg.prediction.segment import segment  # loads MONAI, which takes seconds
    from monai_brainseg.runs.processors import choose_threads, keep_freed_memory

    keep_freed_memory()
    choose_threads()
    given = {name: value for name, value in vars(arguments).items() if name not in ("call", "command", "checkpoint")}
    count = len(segment(**given, checkpoints=tuple(arguments.checkpoint), command=sys.argv))
    print(f"{count} {'study' if count == 1 else 'studies'}: masks, previews and run.json in {arguments.output}")
