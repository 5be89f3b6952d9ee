"""The one kind of error that the user can correct."""

from __future__ import annotations

import re


class InputError(ValueError):
    """Something that the user gave cannot be used: where, what is wrong, and the remedy, in one line.

    The command line prints that line with a non-zero exit code; under ``python -m monai.bundle run`` it is the
    last line. Any other exception is a bug of ours.

    Attributes:
        where: file, option, id or patient.
        what: what is wrong there.
        remedy: what to do about it; empty if ``what`` says it already.

    Example::

        raise InputError(file, "holds no voxels", "export it again")  # "scan.nii: holds no voxels; export it again"
    """

    def __init__(self, where: object, what: object, remedy: object = "") -> None:
        self.where, self.what, self.remedy = (_make_line(part) for part in (where, what, remedy))
        super().__init__(self.where, self.what, self.remedy)

    def __str__(self) -> str:
        """Return the whole line."""
        return join_parts(self.where, self.what, self.remedy)


def join_parts(where: object, what: object, remedy: object) -> str:
    """Return one line of an error or a finding: ``where: what; remedy``, without the last part if it is empty."""
    return f"{where}: {what}" + (f"; {remedy}" if remedy else "")


def _make_line(part: object) -> str:
    """Return a text without line breaks and other control characters, which a file's name may hold."""
    return re.sub(r"[\x00-\x1f\x7f]+", " ", str(part))
