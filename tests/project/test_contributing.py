"""CONTRIBUTING.md shows each module of the package at its stage, once, and imports go downward."""

from __future__ import annotations

import re
from pathlib import Path

PACKAGE = Path("monai_brainseg")


def test_each_module_has_one_place_in_the_table_of_stages() -> None:
    rows = [row for row in Path("CONTRIBUTING.md").read_text().splitlines() if re.match(r"\| [^|]+ \| `\w+`", row)]
    listed = [name for row in rows for name in re.findall(r"`(\w+)`", row)]
    assert sorted(listed) == sorted(file.stem for file in PACKAGE.glob("*.py") if not file.stem.startswith("__"))


def test_imports_among_modules_make_no_circle() -> None:
    imports = {
        file.stem: set(re.findall(r"^\s*from monai_brainseg\.(\w+) import", file.read_text(), re.MULTILINE))
        for file in PACKAGE.glob("*.py")
    }
    while imports:
        lowest = {name for name, below in imports.items() if not below & set(imports)}
        assert lowest, f"these import each other: {sorted(imports)}"
        imports = {name: below for name, below in imports.items() if name not in lowest}
