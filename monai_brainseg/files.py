"""Writing so that a file is whole or not there."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

from monai_brainseg.errors import InputError

_unfinished: set[Path] = set()


@contextmanager
def write_beside(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``; when the block ends well, it becomes ``path`` in one step.

    The temporary name starts with a dot and ends as ``path`` does, for writers that go by the ending. Missing
    folders are made. When the block fails, nothing is left.

    Example::

        with write_beside(Path("masks/a.nii.gz")) as unfinished:
            nibabel.save(image, unfinished)
    """
    path.parent.mkdir(parents=True, exist_ok=True)
    unfinished = path.with_name(f".{os.getpid()}-unfinished-{path.name}")
    _unfinished.add(unfinished)
    try:
        yield unfinished
        unfinished.replace(path)
    finally:
        unfinished.unlink(missing_ok=True)
        _unfinished.discard(unfinished)


def write_whole(path: Path, data: bytes) -> None:
    """Write a file whole or not at all; missing folders are made.

    Raises:
        InputError: the folder cannot be written or the disk is full.
    """
    try:
        with write_beside(path) as unfinished:
            unfinished.write_bytes(data)
    except OSError as error:
        raise unwritable(path, error) from error


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file whole or not at all; in ASCII, since MONAI opens it in the encoding of the system.

    Raises:
        InputError: the folder cannot be written or the disk is full.
        ValueError: a number is not finite, for which JSON has no word.
    """
    write_whole(path, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode("ascii"))


def unwritable(path: Path, error: OSError) -> InputError:
    """Return the error that says why ``path`` could not be written and what to do."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    remedy = "free space or choose another disk" if full else "choose a folder that you may write to"
    return InputError(path, f"cannot be written ({error.strerror or error})", remedy)


def clear_unfinished() -> None:
    """Remove what this process is writing, for one that has to end at once, inside a block of ``write_beside``."""
    for path in _unfinished:
        path.unlink(missing_ok=True)
