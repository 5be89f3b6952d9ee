"""What a folder of masks is: a record of each case, and ``run.json`` of all of them."""

from __future__ import annotations

import hashlib
import json
import platform
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from datetime import datetime, timezone
from pathlib import Path
from typing import Any

from brainseg_unet_scripts.records import list_weights
from filelock import FileLock

from monai_brainseg.files import require_file, unwritable, write_json
from monai_brainseg.records import describe_machine, list_versions
from monai_brainseg.weights.provenance import RECORD

_FOLDER, _FAILED = "records", "records/failed"
_NAMED = 100  # files that are left out for one reason
_PACKAGES = ("monai", "torch", "numpy", "nibabel", "itk")


def hash_settings(settings: Mapping[str, Any], files: Iterable[Path]) -> str:
    """Return a hash of all that decides a mask: settings, and the inputs' names, sizes and times of change.

    Raises:
        InputError: a file is not there.
    """
    files = list(files)
    for file in files:
        require_file(file)
    stats = [(str(file.resolve()), file.stat().st_size, file.stat().st_mtime_ns) for file in files]
    return hashlib.sha256(json.dumps([settings, stats], sort_keys=True).encode()).hexdigest()[:16]


def is_done(output: Path, case: str, key: str) -> bool:
    """Was a case segmented with these settings, and is all that was written still there?"""
    record = read_record(output, case)
    return record.get("key") == key and all((output / name).exists() for name in record.get("output", [""]))


def read_record(output: Path, case: str) -> dict[str, Any]:
    """Return the record of a case; empty if there is none that can be read."""
    return _read_json(output / _FOLDER / f"{case}.json")


def write_record(output: Path, record: Mapping[str, Any]) -> None:
    """Write the record of a case, whose name is its ``case``; the record of an earlier failure is removed.

    Raises:
        InputError: it cannot be written.
    """
    write_json(output / _FOLDER / f"{record['case']}.json", record)
    forget_failure(output, record["case"])


def forget_failure(output: Path, case: str) -> None:
    """Remove the record of an earlier failure, if there is one."""
    (output / _FAILED / f"{case}.json").unlink(missing_ok=True)


def write_failure(output: Path, case: str, reason: str) -> None:
    """Write why a case could not be segmented; a mask of an earlier run stays, with its record.

    Raises:
        InputError: it cannot be written.
    """
    write_json(output / _FAILED / f"{case}.json", {"case": case, "error": reason})


def write_run(
    output: Path,
    checkpoints: Sequence[Mapping[str, Any]],
    command: Sequence[str],
    device: str,
    precision: str,
    left_out: Mapping[str, Sequence[str]],
) -> None:
    """Write ``run.json``: this run, and the records of all masks in the folder, whichever process made them.

    Raises:
        InputError: it cannot be written.
    """
    with _hold(output):
        cases, failed = (
            [_read_json(file) for file in sorted((output / folder).glob("*.json"))] for folder in (_FOLDER, _FAILED)
        )
        used = {digest for case in cases for digest in case.get("weights", [])}
        record = {
            "command": list(command),
            "date": datetime.now(timezone.utc).isoformat(timespec="seconds"),
            "device": device,
            "precision": precision,
            "machine": describe_machine(),
            "versions": {"python": platform.python_version(), **list_versions(*_PACKAGES)},
            "checkpoint": list_weights(output, checkpoints, used),
            "cases": [{k: v for k, v in case.items() if k not in ("key", "weights")} for case in cases],
            "failed": failed,
            "left_out": [
                {"why": f"they {why}", "count": len(names), "files": list(names[:_NAMED])}
                for why, names in left_out.items()
            ],
        }
        write_json(output / RECORD, record)


@contextmanager
def _hold(output: Path) -> Iterator[None]:
    """Let one process at a time write what all of them share."""
    try:
        output.mkdir(parents=True, exist_ok=True)
        held = FileLock(output / f".{RECORD}.lock").acquire()
    except OSError as error:
        raise unwritable(output, error) from error
    with held:
        yield


def _read_json(file: Path) -> dict[str, Any]:
    try:
        content = json.loads(file.read_bytes())
    except (OSError, ValueError, RecursionError):
        return {}
    return content if isinstance(content, dict) else {}
