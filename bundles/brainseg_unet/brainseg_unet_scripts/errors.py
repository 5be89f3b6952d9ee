"""Errors that a user of the bundle can correct."""


class BundleError(ValueError):
    """A value or a file that the bundle cannot use, in one line that names it and the remedy."""
