"""Is the config of a run valid? Mistyped ids and values are refused.

MONAI adds a misspelt override to the config silently, and reads ``--x false`` as a text, which counts as true.
"""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from inspect import Parameter, signature
from pathlib import Path
from pydoc import locate
from typing import Any

from brainseg_unet_scripts.encoders import check_patch
from brainseg_unet_scripts.errors import BundleError
from monai.bundle import ComponentLocator, ConfigComponent, ConfigParser
from monai.bundle.utils import merge_kv

from monai_brainseg.errors import InputError
from monai_brainseg.runs.commands import Command, load_config

EARLIER = (
    "was written by an earlier version; train again with the bundle's train.yaml and the options that run.json beside "
    "it lists"
)
_OURS = ("monai_brainseg", "brainseg_unet_scripts")
BASED_ON = "based_on"  # names of the overlays, without ending, that must come before a recipe
# Ids that monai.bundle itself looks for.
MONAI_IDS = {"imports", "initialize", "finalize", "run"}
_COUNTS = (
    "epochs", "patience", "val_interval", "batch_size", "slices_per_volume", "cache_num", "reading_threads",
    "overlay_interval",
)  # fmt: skip
_FROM_ZERO = ("seed", "min_voxels", "overlay_fixed", "overlay_worst")


def check_command(command: Command) -> ConfigParser:
    """Refuse overrides and overlay ids that name nothing in the config, and values of the wrong type.

    Returns:
        The config as MONAI makes it: the files merged, and the overrides in it.

    Raises:
        InputError: names the id or value, and what is valid.
    """
    config, training = ConfigParser({}), _list_training_ids(command)
    for number, file in enumerate(command.config_files):
        if not Path(file).is_file():
            raise InputError(file, "no such config file")
        brought = load_config(Path(file))
        if number:
            _check_base(file, list_bases(Path(file), brought), command.config_files[:number])
            _check_overlay(file, brought, config, {*training, *MONAI_IDS, command.run_id, BASED_ON})
        for name, value in brought.items():
            try:
                merge_kv(config, name, value)
            except (ValueError, TypeError, LookupError) as error:
                raise InputError(
                    file, f"'{name}' cannot be merged with the configs before it ({error})", "correct it"
                ) from error
    for name, value in command.overrides.items():
        if not _is_known(name, config):
            raise InputError(f"--{name}", f"no such id in the config{_suggest(name, config)}")
        _check_value(f"--{name}", name, value, config.get(name.lstrip("+"), None))
    config.update(dict(command.overrides))
    _check_loss(config.get("loss_name", None), config)
    _check_halvings(config.get("patch_size", None), config)
    return config


def list_bases(file: Path, content: Mapping[str, Any]) -> list[str]:
    """Return the names of the overlays that an overlay is based on.

    Raises:
        InputError: ``based_on`` is not a list of names.
    """
    bases = content.get(BASED_ON, [])
    if not isinstance(bases, list) or not all(isinstance(base, str) and base for base in bases):
        raise InputError(file, f"{BASED_ON} must be a list of names", f"write {BASED_ON}: [unet], for example")
    return bases


def _check_base(file: str, bases: Sequence[str], before: Sequence[str]) -> None:
    """Refuse an overlay if those that it is based on do not come before it."""
    if missing := [base for base in bases if base not in [Path(each).stem for each in before]]:
        raise InputError(
            file, f"is based on {missing[0]}.yaml", f"name that before it in --config_file, after {before[0]}"
        )


def _check_overlay(file: str, brought: Mapping[str, Any], config: ConfigParser, free: Collection[str]) -> None:
    """Refuse unknown ids of an overlay, and invalid values.

    Args:
        file: the overlay.
        brought: its ids and values.
        config: the configs before it.
        free: ids that it may have although ``config`` has not.
    """
    references = json.dumps([config.get(), brought], default=str)
    for name in brought:
        # An overlay may bring ids of its own, as long as something refers to them.
        referred = re.search(rf"@{re.escape(name.lstrip('+'))}(?!\w)", references)
        if not (_is_known(name, config) or referred or name in free):
            raise InputError(file, f"'{name}' is not an id of the configs before it{_suggest(name, config)}")
        if name not in MONAI_IDS and not name.startswith("+"):
            _check_value(f"{file}: {name}", name, brought[name], config.get(name, None))


def _list_training_ids(command: Command) -> frozenset[str]:
    """Return the ids of the bundle's train.yaml: an overlay for training may be one on inference.yaml too."""
    train = Path(command.config_files[0]).with_name("train.yaml")
    return frozenset(load_config(train)) if train.is_file() else frozenset()


