"""What a model has seen: the hashes of the patients that it was trained or selected on."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from typing import Any


def list_hashes(items: Iterable[Mapping[str, Any]]) -> list[str]:
    """Return the sorted content hashes of datalist items; items without one, such as a label server's, add nothing."""
    return sorted({item["hash"] for item in items if "hash" in item})
