"""The command ``brainseg calibrate``."""

from __future__ import annotations

import argparse
from pathlib import Path

from monai_brainseg.cli.options import add_bundle, add_recipe

_CALIBRATE = """\
Measure on studies that were left out of training what is usual of a study, and write it into a checkpoint. `brainseg
predict` with that checkpoint then warns of a study on which the network should not be relied on: no brain, another
contrast, heavy artefacts. One in twenty usual studies is flagged too. The weights in the bundle are calibrated."""

_CALIBRATE_EXAMPLES = """\
example, after a training for each fold and one with all studies (--fold -1):
  brainseg calibrate data/mine --folds 'runs/fold{fold}/models/model.pt' --checkpoint runs/all/models/model.pt"""


def add_calibrate(commands: argparse._SubParsersAction[argparse.ArgumentParser]) -> None:
    """Add the command to those of ``brainseg``."""
    parser = commands.add_parser(
        "calibrate",
        help="write into weights what studies they know, so that predict warns of others",
        description=_CALIBRATE,
        epilog=_CALIBRATE_EXAMPLES,
        formatter_class=argparse.RawDescriptionHelpFormatter,
    )
    parser.add_argument("dataset", type=Path, metavar="DIR", help="prepared folder that the weights were trained on")
    parser.add_argument(
        "--folds",
        required=True,
        metavar="PATTERN",
        help="weights that left out one fold each, with {fold} in place of its number; one such file is enough",
    )
    parser.add_argument(
        "--checkpoint", type=Path, required=True, metavar="FILE", help="weights to write into; it is replaced whole"
    )
    add_bundle(parser)
    add_recipe(parser)
    parser.set_defaults(call=_calibrate)


def _calibrate(arguments: argparse.Namespace) -> None:
    from monai_brainseg.prediction.calibration import calibrate  # loads MONAI, which takes seconds
    from monai_brainseg.prediction.options import Options

    options = Options(bundle=arguments.bundle, recipe=arguments.recipe)
    calibrate(arguments.dataset, arguments.folds, arguments.checkpoint, options)
