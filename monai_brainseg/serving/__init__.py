"""Bundles for others: MONAI Label apps, exports, the model zoo."""
