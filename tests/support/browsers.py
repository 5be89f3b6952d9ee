"""A page in a headless browser: what it becomes, and a picture of it."""

from __future__ import annotations

import os
import shutil
import subprocess
from pathlib import Path

import pytest

_NAMES = ("chromium", "chromium-browser", "google-chrome")
_OPTIONS = ("--headless", "--no-sandbox", "--disable-gpu", "--disable-quic", "--no-first-run", "--hide-scrollbars")


def find_browser() -> str:
    """Return a browser's program; without one the test is skipped, and fails in CI."""
    found = next(filter(None, map(shutil.which, _NAMES)), None)
    if found is None:
        message = f"no browser: none of {', '.join(_NAMES)} is installed"
        if os.environ.get("CI") == "true":
            pytest.fail(message)
        pytest.skip(message)
    return found


def open_page(address: str, profile: Path, *options: str) -> str:
    """Open a page and return what the browser prints, with ``--dump-dom`` the page as it became.

    Args:
        address: ``file://`` or ``http://``.
        profile: folder for what the browser keeps.
        options: of Chromium.
    """
    command = [find_browser(), *_OPTIONS, "--disable-background-networking", f"--user-data-dir={profile}"]
    done = subprocess.run([*command, *options, address], capture_output=True, text=True, timeout=120, check=True)
    return done.stdout