def count_given(config: ConfigParser) -> tuple[int, int] | None:
    """Return how many patients the config itself lists to train and to validate on; None if it reads a datalist.

    A MONAI Label server that trains on several GPUs writes such a config, and starts ``monai.bundle`` on it.
    """
    training, validation = (config.get(f"{part}::dataset::data") for part in ("train", "validate"))
    return (len(training), len(validation)) if isinstance(training, list) and isinstance(validation, list) else None


def check_targets(files: Sequence[str]) -> None:
    """Refuse a config that names missing Python of this package; nothing of it is instantiated.

    Args:
        files: configs. The ``config.yaml`` of a run that does so is of an earlier version.

    Raises:
        InputError: names the file and the first missing object.
    """
    for file in files:
        for target in _list_targets(load_config(Path(file))):
            if target.partition(".")[0] in _OURS and locate(target) is None:
                if Path(file).name == "config.yaml":
                    raise InputError(file, f"{EARLIER} ({target} does not exist)")
                raise InputError(file, f"names {target}, which does not exist", "correct the name")


def _list_targets(value: Any) -> Iterator[str]:
    """Yield the full names of what a config instantiates or imports."""
    if isinstance(value, Mapping):
        if isinstance(target := value.get("_target_"), str):
            yield target
        for each in value.values():
            yield from _list_targets(each)
    elif isinstance(value, list):
        for each in value:
            yield from _list_targets(each)
    elif isinstance(value, str) and value.startswith(("$import ", "$from ")):
        yield value.split()[1]


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
    return f"; did you mean '{near[0]}'?" if near else "; ids are the names at the left edge of the file"


def _check_value(where: str, name: str, value: Any, default: Any) -> None:
    """Refuse a value of a wrong type or range; MONAI checks expressions, files (``$``, ``@``, ``%``) and components."""
    if isinstance(value, str) and value[:1] in ("$", "@", "%") or _is_component(value):
        return
    if isinstance(value, str) and value.lower() in ("true", "false"):
        raise InputError(f"{where} {value}", "is a text, which always counts as true", f"write {value.capitalize()}")
    if name == "device":
        raise InputError(f"{where} {value}", f'''write "$torch.device('{value}')"''')
    if name in _CHOICES:
        _check_choice(where, value, _CHOICES[name])
        return
    if name in ALLOWED and not ALLOWED[name][0](value):
        raise InputError(f"{where} {value}", f"must be {ALLOWED[name][1]}")
    if default is None or isinstance(default, str) and default[:1] in ("$", "@") or _is_component(default):
        return
    accepted = (int, float) if isinstance(default, float) else (type(default),)
    if not isinstance(value, accepted) or isinstance(value, bool) != isinstance(default, bool):
        raise InputError(f"{where} {value}", f"must be {type(default).__name__}, as the default {default!r} is")


def _is_component(value: Any) -> bool:
    return isinstance(value, Mapping) and "_target_" in value


def _check_choice(where: str, value: Any, choices: Sequence[Any]) -> None:
    """Refuse a value that is not one of the choices; 1 is not True."""
    if not any(type(value) is type(choice) and value == choice for choice in choices):
        raise InputError(f"{where} {value}", f"must be {', '.join(map(str, choices[:-1]))} or {choices[-1]}")


def _check_loss(name: Any, config: ConfigParser) -> None:
    """Refuse a loss that the config does not list; MONAI checks expressions."""
    known = config.get("losses", None)
    if isinstance(known, Mapping) and name not in known and not str(name).startswith(("$", "@")):
        raise InputError(
            f"loss_name {name}", "is not a known loss", f"choose one of {', '.join(sorted(map(str, known)))}"
        )


def _check_halvings(patch: Any, config: ConfigParser) -> None:
    """Refuse a patch whose sides the network cannot halve as often as it does; MONAI checks expressions."""
    network = config.get("network_def", None)
    halves_five_times = isinstance(network, Mapping) and str(network.get("_target_")).endswith("FlexibleUNet")
    if halves_five_times and isinstance(patch, (list, tuple)) and all(isinstance(side, int) for side in patch):
        try:
            check_patch(patch)
        except BundleError as error:
            raise InputError(error.where, error.what) from error


def _is_at_least(least: int) -> Callable[[Any], bool]:
    return lambda value: isinstance(value, int) and not isinstance(value, bool) and value >= least


def _is_number(value: Any) -> bool:
    return isinstance(value, (int, float)) and not isinstance(value, bool)


def _is_share(value: Any) -> bool:
    return _is_number(value) and 0 <= value <= 1


def _is_patch(value: Any) -> bool:
    # the residual U-Net halves four times; FlexibleUNet, the bundle's network, five times (_check_halvings)
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
    "patch_size": (_is_patch, "list of two multiples of 16, and of 32 for FlexibleUNet"),
}
_CHOICES: Mapping[str, tuple[Any, ...]] = {"amp": ("auto", True, False), "part": ("training", "test", "all")}
