"""What a user of the bundle can mend."""


class BundleError(ValueError):
    """A value or a file that the bundle cannot use, in one line that names it and the remedy."""
