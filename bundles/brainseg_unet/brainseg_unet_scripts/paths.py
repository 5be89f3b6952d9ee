"""Paths on the command line of ``python -m monai.bundle run``: texts, never numbers or code."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Sequence
from typing import Any

PATHS = ("bundle_root", "dataset_dir", "datalist", "output_dir", "ckpt_dir", "checkpoint")


def list_overrides(argv: Sequence[str]) -> Iterator[tuple[str, str]]:
    """Yield names and texts of the arguments of ``monai.bundle run``; the name of one by position is empty.

    Args:
        argv: the program and its arguments, as in ``sys.orig_argv``. Of another program nothing is yielded.
    """
    words = list(argv)
    if "monai.bundle" not in words or "run" not in words[words.index("monai.bundle") :]:
        return
    words = words[words.index("run", words.index("monai.bundle")) + 1 :]
    while words:
        word = words.pop(0)
        if not word.startswith("--"):
            yield "", word
            continue
        name, equals, value = word[2:].partition("=")
        if not equals:
            value = words.pop(0) if words and not words[0].startswith("--") else "True"
        yield name.replace("-", "_"), value


def write_as_path(text: str) -> str:
    """Return a path that MONAI does not take for an expression, a reference or a file to be inserted."""
    return f"./{text}" if text.startswith(("$", "@", "%")) else text


def take_paths(resolved: dict[str, Any]) -> None:
    """Put the paths of this process's command line among the values that MONAI has resolved, as texts.

    On a command line MONAI takes ``2024`` for a number, and evaluates ``$name`` and ``@name``. A config calls this
    before anything refers to a path. In any other process it does nothing. MONAI itself refuses ``%name``, and what
    follows ``$`` if it is not Python, before: write ``./%name``.

    Args:
        resolved: MONAI's ``__local_refs``, the only thing that a config can reach of what MONAI has resolved. With
            ``ConfigParser.update`` paths would have to be changed before MONAI's command line parses them.
    """
    resolved.update({name: write_as_path(text) for name, text in list_overrides(sys.orig_argv) if name in PATHS})
