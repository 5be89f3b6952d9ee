"""The command ``brainseg export``: its arguments in, one call out."""

from __future__ import annotations

import argparse
from pathlib import Path

from monai_brainseg.cli.options import add_bundle, add_recipe

_EXPORT = """\
Write trained weights in another format:

half         the weights in float16, half the size; networks that load them compute as before
torchscript  network and weights in one .ts file, with the bundle's metadata and inference config
onnx         network and weights for ONNX Runtime and others: input image [batch, 3, height, width], output pred
bundle       the whole bundle as a zip in the format of the MONAI model zoo, after the checks of the zoo

torchscript and onnx hold the network only. Your program must do the preprocessing and postprocessing of the bundle's
inference.yaml itself."""

_EXPORT_EXAMPLES = """\
examples:
  brainseg export runs/brainseg_unet/models/model.pt --output model_half.pt
  brainseg export --format onnx --output model.onnx
  brainseg export runs/brainseg_unet/models/model.pt --format bundle --output brainseg_unet.zip"""


def add_export(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to those of ``brainseg``."""
    parser = commands.add_parser(
        "export",
        help="write trained weights in another format",
        description=_EXPORT,
        epilog=_EXPORT_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "checkpoint",
        type=Path,
        nargs="?",
        metavar="MODEL_PT",
        help="checkpoint, such as runs/brainseg_unet/models/model.pt (default: models/model.pt of the bundle)",
    )
    parser.add_argument(
        "--format",
        choices=("half", "torchscript", "onnx", "bundle"),
        default="half",
        help="format to write (default: half)",
    )
    add_bundle(parser)
    parser.add_argument(
        "--output", type=Path, required=True, metavar="FILE", help="file to write; it must not be the checkpoint itself"
    )
    add_recipe(parser)
    parser.set_defaults(call=_export)


def _export(arguments: argparse.Namespace) -> None:
    from monai_brainseg.serving.exports import export  # loads torch and MONAI, which take seconds

    export(arguments.format, arguments.bundle, arguments.checkpoint, arguments.output, arguments.recipe)
    print(f"{arguments.output}: {arguments.output.stat().st_size / 2**20:.1f} MiB")
