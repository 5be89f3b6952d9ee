"""Python of the U-Net bundle: what it needs beyond MONAI, so that it segments with MONAI alone."""
