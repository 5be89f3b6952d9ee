"""Tests against a real MONAI Label server; `make test-label` runs them in its environment."""
