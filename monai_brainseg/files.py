"""Listing files, and writing them so that each is complete or not there."""

from __future__ import annotations

import errno
import json
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from monai_brainseg.errors import InputError

_unfinished: set[Path] = set()


def list_files(source: Path) -> list[Path]:
    """Return the visible files below a folder, sorted; links to folders are followed, each once."""
    files: list[Path] = []
    seen: set[Path] = set()
    for folder, names, entries in os.walk(source, onerror=_refuse_folder, followlinks=True):
        here = Path(folder)
        # macOS archives hold a hidden twin of every file.
        names[:] = [] if here.resolve() in seen else sorted(n for n in names if not n.startswith((".", "__MACOSX")))
        if here.resolve() not in seen:
            files += [here / entry for entry in entries if not entry.startswith(".")]
        seen.add(here.resolve())
    return sorted(files)


def _refuse_folder(error: OSError) -> None:
    raise InputError(error.filename, f"cannot be read ({error.strerror})", "change its permissions") from error


@contextmanager
def write_beside(path: Path) -> Iterator[Path]:
    """Give a temporary path beside ``path``; when the block ends well, it becomes ``path`` in one step.

    The temporary name starts with a dot and ends as ``path`` does, for writers that choose the format by the
    ending. Missing
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


def read_json(path: Path, remedy: str = "correct it, or write it again") -> Any:
    """Return the content of a JSON file, with or without the mark of its encoding that Windows puts first.

    Raises:
        InputError: it cannot be read, or is not valid JSON; the message names the line.
    """
    try:
        return json.loads(path.read_text(encoding="utf-8-sig"))
    except OSError as error:
        raise InputError(path, f"cannot be read ({error.strerror})", remedy) from error
    except (ValueError, RecursionError) as error:
        raise InputError(path, f"is not valid JSON ({error})", remedy) from error


def write_json(path: Path, content: Any) -> None:
    """Write a JSON file whole or not at all; in ASCII, since MONAI opens it in the encoding of the system.

    Raises:
        InputError: the folder cannot be written or the disk is full.
        ValueError: a number is not finite, which JSON cannot hold.
    """
    write_whole(path, (json.dumps(content, indent=1, allow_nan=False) + "\n").encode("ascii"))


def make_folder(folder: Path) -> None:
    """Make a folder if it is missing, and test before the work that it can be written to.

    Raises:
        InputError: it cannot.
    """
    try:
        folder.mkdir(parents=True, exist_ok=True)
        with TemporaryFile(dir=folder):
            pass
    except OSError as error:
        raise unwritable(folder, error) from error


def unwritable(path: Path, error: OSError) -> InputError:
    """Return the error that says why ``path`` could not be written and what to do."""
    full = error.errno in (errno.ENOSPC, errno.EDQUOT)
    remedy = "free some disk space, or choose another disk" if full else "choose a folder that you may write to"
    return InputError(path, f"cannot be written ({error.strerror or error})", remedy)


def clear_unfinished() -> None:
    """Remove what this process is writing inside ``write_beside``, because it has to end at once."""
    for path in _unfinished:
        path.unlink(missing_ok=True)
