"""The command line of ``python -m monai.bundle run``, and the config files that it names."""

from __future__ import annotations

import sys
from collections.abc import Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import lru_cache
from pathlib import Path
from typing import Any

import yaml
from brainseg_unet_scripts.paths import PATHS, list_overrides, write_as_path
from brainseg_unet_scripts.paths import take_paths as take_paths  # for configs: this package finds the bundle's first
from fire.parser import DefaultParseValue
from monai.bundle import ConfigParser

from monai_brainseg.errors import InputError

# Arguments of monai.bundle's `run` itself; everything else on its command line is an override.
RUN_ARGUMENTS = {"run_id", "init_id", "final_id", "meta_file", "config_file", "logging_file", "tracking", "args_file"}

_MOST_VALUES = 100_000


@dataclass(frozen=True)
class Command:
    """One ``monai.bundle run``: what to run, from which files, with which overrides."""

    run_id: str
    config_files: tuple[str, ...]
    overrides: Mapping[str, Any]


def read_command(argv: Sequence[str]) -> Command | None:
    """Return what a command line asks ``monai.bundle run`` to do; None if it is another program's.

    Args:
        argv: the program and its arguments, as in ``sys.orig_argv``.
    """
    given: dict[str, Any] = {}
    for name, text in list_overrides(argv):
        if not name:
            given.setdefault("run_id", text)
        else:
            given[name] = write_as_path(text) if name in PATHS else DefaultParseValue(text)
    if "config_file" not in given:
        return None
    files = given["config_file"]
    return Command(
        run_id=str(given.get("run_id", "run")),
        config_files=(files,) if isinstance(files, str) else tuple(files),
        overrides={name: value for name, value in given.items() if name not in RUN_ARGUMENTS},
    )


def require_base(base: str) -> None:
    """End the process in one line if a run names an overlay without its base config.

    The first items of such an overlay's ``initialize`` and of its run call it, because a base config that comes after
    the overlay replaces ``initialize``. In any other process it does nothing.

    Args:
        base: name of the file that has to come before, in the overlay's folder.
    """
    command = read_command(sys.orig_argv)
    if command is None or Path(command.config_files[0]).name == base:
        return
    overlay = Path(command.config_files[0])
    others = [file for file in command.config_files if Path(file).name != base]
    files = ",".join(f"'{file}'" for file in (overlay.with_name(base), *others))
    print(f'{command.run_id}: {overlay}: is an overlay on {base}; give --config_file "[{files}]"', file=sys.stderr)
    sys.exit(1)


@lru_cache(maxsize=16)
def _parse(file: Path, data: bytes) -> Any:
    """Let MONAI read a file that holds ``data``; many overlays are compared with one config, and YAML is slow."""
    return ConfigParser.load_config_file(file)


def load_config(file: Path) -> dict[str, Any]:
    """Return a config file's ids and values.

    Raises:
        InputError: it is not YAML, or holds no ids.
    """
    try:
        content = deepcopy(_parse(file, file.read_bytes()))
        _count_values(content, iter(range(_MOST_VALUES)))
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(file, f"is not a config ({' '.join(str(error).split())})", "correct it") from error
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise InputError(file, "holds no ids and values, such as `epochs: 10`", "write {} for an empty overlay")
    return content


def _count_values(value: Any, left: Iterator[int]) -> None:
    """Refuse YAML that expands to endless values, because it refers to one thing again and again."""
    if next(left, None) is None:
        raise ValueError(f"it expands to more than {_MOST_VALUES} values")
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _count_values(each, left)
