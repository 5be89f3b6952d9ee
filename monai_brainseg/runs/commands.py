"""The command line of ``python -m monai.bundle run``, read again: what is mistyped is refused.

MONAI adds a misspelt override to the config in silence, and takes ``--x false`` for a text, which is true.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Iterator, Mapping, Sequence
from copy import deepcopy
from dataclasses import dataclass
from functools import lru_cache
from inspect import Parameter, signature
from pathlib import Path
from pydoc import locate
from typing import Any

import yaml
from fire.parser import DefaultParseValue
from monai.bundle import ComponentLocator, ConfigComponent, ConfigParser
from monai.bundle.utils import merge_kv

from monai_brainseg.errors import InputError

# Arguments of monai.bundle's `run` itself; everything else on its command line is an override.
RUN_ARGUMENTS = {"run_id", "init_id", "final_id", "meta_file", "config_file", "logging_file", "tracking", "args_file"}

_MOST_VALUES = 100_000

# Ids that monai.bundle looks for by itself.
MONAI_IDS = {"imports", "initialize", "finalize", "run"}
_COUNTS = (
    "epochs", "patience", "val_interval", "batch_size", "slices_per_volume", "cache_num", "reading_threads",
    "overlay_interval",
)  # fmt: skip
_FROM_ZERO = ("seed", "min_voxels", "overlay_fixed", "overlay_worst")


@dataclass(frozen=True)
class Command:
    """One ``monai.bundle run``: what to run, from which files, with which overrides."""

    run_id: str
    config_files: tuple[str, ...]
    overrides: Mapping[str, Any]


def read_command(argv: Sequence[str]) -> Command | None:
    """Return what a command line asks ``monai.bundle run`` to do; None where it is another program's.

    Args:
        argv: the program and its arguments, as in ``sys.orig_argv``.
    """
    words = list(argv)
    if "monai.bundle" not in words or "run" not in words[words.index("monai.bundle") :]:
        return None
    words = words[words.index("run", words.index("monai.bundle")) + 1 :]
    given: dict[str, Any] = {}
    while words:
        word = words.pop(0)
        if not word.startswith("--"):
            given.setdefault("run_id", word)
            continue
        name, equals, value = word[2:].partition("=")
        if not equals:
            value = words.pop(0) if words and not words[0].startswith("--") else "True"
        given[name.replace("-", "_")] = DefaultParseValue(value)
    if "config_file" not in given:
        return None
    files = given["config_file"]
    return Command(
        run_id=str(given.get("run_id", "run")),
        config_files=(files,) if isinstance(files, str) else tuple(files),
        overrides={name: value for name, value in given.items() if name not in RUN_ARGUMENTS},
    )


def check_command(command: Command) -> None:
    """Refuse overrides and overlay ids that name nothing in the config, and values of the wrong type.

    Raises:
        InputError: names the id or value and what would be right.
    """
    merged, training = ConfigParser({}), _list_training_ids(command)
    for number, file in enumerate(command.config_files):
        if not Path(file).is_file():
            raise InputError(file, "no such config file")
        brought = load_config(Path(file))
        references = json.dumps([merged.get(), brought], default=str)
        for name in brought if number else ():
            # An overlay may bring ids of its own, as long as something refers to them.
            referred = re.search(rf"@{re.escape(name)}(?!\w)", references)
            if not (_is_known(name, merged) or referred or name in MONAI_IDS or name in training):
                raise InputError(file, f"'{name}' is no id of {command.config_files[0]}{_suggest(name, merged)}")
            if name not in MONAI_IDS and not name.startswith("+"):
                _check_value(f"{file}: {name}", name, brought[name], merged.get(name, None))
        for name, value in brought.items():
            try:
                merge_kv(merged, name, value)
            except (ValueError, TypeError, LookupError) as error:
                raise InputError(file, f"'{name}' cannot be laid over what is there ({error})", "mend it") from error
    for name, value in command.overrides.items():
        if not _is_known(name, merged):
            raise InputError(f"--{name}", f"no such id in the config{_suggest(name, merged)}")
        _check_value(f"--{name}", name, value, merged.get(name.lstrip("+"), None))
    _check_loss(command.overrides.get("loss_name", merged.get("loss_name", None)), merged)
    _check_halvings(command.overrides.get("patch_size", merged.get("patch_size", None)), merged)


def _list_training_ids(command: Command) -> frozenset[str]:
    """Return the ids of the bundle's train.yaml: an overlay of a training may lie over evaluate.yaml too."""
    train = Path(command.config_files[0]).with_name("train.yaml")
    return frozenset(load_config(train)) if train.is_file() else frozenset()


def count_given(command: Command) -> tuple[int, int] | None:
    """Return how many patients the config itself lists to train and to validate on; None where it reads a datalist.

    A MONAI Label server that trains on several GPUs writes such a config, and starts ``monai.bundle`` on it.
    """
    config = ConfigParser(ConfigParser.load_config_files(list(command.config_files)))
    config.update(dict(command.overrides))
    training, validation = (config.get(f"{part}::dataset::data") for part in ("train", "validate"))
    return (len(training), len(validation)) if isinstance(training, list) and isinstance(validation, list) else None


@lru_cache(maxsize=16)
def _parse(file: Path, data: bytes) -> Any:
    """Let MONAI read a file that holds ``data``; one config is looked at against many overlays, and YAML is slow."""
    return ConfigParser.load_config_file(file)


