"""Copies of a bundle in one process: Python loads a package of one name once, though the copies may differ."""

from __future__ import annotations

import sys
from pathlib import Path

from brainseg_unet_scripts.errors import BundleError
from brainseg_unet_scripts.paths import list_overrides


def holds_same_code(one: Path, other: Path) -> bool:
    """Do two folders of a Python package hold the same modules?"""
    return _read(one) == _read(other)


def _read(package: Path) -> dict[str, bytes]:
    return {str(file.relative_to(package)): file.read_bytes() for file in package.rglob("*.py")}


def check_copy(bundle_root: str) -> None:
    """Refuse a bundle whose Python differs from that of another copy that this process has loaded.

    Args:
        bundle_root: the bundle's folder; one without this package passes.

    Raises:
        BundleError: names both folders; or the command line names a folder that is not there.
    """
    if not Path(bundle_root).is_dir() and any(name == "bundle_root" for name, _ in list_overrides(sys.orig_argv)):
        raise BundleError(f"--bundle_root {bundle_root}", "no such folder", "give the bundle's own folder")
    loaded = Path(__file__).resolve().parent
    own = Path(bundle_root).resolve() / loaded.name
    if own.is_dir() and not holds_same_code(own, loaded):
        raise BundleError(own, f"differs from {loaded}, which this process has loaded", "use a process of its own")
