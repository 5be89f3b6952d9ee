"""The two names that MONAI Label imports; neither is called on the way that the tests take."""

from __future__ import annotations

from typing import Any


def make_grid(*arguments: Any, **options: Any) -> Any:
    raise NotImplementedError("stands in for torchvision")


def save_image(*arguments: Any, **options: Any) -> Any:
    raise NotImplementedError("stands in for torchvision")
