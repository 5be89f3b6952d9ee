"""Synthetic patients for the demo and the tests."""