def load_config(file: Path) -> dict[str, Any]:
    """Return a config file's ids and values.

    Raises:
        InputError: it is no YAML, or holds no ids.
    """
    try:
        content = deepcopy(_parse(file, file.read_bytes()))
        _count_values(content, iter(range(_MOST_VALUES)))
    except (yaml.YAMLError, UnicodeDecodeError, ValueError, TypeError, AttributeError, RecursionError) as error:
        raise InputError(file, f"is no config ({' '.join(str(error).split())})", "mend it") from error
    if not isinstance(content, dict) or not all(isinstance(name, str) for name in content):
        raise InputError(file, "holds no ids and values, such as `epochs: 10`", "an empty overlay is {}")
    return content


def _count_values(value: Any, left: Iterator[int]) -> None:
    """Refuse what a few lines of YAML can unfold to without end by naming one thing again and again."""
    if next(left, None) is None:
        raise ValueError(f"it unfolds to more than {_MOST_VALUES} values")
    for each in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        _count_values(each, left)


def _is_known(name: str, config: ConfigParser) -> bool:
    """Is it an id of the config, or an argument that one of its components takes?"""
    parent, _, argument = name.rpartition("::")
    if name.lstrip("+") in config:
        return True
    if not parent or parent not in config or not isinstance(config[parent], dict) or "_target_" not in config[parent]:
        return False
    component = ConfigComponent(config=dict(config[parent]), locator=ComponentLocator())
    target = locate(component.resolve_module_name())
    if not callable(target):
        return False
    known = signature(target).parameters
    takes_any = any(parameter.kind is Parameter.VAR_KEYWORD for parameter in known.values())
    return argument in known or takes_any or argument in ConfigComponent.non_arg_keys


def _suggest(name: str, config: ConfigParser) -> str:
    near = difflib.get_close_matches(name, [str(known) for known in config.get()], n=1, cutoff=0.5)
    return f"; did you mean '{near[0]}'?" if near else "; the ids are the names on the file's left edge"


def _check_value(where: str, name: str, value: Any, default: Any) -> None:
    """Refuse a value of a wrong type or range; expressions and files (``$``, ``@``, ``%``) are MONAI's to judge."""
    if isinstance(value, str) and value[:1] in ("$", "@", "%"):
        return
    if isinstance(value, str) and value.lower() in ("true", "false"):
        raise InputError(f"{where} {value}", "a text, and as such always true", f"write {value.capitalize()}")
    if name == "device":
        raise InputError(f"{where} {value}", f'''write "$torch.device('{value}')"''')
    if name in _CHOICES:
        _check_choice(where, value, _CHOICES[name])
        return
    if name in ALLOWED and not ALLOWED[name][0](value):
        raise InputError(f"{where} {value}", f"must be {ALLOWED[name][1]}")
    if default is None or isinstance(default, str) and default[:1] in ("$", "@"):
        return
    accepted = (int, float) if isinstance(default, float) else (type(default),)
    if not isinstance(value, accepted) or isinstance(value, bool) != isinstance(default, bool):
        raise InputError(f"{where} {value}", f"must be {type(default).__name__} as the default {default!r} is")


def _check_choice(where: str, value: Any, choices: Sequence[Any]) -> None:
    """Refuse a value that is none of the choices; 1 is not True."""
    if not any(type(value) is type(choice) and value == choice for choice in choices):
        raise InputError(f"{where} {value}", f"must be {', '.join(map(str, choices[:-1]))} or {choices[-1]}")


def _check_loss(name: Any, config: ConfigParser) -> None:
    """Refuse a loss that the config does not list; expressions are MONAI's to judge."""
    known = config.get("losses", None)
    if isinstance(known, Mapping) and name not in known and not str(name).startswith(("$", "@")):
        raise InputError(f"loss_name {name}", "no such loss", f"one of {', '.join(sorted(map(str, known)))}")


def _check_halvings(patch: Any, config: ConfigParser) -> None:
    """Refuse a patch whose sides the network cannot halve as often as it does; expressions are MONAI's to judge."""
    network = config.get("network_def", None)
    halves_five_times = isinstance(network, Mapping) and str(network.get("_target_")).endswith("FlexibleUNet")
    if halves_five_times and isinstance(patch, (list, tuple)) and any(isinstance(v, int) and v % 32 for v in patch):
        raise InputError(
            f"patch_size {patch}", "must be a list of two multiples of 32, as FlexibleUNet halves it five times"
        )


def _is_at_least(least: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_share(value: Any) -> bool:
    return _is_number(value) and 0 <= value <= 1


def _is_patch(value: Any) -> bool:
    # the networks halve four times, or more often (_check_halvings)
    return (
        isinstance(value, (list, tuple)) and len(value) == 2 and all(_is_at_least(16)(v) and v % 16 == 0 for v in value)
    )


ALLOWED: Mapping[str, tuple[Callable[[Any], bool], str]] = {
    **{name: (_is_at_least(1), "int, 1 or more") for name in _COUNTS},
    **{name: (_is_at_least(0), "int, 0 or more") for name in _FROM_ZERO},
    "fold": (lambda value: value is None or _is_at_least(-1)(value), "int, 0 or more, or -1 to leave none out"),
    "slice_memory": (lambda value: _is_number(value) and value > 0, "a number above 0"),
    "tumor_share": (_is_share, "a number from 0 to 1"),
    "min_share": (_is_share, "a number from 0 to 1"),
    "patch_size": (_is_patch, "list of two multiples of 16"),
}
_CHOICES: Mapping[str, tuple[Any, ...]] = {"amp": ("auto", True, False), "part": ("training", "test", "all")}
