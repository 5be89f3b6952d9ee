"""The command ``brainseg export``: its arguments in, one call out."""

from __future__ import annotations

import argparse
from pathlib import Path

_EXPORT = """\
Write trained weights in another form:

half         weights at half their size (float16), as bundles ship them; networks that load them compute as before
torchscript  network and weights in one .ts file, with the bundle's metadata and inference config
onnx         network and weights for ONNX Runtime and others: input image [batch, 3, height, width], output pred
bundle       the whole bundle as a zip in the model zoo's form, after the zoo's checks

Network alone: volumes still have to be prepared and masks brought back as the bundle's inference.yaml says."""


def add_export(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to those of ``brainseg``."""
    parser = commands.add_parser(
        "export",
        help="write trained weights in another form",
        description=_EXPORT,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument(
        "checkpoint",
        type=Path,
        nargs="?",
        metavar="MODEL_PT",
        help="of a run, e.g. runs/brainseg_unet/models/model.pt (default: the bundle's own)",
    )
    parser.add_argument(
        "--format", choices=("half", "torchscript", "onnx", "bundle"), default="half", help="default: half"
    )
    parser.add_argument("--bundle", metavar="NAME", help="or folder (default: that of the recipe, or brainseg_unet)")
    parser.add_argument("--recipe", metavar="NAME", help="or a YAML file: that the weights were trained by")
    parser.add_argument("--output", type=Path, required=True, metavar="FILE", help="to write; never the weights")
    parser.set_defaults(call=_export)


def _export(arguments: argparse.Namespace) -> None:
    from monai_brainseg.serving.exports import export  # loads torch and MONAI, which take seconds

    export(arguments.format, arguments.bundle, arguments.checkpoint, arguments.output, arguments.recipe)
    print(f"{arguments.output}: {arguments.output.stat().st_size / 2**20:.1f} MiB")
