"""A run of ``python -m monai.bundle``: its command line, overlays, machine, processes and record."""

from __future__ import annotations

import sys
from typing import Any


def __getattr__(name: str) -> Any:
    """End a run in one line if its config is of an earlier version, in which ``start_run`` was here."""
    if name != "start_run":
        raise AttributeError(f"module {__name__} has no attribute {name}")
    from monai_brainseg.runs.commands import read_command
    from monai_brainseg.runs.config_checks import EARLIER

    command = read_command(sys.orig_argv)
    sys.exit(f"{command.run_id}: {command.config_files[0]}: {EARLIER}" if command else EARLIER)
