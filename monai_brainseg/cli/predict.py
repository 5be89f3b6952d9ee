"""The command ``brainseg predict``."""

from __future__ import annotations

import argparse
import sys
from pathlib import Path

from monai_brainseg.cli.options import add_bundle, add_channels, add_recipe
from monai_brainseg.inputs.search import PARTS

_PREDICT = """\
Segment the tumour in studies. An INPUT is one of these, or a folder of many of them:
- slices (.tif, .png, .jpg, .bmp), files or a folder: grey FLAIR, or pre-contrast, FLAIR and post-contrast as the three
  colours; or a tif whose pages are the slices
- NIfTI (NRRD, MetaImage, MGZ and Analyze too): FLAIR in one file, the three sequences along a fourth axis of one file
  (other orders: --channels), or one file for each sequence
- a BIDS data set, without its derivatives
- a folder of DICOM series
- a folder that `brainseg prepare` wrote
FLAIR alone is enough: it then replaces the missing sequences.

Each mask has the grid of its input: DIR/CASE/<slice>_mask.tif (0 and 255) or DIR/CASE.nii.gz (0 and 1);
for DICOM also DIR/CASE.dcm, a DICOM SEG. DIR/CASE_preview.png is a picture of it. DIR/run.json holds volumes, weights
and warnings. Run the same command again, and it segments only what is missing. A study that fails is listed, and the
command ends with exit code 1. For research only, not a medical device."""


_PREDICT_EXAMPLES = """\
examples:
  brainseg predict patient/ --output masks
  brainseg predict flair.nii.gz --output masks --tta --uncertainty
  brainseg predict --flair F.nii.gz --pre T1.nii.gz --post T1c.nii.gz --output masks
  brainseg predict studies/ --naming 'flair=*_FLAIR.nii.gz,post=*_T1Gd.nii.gz' --output masks
  brainseg predict dicom/ --series 401 --output masks
  brainseg predict bids/ --bids --output bids/derivatives/brainseg
  torchrun --standalone --nproc_per_node=4 -m monai_brainseg predict studies/ --output masks"""


def add_predict(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to those of ``brainseg``."""
    parser = commands.add_parser(
        "predict",
        help="segment studies (slices, NIfTI or DICOM) into masks on the same grid",
        description=_PREDICT,
        epilog=_PREDICT_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("inputs", nargs="*", type=Path, metavar="INPUT", help="files or folders, as described above")
    parser.add_argument("--output", type=Path, required=True, metavar="DIR", help="folder for the masks")
    for role, name in (("flair", "FLAIR"), ("pre", "pre-contrast T1"), ("post", "post-contrast T1")):
        parser.add_argument(f"--{role}", type=Path, metavar="PATH", help=f"{name} of one study, in place of INPUT")
    parser.add_argument(
        "--naming",
        metavar="PATTERNS",
        help="names of the NIfTI files, such as 'pre=*_T1.nii.gz,flair=*_FLAIR.nii.gz,post=*_T1ce.nii.gz'. The text in "
        "place of the first * names the case; in a pattern without a * the folder does",
    )
    parser.add_argument("--part", choices=PARTS, default="test", help="part of a prepared folder (default: test)")
    parser.add_argument(
        "--fold", type=int, metavar="N", help="fold of a prepared folder; needs --part training (default: all folds)"
    )
    parser.add_argument(
        "--series",
        metavar="NUMBER",
        help="DICOM series to segment: its number, a part of its description, or what a message lists (default: FLAIR "
        "that is not T1-weighted)",
    )
    add_channels(parser)
    add_bundle(parser)
    add_recipe(parser)
    parser.add_argument(
        "--checkpoint",
        type=Path,
        nargs="+",
        default=[],
        metavar="FILE",
        help="weights; with several files their probabilities are averaged (default: models/model.pt of the bundle)",
    )
    parser.add_argument("--tta", action="store_true", help="average with the mirrored study; takes twice the time")
    parser.add_argument(
        "--operating-point",
        choices=("balanced", "recall"),
        default="balanced",
        help="threshold of the probability: balanced, or recall, which misses less tumour and marks more that is not "
        "(default: balanced)",
    )
    parser.add_argument(
        "--smoothing",
        action="store_true",
        help="average the probabilities of neighbouring slices; the mean Dice is a little better, but tumours in a "
        "single slice are lost",
    )
    parser.add_argument("--probability", action="store_true", help="also write CASE_probability.nii.gz (0 to 1)")
    parser.add_argument(
        "--uncertainty",
        action="store_true",
        help="also write CASE_entropy.nii.gz (0: sure, 1: undecided)",
    )
    parser.add_argument(
        "--keep-scale",
        action="store_true",
        help="do not scale the head to the size in the training data; this matters only if the spacing is unknown",
    )
    parser.add_argument(
        "--bids",
        action="store_true",
        help="write masks as derivatives of a BIDS data set: "
        "DIR/sub-01/anat/sub-01_space-orig_label-tumor_mask.nii.gz, with dataset_description.json",
    )
    parser.add_argument(
        "--device", metavar="NAME", help="device, such as cpu, cuda or cuda:1 (default: a GPU if there is one)"
    )
    parser.add_argument(
        "--amp",
        type=lambda text: {"True": True, "False": False}.get(text, text),
        choices=("auto", True, False),
        default="auto",
        help="precision: auto takes 16 bit if the device supports it and float32 if not, True always takes 16 bit, "
        "False always float32 (default: auto)",
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
