"""Networks that are safe to build from a bundle that nobody reviewed: network classes with plain values only.

Only classes on the list are imported and built. The definition that is checked is the one that is built: references are
replaced by their values, and no expression, macro or reference is left for MONAI to evaluate.
"""

from __future__ import annotations

import builtins
import inspect
import sys
from collections.abc import Mapping
from functools import lru_cache
from importlib.util import find_spec
from typing import Any

import torch
from brainseg_unet_scripts.encoders import register_efficientnet_lite0
from monai.bundle import ComponentLocator, ConfigParser
from monai.networks.nets import FlexibleUNet

from monai_brainseg.errors import InputError
from monai_brainseg.training import networks

_PLACES = ("monai.networks.nets", "monai.networks.blocks", "monai_brainseg.training.networks", "torch.nn.modules")
_LOADING = ("pretrain", "weights", "url", "path", "file")  # arguments by which a network loads or fetches something
# Imported here, so that a bundle's own file of that name is never imported.
_REGISTER = f"{register_efficientnet_lite0.__module__}.{register_efficientnet_lite0.__name__}"
# With this our bundle finds its Python. Here the network is built from the installed package, and does not need it.
_SEARCH_PATH = "$sys.path.insert(0, os.path.abspath(@bundle_root))"
_SPECIAL = {"_target_", "_desc_", "_disabled_"}


class _OtherCodeError(Exception):
    """Something in a definition that is neither a network nor a plain value."""


def read_network(config: Mapping[str, Any], name: str = "network_def") -> dict[str, Any] | None:
    """Return the definition of a config's network without references; nothing is built, run or imported.

    Args:
        config: ids and values, as they are in the file.
        name: the network's id.

    Returns:
        The definition, of network classes of monai, torch and this package with plain arguments; None if there is
        anything else, such as an expression, or an argument that loads weights.

    Raises:
        InputError: a reference names nothing, or itself.
    """
    try:
        definition = _put_in(config[name], config, (name,))
        if isinstance(definition, Mapping) and "_target_" in definition:
            _check(definition)
            return dict(definition)
    except _OtherCodeError:
        pass
    return None


def make_network(definition: Mapping[str, Any]) -> torch.nn.Module:
    """Return the network of a definition that `read_network` returned.

    Raises:
        Exception: any error of MONAI and of the class about wrong arguments.
    """
    network: torch.nn.Module = ConfigParser({"network_def": dict(definition)}).get_parsed_content("network_def")
    return network


def _put_in(value: Any, config: Mapping[str, Any], above: tuple[str, ...]) -> Any:
    """Return a value with its references replaced by what they name."""
    if isinstance(value, Mapping):
        ours = value.get("_requires_") == "@search_path" and config.get("search_path") == _SEARCH_PATH
        parts = {key: each for key, each in value.items() if not (ours and key == "_requires_")}
        return {key: _put_in(each, config, above) for key, each in parts.items()}
    if isinstance(value, list):
        return [_put_in(each, config, above) for each in value]
    if isinstance(value, str) and value.startswith("@"):
        if value[1:] in above:
            raise InputError("network_def", f"'{value}' refers to itself", "give a value")
        return _put_in(_look_up(value[1:], config), config, (*above, value[1:]))
    return value


def _look_up(name: str, config: Mapping[str, Any]) -> Any:
    if name[:1] in (":", "#", ""):
        raise _OtherCodeError(name)  # relative: only MONAI can evaluate it
    if any(("::" in str(key) or "#" in str(key)) for key in config):
        raise _OtherCodeError(name)  # two values may have the same id
    found: Any = config
    for part in name.replace("#", "::").split("::"):
        if isinstance(found, Mapping) and part in found:
            found = found[part]
        elif isinstance(found, list) and part.isdecimal() and int(part) < len(found):
            found = found[int(part)]
        else:
            raise InputError("network_def", f"'@{name}' is not an id", "correct the reference")
    return found


def _check(value: Any) -> None:
    if isinstance(value, Mapping):
        if not all(isinstance(key, str) and key.isidentifier() for key in value):
            raise _OtherCodeError(str(value))
        if "_target_" in value:
            _check_component(value)
        for key, each in value.items():
            if key != "_target_":
                _check(each)
    elif isinstance(value, list):
        for each in value:
            _check(each)
    elif isinstance(value, str) and value.lstrip()[:1] in ("$", "%", "@"):
        raise _OtherCodeError(value)
    elif not isinstance(value, (str, int, float, bool, type(None))):
        raise _OtherCodeError(str(value))


def _check_component(definition: Mapping[str, Any]) -> None:
    """Refuse anything but network classes, and arguments (also defaults) with which one loads something."""
    target = definition["_target_"]
    if definition == {"_target_": _REGISTER}:
        return
    if any(key.startswith("_") and key not in _SPECIAL for key in definition) or not isinstance(target, str):
        raise _OtherCodeError(str(target))
    kind = _find_class(target)
    if kind is None:
        return
    arguments = {key: each.default for key, each in inspect.signature(kind).parameters.items()} | dict(definition)
    if kind is FlexibleUNet and definition.get("backbone") == {"_target_": _REGISTER}:
        del arguments["pretrained"]  # ImageNet's weights of this encoder are a file of an installed package
    for key, value in arguments.items():
        if any(word in key for word in _LOADING) and value is not inspect.Parameter.empty and value:
            raise _OtherCodeError(f"{target}: {key}")


@lru_cache(maxsize=1)
def _make_locator() -> ComponentLocator:
    """Return the names of MONAI's classes, which takes a while."""
    return ComponentLocator()


def _find_class(target: str) -> type[torch.nn.Module] | None:
    """Return the network class that MONAI would build; None if there is none of that name, as MONAI will say."""
    if "." not in target:
        found = _make_locator().get_component_module_name(target)
        module = found[0] if isinstance(found, list) else found
        if module is None:
            if not target.isidentifier() or hasattr(builtins, target) or find_spec(target) is not None:
                raise _OtherCodeError(target)
            return None
    else:
        module, _, target = target.rpartition(".")
    kind = getattr(networks if module == networks.__name__ else sys.modules.get(module), target, None)
    known = isinstance(kind, type) and issubclass(kind, torch.nn.Module) and not target.startswith("_")
    if not known or not any(f"{kind.__module__}.".startswith(f"{place}.") for place in _PLACES):
        raise _OtherCodeError(target)
    return kind
