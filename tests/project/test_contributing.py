"""CONTRIBUTING.md names the package's folders in the order of the flow, and imports run one way along it."""

from __future__ import annotations

import ast
import re
from collections.abc import Iterator
from pathlib import Path

import pytest

PACKAGE = Path("monai_brainseg")
BENEATH = {"errors", "files", "findings", "records", "__version__"}
TABLE = dict(re.findall(r"^\| `(\w+)` \| (.+) \|$", Path("CONTRIBUTING.md").read_text(), re.MULTILINE))
ORDER = list(TABLE)


def list_imports(file: Path) -> Iterator[tuple[str, ...]]:
    """Yield what a module imports of the package: folder and module."""
    for node in ast.walk(ast.parse(file.read_text())):
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == PACKAGE.name:
            names = node.module.split(".")[1:]
            yield from [tuple(names)] if len(names) > 1 else [(*names, alias.name) for alias in node.names]


def test_the_table_names_each_folder_with_its_own_first_line() -> None:
    folders = {file.parent.name: file for file in PACKAGE.glob("*/__init__.py")}
    assert set(ORDER) == set(folders)
    for name, file in folders.items():
        assert ast.get_docstring(ast.parse(file.read_text())) == TABLE[name], name


@pytest.mark.parametrize("folder", ORDER)
def test_imports_run_one_way_along_the_flow(folder: str) -> None:
    allowed = BENEATH | set(ORDER[: ORDER.index(folder) + 1])
    for file in (PACKAGE / folder).glob("*.py"):
        assert {names[0] for names in list_imports(file)} <= allowed, file


@pytest.mark.parametrize("folder", ORDER)
def test_folders_are_small_and_their_modules_import_in_no_circle(folder: str) -> None:
    files = {file.stem: file for file in (PACKAGE / folder).glob("*.py")}
    assert len(files) <= 15
    imports = {
        name: {names[1] for names in list_imports(file) if names[0] == folder and len(names) > 1}
        for name, file in files.items()
    }
    while imports:
        lowest = {name for name, below in imports.items() if not below & set(imports)}
        assert lowest, f"these import each other: {sorted(imports)}"
        imports = {name: below for name, below in imports.items() if name not in lowest}
