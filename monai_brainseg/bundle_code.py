"""What a bundle's config would run: its ``_target_`` and ``$`` expressions, read without running any.

A list to look through before a bundle of somebody else is loaded, not a proof that it is harmless.
"""

from __future__ import annotations

import ast
import builtins
import re
from collections.abc import Iterator, Mapping
from dataclasses import dataclass
from typing import Any

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
}
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
        outside = [text] if text.startswith("$") or "." in text and text.split(".")[0] not in KNOWN else []
        names = outside or _find_doors(text.split("."))
    elif text.startswith("$"):
        names = _find_outside(text[1:], aliases)
    elif text.startswith("%"):
        names = ["reads a file"]
    else:
        return None
    return Code(place, tuple(dict.fromkeys(names)), text) if names else None


def _find_doors(parts: list[str]) -> list[str]:
    return [".".join(parts) for part in parts if part in _DOORS or part.startswith("_")][:1]


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
        names += _look_at(node, own, aliases)
    return names


def _look_at(node: ast.AST, own: set[str], aliases: Mapping[str, str]) -> list[str]:
    if isinstance(node, (ast.Import, ast.ImportFrom)):
        imported = [node.module or ""] if isinstance(node, ast.ImportFrom) else [alias.name for alias in node.names]
        return [name for name in imported if name.split(".")[0] not in KNOWN]
    if isinstance(node, ast.Name) and node.id not in own | _PLAIN:
        root = aliases.get(node.id, node.id).split(".")[0]
        known = root in KNOWN and node.id not in dir(builtins)
        return [] if known else [aliases.get(node.id, node.id)]
    if isinstance(node, ast.Attribute):
        return [node.attr] if node.attr in _DOORS or node.attr.startswith("__") and node.attr != "__version__" else []
    if isinstance(node, ast.Call) and re.fullmatch(r"torch(\.\w+)*\.\w*load\w*", name := ast.unparse(node.func)):
        safe = [k for k in node.keywords if k.arg == "weights_only"]
        trusted = safe and isinstance(safe[0].value, ast.Constant) and safe[0].value.value is True
        return [] if trusted else [f"{name} without weights_only" if name == "torch.load" else name]
    return []
