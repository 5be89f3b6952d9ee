"""The command ``brainseg label``."""

from __future__ import annotations

import argparse
from pathlib import Path


def add_label(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to those of ``brainseg``."""
    parser = commands.add_parser("label", help="serve bundles to annotators by MONAI Label")
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    install = actions.add_parser(
        "install",
        help="put bundles into a MONAI Label app",
        description="Copy bundles into an app that `monailabel apps --download --name monaibundle` wrote, check that "
        "the server can work with them, and print the command that starts it. docs/monai-label.md is the guide.",
    )
    install.add_argument("--app", type=Path, required=True, metavar="DIR", help="the app, such as apps/monaibundle")
    install.add_argument(
        "--bundle",
        action="append",
        metavar="NAME",
        help="or its folder; can be repeated (default: the recipe's, or brainseg_unet)",
    )
    install.add_argument("--recipe", metavar="NAME", help="that the weights were trained by; laid over the bundle")
    install.add_argument("--checkpoint", type=Path, metavar="FILE", help="weights, instead of those of the bundle")
    install.add_argument("--overwrite", action="store_true", help="replace a bundle, and what the server trained of it")
    install.set_defaults(call=_install)


def _install(arguments: argparse.Namespace) -> None:
    from monai_brainseg.serving.label_apps import format_start, install  # loads MONAI, which takes seconds

    options = {"recipe": arguments.recipe, "overwrite": arguments.overwrite}
    names = install(arguments.app, arguments.bundle or [], arguments.checkpoint, **options)
    print(f"{', '.join(names)} in {arguments.app / 'model'}; start the server by (DIR: the folder of the images)")
    print(format_start(arguments.app, names))
