"""Where bundles lie: a folder that is named, those of this checkout, and those that come with the package."""

from __future__ import annotations

from pathlib import Path

from monai_brainseg.errors import InputError

DEFAULT = "brainseg_unet"  # what commands take where --bundle is not given
_PACKAGE = Path(__file__).resolve().parent.parent
_OURS = (_PACKAGE / "bundles", _PACKAGE.parent / "bundles")


def find_bundle(name: str, *configs: str) -> Path:
    """Return the folder of a bundle: an existing path first, then one of ours by its name.

    Args:
        name: as ``--bundle`` gives it.
        configs: files that its ``configs`` must hold, e.g. ``inference.yaml``.

    Raises:
        InputError: no such bundle is there; lists ours.
    """
    for place in (Path(), Path("bundles"), *_OURS):
        if all((place / name / "configs" / config).is_file() for config in configs):
            return place / name
    known = sorted({file.parent.parent.name for place in _OURS for file in place.glob(f"*/configs/{configs[0]}")})
    raise InputError(
        f"--bundle {name}", f"no bundle with {' and '.join(configs)}", f"name a folder or {' or '.join(known)}"
    )
