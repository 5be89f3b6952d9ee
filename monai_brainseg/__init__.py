"""Brain-MRI tumour segmentation on MONAI.

Three functions do what the commands of the same meaning do: ``prepare`` (`brainseg prepare`), ``segment`` (`brainseg
predict`) and ``evaluate`` (`brainseg evaluate`). Each is loaded when it is first used; importing the package loads
nothing.
"""

from __future__ import annotations

import sys
from importlib import import_module
from pathlib import Path
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from monai_brainseg.data.prepare import prepare
    from monai_brainseg.prediction.segment import segment
    from monai_brainseg.reporting.evaluation import evaluate

__all__ = ["__version__", "evaluate", "prepare", "segment"]
__version__ = "0.1.0"

_HOMES = {
    "evaluate": "monai_brainseg.reporting.evaluation",
    "prepare": "monai_brainseg.data.prepare",
    "segment": "monai_brainseg.prediction.segment",
}

# The U-Net bundle carries Python of its own, so that it serves with MONAI alone. The package imports it from there:
# from the checkout, or from the bundles that a wheel holds. Last on the path, so that a bundle's own copy goes first.
sys.path += [
    str(bundles / "brainseg_unet")
    for bundles in (Path(__file__).parent / "bundles", Path(__file__).resolve().parent.parent / "bundles")
    if (bundles / "brainseg_unet" / "brainseg_unet_scripts").is_dir()
]


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(import_module(_HOMES[name]), name)


def __dir__() -> list[str]:
    return sorted([*globals(), *_HOMES])
