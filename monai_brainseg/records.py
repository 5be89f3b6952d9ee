"""What every record names: the machine, and the versions of packages."""

from __future__ import annotations

import os
import platform
from importlib.metadata import PackageNotFoundError, version

import torch

from monai_brainseg import __version__


def describe_machine() -> str:
    """Return what a record says of the machine: its processors and its GPU."""
    gpu = torch.cuda.get_device_name() if torch.cuda.is_available() else "no GPU"
    return f"{platform.machine()}, {os.cpu_count()} processors, {gpu}"


def list_versions(*packages: str) -> dict[str, str]:
    """Return the versions that a record names: this package's and those of others, "unknown" if not found.

    This package may be a source tree that nobody installed, and a package that a run does not need may be missing.
    """
    return {"monai-brainseg": __version__, **{package: _find_version(package) for package in packages}}


def _find_version(package: str) -> str:
    try:
        return version(package)
    except PackageNotFoundError:
        return "unknown"
