"""Which file of a study plays which role, and what told it."""

from __future__ import annotations

from collections import defaultdict
from pathlib import Path

from monai_brainseg.data.cases import Case


def list_roles(case: Case) -> list[dict[str, str | int]]:
    """Return, for a record, which file of a study plays which role, and what told it."""
    return [
        {"sequence": sequence, "file": str(files[0]), "files": len(files), "told_by": case.told}
        for sequence, files in case.images.items()
    ]


def describe_roles(case: Case) -> str:
    """Return the same in one line."""
    files: dict[str, list[str]] = defaultdict(list)
    for role in list_roles(case):
        name, count = Path(str(role["file"])).name, int(role["files"])
        files[name if count == 1 else f"{name} and {count - 1} more"].append(str(role["sequence"]))
    listed = "; ".join(f"{', '.join(sequences)} {name}" for name, sequences in files.items())
    return f"{listed} (told by {list_roles(case)[0]['told_by']})"
