"""Python of the U-Net bundle: what its network and inference need beyond MONAI, so that it serves with MONAI alone."""
