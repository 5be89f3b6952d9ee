"""What a check found: how serious it is, where, what, and the remedy, in one line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from monai_brainseg.errors import InputError

ERROR, WARNING, NOTE = "error", "warning", "note"


@dataclass(frozen=True)
class Finding:
    """One result of a check.

    Attributes:
        level: ``ERROR`` (a run would fail or be wrong), ``WARNING`` (it may) or ``NOTE`` (worth knowing).
        where: file, id, package, device or patient.
        what: what was found there.
        remedy: what to do about it.
    """

    level: str
    where: str | Path
    what: str
    remedy: str

    def __str__(self) -> str:
        return " ".join(f"{self.level}: {self.where}: {self.what}; {self.remedy}".split())

    def as_error(self) -> InputError:
        """Return the error that ends a command because of it."""
        return InputError(self.where, self.what, self.remedy)


def sum_up(findings: Sequence[Finding], places: Mapping[Path, Path]) -> InputError:
    """Return one error with all findings about a copy, which names the files that were copied.

    Args:
        findings: one or more.
        places: the originals of paths within the copy; the longer paths first.
    """
    first, *others = findings
    lines = [str(first.where), "; ".join([first.what, first.remedy, *map(str, others)])]
    for copy, original in places.items():
        lines = [line.replace(str(copy), str(original)) for line in lines]
    return InputError(*lines)
