"""What a bundle's config would run: its ``_target_`` and ``$`` expressions, read without running any.

A list to look through before a bundle of somebody else is loaded, not a proof that it is harmless.
"""

from __future__ import annotations

import ast
import builtins
import inspect
import re
import sys
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from functools import cache
from pathlib import Path
from types import ModuleType
from typing import Any

from monai.bundle import ComponentLocator

KNOWN = ("monai", "torch", "monai_brainseg")

# Builtins that only compute; `open`, `eval`, `getattr` and the like are listed.
_PLAIN = {
    "abs", "all", "any", "bool", "dict", "divmod", "enumerate", "filter", "float", "format", "frozenset", "hash", "int",
    "isinstance", "len", "list", "map", "max", "min", "next", "None", "True", "False", "print", "range", "repr",
    "reversed", "round", "set", "slice", "sorted", "str", "sum", "tuple", "type", "zip",
}  # fmt: skip
# Attributes of known modules by which other code comes in.
_DOORS = {
    "hub",
    "model_zoo",
    "load_url",
    "classes",
    "download",
    "cpp_extension",
    "run_path",
    "locate",
    "optional_import",
    *("builtins", "ctypes", "importlib", "os", "pickle", "posix", "runpy", "shutil", "socket", "subprocess", "sys"),
}
_LOADING = re.compile(r"torch(\.\w+)*\.\w*load\w*|monai\.bundle\.\w.*|.*download.*")
_REFERENCE = re.compile(r"@[\w:#]+")


@dataclass(frozen=True)
class Code:
    """Something in a config that is not monai's, torch's or ours.

    Attributes:
        place: the id.
        names: what it reaches, such as ``os``.
        text: the expression or target.
    """

    place: str
    names: tuple[str, ...]
    text: str

    def __str__(self) -> str:
        text = " ".join(self.text.split())
        return f"{self.place}: {', '.join(self.names)}: {text if len(text) <= 120 else text[:117] + '...'}"


def list_code(config: Mapping[str, Any], *others: Mapping[str, Any]) -> list[Code]:
    """Return every ``_target_`` and ``$`` expression of a config that reaches outside monai, torch and this package.

    Args:
        config: ids and values. ``imports`` give modules their names, and are listed too; so is ``%``, which reads
            another file.
        others: configs that it is laid over, whose imports count as well.
    """
    aliases: dict[str, str] = {}
    for each in (*others, config):
        for name in ("imports", "+imports"):
            for _, text in _walk(each.get(name, []), name):
                aliases |= _read_imports(text)
    found = [_judge(place, text, aliases) for place, text in _walk(config, "")]
    return [code for code in found if code is not None]


def _walk(value: Any, place: str) -> Iterator[tuple[str, str]]:
    if isinstance(value, str):
        yield place, value
    elif isinstance(value, Mapping):
        for name, each in value.items():
            yield from _walk(each, f"{place}::{name}" if place else str(name))
    elif isinstance(value, (list, tuple)):
        for index, each in enumerate(value):
            yield from _walk(each, f"{place}::{index}")


def _read_imports(text: str) -> dict[str, str]:
    try:
        tree = ast.parse(text.removeprefix("$").strip())
    except (SyntaxError, ValueError, RecursionError):
        return {}
    names: dict[str, str] = {}
    for node in ast.walk(tree):
        if isinstance(node, ast.Import):
            for alias in node.names:
                names[alias.asname or alias.name.split(".")[0]] = alias.name
        elif isinstance(node, ast.ImportFrom):
            names |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    return names


def _judge(place: str, text: str, aliases: Mapping[str, str]) -> Code | None:
    if place.rpartition("::")[2] == "_target_":
        names = _judge_target(text)
    elif text.startswith("$"):
        names = _find_outside(text[1:], aliases)
    elif text.startswith("%"):
        names = ["reads a file"]
    else:
        return None
    return Code(place, tuple(dict.fromkeys(names)), text) if names else None


def _judge_target(text: str) -> list[str]:
    """Return what a target reaches; without a dot it is a name of MONAI's, or else whatever Python finds by it."""
    paths = [text] if "." in text else [f"{module}.{text}" for module in _locate(text)]
    if not paths:
        return [text]
    return [name for path in paths for name in _leave(path) or _find_doors(path) or _LOADING.findall(path) and [path]]


