"""The command ``brainseg label``."""

from __future__ import annotations

import argparse
from pathlib import Path

from monai_brainseg.cli.options import add_recipe


def add_label(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to those of ``brainseg``."""
    parser = commands.add_parser("label", help="serve bundles to annotators with MONAI Label")
    actions = parser.add_subparsers(required=True, metavar="ACTION")
    install = actions.add_parser(
        "install",
        help="put bundles into a MONAI Label app",
        description="Copy bundles into an app that `monailabel apps --download --name monaibundle` wrote, check that "
        "the server can use them, and print the command that starts the server. The guide is docs/monai-label.md.",
    )
    install.add_argument(
        "--app", type=Path, required=True, metavar="DIR", help="folder of the app, such as apps/monaibundle"
    )
    install.add_argument(
        "--bundle",
        action="append",
        metavar="NAME",
        help="bundle or its folder; can be repeated (default: the bundle of the recipe, or brainseg_unet)",
    )
    add_recipe(install)
    install.add_argument(
        "--checkpoint", type=Path, metavar="FILE", help="weights to serve (default: models/model.pt of the bundle)"
    )
    install.add_argument(
        "--overwrite", action="store_true", help="replace a bundle in the app, with everything the server trained of it"
    )
    install.set_defaults(call=_install)


def _install(arguments: argparse.Namespace) -> None:
    from monai_brainseg.serving.label_apps import format_start, install  # loads MONAI, which takes seconds

    options = {"recipe": arguments.recipe, "overwrite": arguments.overwrite}
    names = install(arguments.app, arguments.bundle or [], arguments.checkpoint, **options)
    print(f"{', '.join(names)} in {arguments.app / 'model'}; start the server with (DIR is the folder of the images):")
    print(format_start(arguments.app, names))
