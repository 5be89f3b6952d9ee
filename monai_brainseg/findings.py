"""What a check found: how serious it is, where, what, and the remedy, in one line."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace
from pathlib import Path

from monai_brainseg.errors import InputError, join_parts

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
        return " ".join(f"{self.level}: {join_parts(self.where, self.what, self.remedy)}".split())

    def as_error(self) -> InputError:
        """Return the error that ends a command because of it."""
        return InputError(self.where, self.what, self.remedy)


def sum_up(findings: Sequence[Finding], places: Mapping[Path, Path]) -> InputError:
    """Return one error with all findings about a copy, which names the files that were copied.

    Args:
        findings: one or more.
        places: the originals of paths within the copy; the longer paths first.
    """
    named = [replace(each, where=_name_original(each.where, places)) for each in findings]
    first, *others = named
    return InputError(first.where, "; ".join(filter(None, [first.what, first.remedy, *map(str, others)])))


def _name_original(where: str | Path, places: Mapping[Path, Path]) -> str | Path:
    """Return the file that a file within a copy is a copy of."""
    for copy, original in places.items():
        if Path(where).is_relative_to(copy):
            return original / Path(where).relative_to(copy)
    return where
