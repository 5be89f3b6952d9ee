"""Writing so that a file is whole or not there."""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

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


def clear_unfinished() -> None:
    """Remove what this process is writing, for one that has to end at once, inside a block of ``write_beside``."""
    for path in _unfinished:
        path.unlink(missing_ok=True)
