"""Brain-MRI tumour segmentation on MONAI: what stands before the datalist and after the masks."""

import sys
from pathlib import Path

__version__ = "0.1.0"

# The U-Net bundle carries Python of its own, so that it serves with MONAI alone. The package imports it from there:
# from the checkout, or from the bundles that a wheel holds. Last on the path, so that a bundle's own copy goes first.
sys.path += [
    str(bundles / "brainseg_unet")
    for bundles in (Path(__file__).parent / "bundles", Path(__file__).resolve().parent.parent / "bundles")
    if (bundles / "brainseg_unet" / "brainseg_unet_scripts").is_dir()
]
