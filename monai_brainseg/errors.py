"""The one kind of error that is the user's to mend."""

from __future__ import annotations

import re


class InputError(ValueError):
    """Something given to us cannot be used; the message names the file or value and the remedy, in one line.

    The command line turns it into that one line and a non-zero exit; under ``python -m monai.bundle run`` it is the
    last line. Any other exception is a bug of ours.
    """

    def __init__(self, message: object = "") -> None:
        # A file's name may hold line breaks, and worse for a terminal.
        super().__init__(re.sub(r"[\x00-\x1f\x7f]+", " ", str(message)))
