"""Listing files, and writing them so that each is complete or not there."""

from __future__ import annotations

import errno
import io
import json
import os
import re
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path
from tempfile import TemporaryFile
from typing import Any

from monai_brainseg.errors import InputError

_unfinished: set[Path] = set()


def list_files(source: Path, refuse: Callable[[InputError], None] | None = None) -> list[Path]:
    """Return the visible files below a folder, sorted; links to folders are followed, each once.

    Args:
        source: the folder.
        refuse: takes the error of each folder that cannot be read; without it, the first is raised.
    """

    def stop(error: OSError) -> None:
        unreadable = InputError(error.filename, f"cannot be read ({error.strerror})", "change its permissions")
        if refuse is None or Path(error.filename) == source:
            raise unreadable from error
        refuse(unreadable)

    files: list[Path] = []
    seen: set[Path] = set()
    for folder, names, entries in os.walk(source, onerror=stop, followlinks=True):
        here = Path(folder)
        # macOS archives hold a hidden twin of every file.
        names[:] = [] if here.resolve() in seen else sorted(n for n in names if not n.startswith((".", "__MACOSX")))
        if here.resolve() not in seen:
            files += [here / entry for entry in entries if not entry.startswith(".")]
        seen.add(here.resolve())
    return sorted(files)


def locate(path: Path) -> Path:
    """Return the absolute path of a file or folder as it was given: links are not followed, and so keep their names."""
    return Path(os.path.abspath(path))  # noqa: PTH100 - pathlib's resolve would follow them


def name_folder(folder: Path) -> str:
    """Return the name of a folder as it was given: a link keeps its own, which datalad's files need."""
    return locate(folder).name


def clean_name(patient: str) -> str:
    """Return a name that is a file name on every system: no separators, no control characters, no leading dot."""
    return re.sub(r'[\x00-\x1f/\\:*?"<>|]+', "-", patient).strip(" .") or "unnamed"


def require_file(path: Path) -> None:
    """Refuse a file that is not there.

    Raises:
        InputError: says whether it is a link whose file is missing, as in a data set that was not fetched.
    """
    if path.is_symlink() and not path.exists():
        raise InputError(path, "is a link to a file that is not there", "fetch it (datalad get), or remove the link")
    if not path.is_file():
        raise InputError(path, "no such file", "check the path")


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
    """Return the content of a JSON file in UTF-8 or, as Windows may write it, with a byte order mark or in UTF-16.

    Raises:
        InputError: it cannot be read, or is not valid JSON; the message names the line.
    """
    try:
        return json.loads(path.read_bytes())
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


def make_printable() -> None:
    """Let stdout and stderr write what their encoding lacks as escapes, such as a name with é on an ASCII terminal."""
    for stream in (sys.stdout, sys.stderr):
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")


def clear_unfinished() -> None:
    """Remove what this process is writing inside ``write_beside``, because it has to end at once."""
    for path in _unfinished:
        path.unlink(missing_ok=True)
