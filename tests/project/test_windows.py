"""On Windows, which has no modules of Unix, everything of ours imports."""

from __future__ import annotations

import subprocess
import sys

# Other libraries import these where they find themselves on Unix, so only our own imports are refused.
IMPORT_ALL = """
import builtins, importlib, pathlib, pkgutil, sys

UNIX = {"fcntl", "resource", "pwd", "grp", "termios", "tty", "pty", "posix", "readline", "curses", "syslog"}
OURS = ("monai_brainseg", "brainseg_unet_scripts", "benchmarks")
there = builtins.__import__


def import_there(name, globals=None, *rest):
    if name in UNIX and str((globals or {}).get("__name__")).startswith(OURS):
        raise ModuleNotFoundError(f"No module named {name!r} on Windows", name=name)
    return there(name, globals, *rest)


builtins.__import__ = import_there
sys.path.insert(0, "benchmarks")
import monai_brainseg
import brainseg_unet_scripts

names = [f"benchmarks.{file.stem}" for file in pathlib.Path("benchmarks").glob("*.py")]
for package in (monai_brainseg, brainseg_unet_scripts):
    names += [found.name for found in pkgutil.walk_packages(package.__path__, f"{package.__name__}.")]
names = [name for name in names if not name.endswith("__main__")]
for name in names:
    try:
        importlib.import_module(name)
    except ModuleNotFoundError as error:  # of a benchmark that needs another environment
        if error.name in UNIX:
            raise
print(len(names))
"""


def test_everything_imports_without_the_modules_of_unix() -> None:
    done = subprocess.run([sys.executable, "-c", IMPORT_ALL], capture_output=True, text=True, check=False)
    assert done.returncode == 0, done.stderr[-2000:]
    assert int(done.stdout) > 80


def test_the_imitation_refuses_an_import_of_ours() -> None:
    code = IMPORT_ALL + "\nexec('import fcntl', {'__name__': 'monai_brainseg.files'})"
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert done.stderr.endswith("No module named 'fcntl' on Windows\n")
