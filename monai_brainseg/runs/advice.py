"""What a check has to say: how grave, where, what, and the remedy, in one line."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

ERROR, WARNING, NOTE = "error", "warning", "note"


@dataclass(frozen=True)
class Advice:
    """One finding of ``brainseg doctor``.

    Attributes:
        level: ``ERROR`` (a run would fail or be wrong), ``WARNING`` (it may) or ``NOTE`` (worth knowing).
        where: file, id, package or device.
        what: what was found there.
        remedy: what to do about it.
    """

    level: str
    where: str | Path
    what: str
    remedy: str

    def __str__(self) -> str:
        return " ".join(f"{self.level}: {self.where}: {self.what}; {self.remedy}".split())
