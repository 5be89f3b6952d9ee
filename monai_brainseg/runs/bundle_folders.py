"""The folders of bundles (a given one, those of this checkout and of the package), and the Python in them."""

from __future__ import annotations

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from types import ModuleType

from brainseg_unet_scripts.copies import holds_same_code
from brainseg_unet_scripts.errors import BundleError

from monai_brainseg.errors import InputError

DEFAULT = "brainseg_unet"  # what commands take without --bundle
_PACKAGE = Path(__file__).resolve().parent.parent
_OURS = (_PACKAGE / "bundles", _PACKAGE.parent / "bundles")


def find_bundle(name: str, *configs: str) -> Path:
    """Return the folder of a bundle: an existing path first, then the package's bundle of that name.

    Args:
        name: as ``--bundle`` gives it.
        configs: files that its ``configs`` must hold, e.g. ``inference.yaml``.

    Raises:
        InputError: there is no such bundle; the message lists the package's bundles.
    """
    for place in (Path(), Path("bundles"), *_OURS):
        if all((place / name / "configs" / config).is_file() for config in configs):
            return place / name
    known = sorted({file.parent.parent.name for place in _OURS for file in place.glob(f"*/configs/{configs[0]}")})
    raise InputError(
        f"--bundle {name}", f"is not a bundle with {' and '.join(configs)}", f"name a folder or {' or '.join(known)}"
    )


@contextmanager
def own_scripts(bundle: Path) -> Iterator[None]:
    """Let a bundle's config find the Python package in the bundle's own folder, not another one of that name.

    Objects made within the block keep that code; afterwards the names refer to the earlier modules again. A copy with
    the same content as the loaded one is not loaded again.

    Args:
        bundle: its folder, from which configs are parsed within the block.

    Raises:
        BundleError: the bundle's own code refuses something; the class is always this package's.
    """
    names = {file.parent.name for file in bundle.glob("*/__init__.py") if not _is_loaded(file.parent)}
    before = _take_out(names)
    path = str(bundle.resolve())
    sys.path.insert(0, path)
    try:
        yield
    except Exception as error:
        if (refusal := _find_refusal(error)) is not None:
            raise BundleError(*refusal) from error
        raise
    finally:
        sys.path.remove(path)
        _take_out(names)
        sys.modules.update(before)


def _is_loaded(package: Path) -> bool:
    """Is the package of this name that is loaded, if any, one that says the same?"""
    loaded = sys.modules.get(package.name)
    if loaded is None or not getattr(loaded, "__file__", None):
        return False
    return holds_same_code(Path(str(loaded.__file__)).parent, package)


def _take_out(packages: set[str]) -> dict[str, ModuleType]:
    """Remove packages and their modules from those that are loaded, and return them."""
    names = [name for name in sys.modules if name.partition(".")[0] in packages]
    return {name: sys.modules.pop(name) for name in names}


def _find_refusal(error: BaseException | None) -> tuple[str, ...] | None:
    """Return where, what and remedy of a bundle's refusal among an error's causes; each copy has a class of its own."""
    while error is not None:
        if type(error).__name__ == BundleError.__name__:
            return tuple(map(str, error.args))
        error = error.__cause__ or error.__context__
    return None