@cache
def make_locator() -> ComponentLocator:
    """Return the names of MONAI's classes and functions, which take a while to gather."""
    return ComponentLocator()


def _locate(name: str) -> list[str]:
    found = make_locator().get_component_module_name(name) or []
    return [found] if isinstance(found, str) else found


def _find_doors(path: str) -> list[str]:
    return [path for part in path.split(".") if part in _DOORS or part.startswith("_")][:1]


def _leave(path: str) -> list[str]:
    """Return the part of a dotted name that is not monai's, torch's or ours any more; nothing is imported for it."""
    parts = path.split(".")
    if parts[0] not in KNOWN:
        return [path]
    found: Any = sys.modules.get(parts[0])
    for count, part in enumerate(parts[1:], 2):
        name, missing = ".".join(parts[:count]), object()
        above, found = found, inspect.getattr_static(found, part, sys.modules.get(name, missing))
        if found is missing:
            return (
                [name]
                if part in sys.stdlib_module_names
                else _leave_unread(above, parts[: count - 1], parts[count - 1 :])
            )
        home = found.__name__ if isinstance(found, ModuleType) else getattr(found, "__module__", None)
        plain = home == "builtins" and (isinstance(found, type) or part in _PLAIN or not callable(found))
        if isinstance(home, str) and home.split(".")[0] not in KNOWN and not plain:
            return [name]
    return []


def _leave_unread(above: Any, read: list[str], parts: list[str]) -> list[str]:
    """Judge the rest of a name from a module that is not loaded: files of the package, and one name in the last."""
    if not isinstance(above, ModuleType) or not above.__file__:
        return []
    folder = Path(above.__file__).parent
    while parts and ((folder / parts[0]).is_dir() or (folder / f"{parts[0]}.py").is_file()):
        folder, read, parts = folder / parts[0], [*read, parts[0]], parts[1:]
    return [".".join([*read, parts[0]])] if len(parts) > 1 or set(parts) & sys.stdlib_module_names else []


def _find_outside(text: str, aliases: Mapping[str, str]) -> list[str]:
    """Return the names that an expression reaches outside of what is known, in order."""
    text = _REFERENCE.sub("reference", text.strip())
    try:
        tree = ast.parse(text)
    except (SyntaxError, ValueError, RecursionError, MemoryError):
        return ["cannot be parsed"]
    own = {node.arg for node in ast.walk(tree) if isinstance(node, ast.arg)} | {"reference"}
    own |= {node.id for node in ast.walk(tree) if isinstance(node, ast.Name) and isinstance(node.ctx, ast.Store)}
    names: list[str] = []
    for node in ast.walk(tree):
        if (path := _read_path(node, own, aliases)) and path.split(".")[0] in KNOWN:
            names += _leave(path)
        names += _look_at(node, own, aliases)
    return names


def _read_path(node: ast.AST, own: set[str], aliases: Mapping[str, str]) -> str:
    """Return a chain of attributes as a dotted name, with what an import named in its place; "" for anything else."""
    if isinstance(node, ast.Name) and node.id not in own:
        return aliases.get(node.id, node.id)
    if isinstance(node, ast.Attribute) and (path := _read_path(node.value, own, aliases)):
        return f"{path}.{node.attr}"
    return ""


def _look_at(node: ast.AST, own: set[str], aliases: Mapping[str, str]) -> list[str]:
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        prefix = f"{node.module or ''}." if isinstance(node, ast.ImportFrom) else ""
        return [left for alias in node.names for left in _leave(f"{prefix}{alias.name}")]
    if isinstance(node, ast.Name) and node.id not in own | _PLAIN:
        root = aliases.get(node.id, node.id).split(".")[0]
        ours = root in KNOWN and node.id not in dir(builtins)
        return [] if ours else [aliases.get(node.id, node.id)]
    if isinstance(node, ast.Attribute):
        return [node.attr] if node.attr in _DOORS or node.attr.startswith("__") and node.attr != "__version__" else []
    if isinstance(node, ast.Call) and _LOADING.fullmatch(name := _read_path(node.func, own, aliases)):
        safe = [k for k in node.keywords if k.arg == "weights_only"]
        trusted = safe and isinstance(safe[0].value, ast.Constant) and safe[0].value.value is True
        return [] if trusted else [f"{name} without weights_only" if name == "torch.load" else name]
    return []
