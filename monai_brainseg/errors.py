"""The one kind of error that is the user's to mend."""


class InputError(ValueError):
    """Something given to us cannot be used; the message names the file or value and the remedy, in one line.

    The command line turns it into that one line and a non-zero exit; under ``python -m monai.bundle run`` it is the
    last line. Any other exception is a bug of ours.
    """
