"""A small image whose tumour the bundle of these tests finds, and every damaged NIfTI of it."""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from support import damages
from support.fixed_bundles import draw_phantom

PHANTOM = draw_phantom(size=48, slices=8)


def draw_image() -> np.ndarray:
    image = np.ascontiguousarray(PHANTOM.images[8:40, 8:40, 2:6, 1].astype(np.int16))
    image[12:22, 12:22, 1:3] = 3 * image.max()  # what the bundle of these tests takes for tumour
    return image


def list_volumes() -> Iterator[tuple[str, str, bytes]]:
    """Every damaged NIfTI: what was done, an ending, and the bytes."""
    whole = damages.make_nifti(draw_image())
    for name, data in damages.damage_bytes(damages.compress(whole), 1):
        yield f"gz {name}", ".nii.gz", data
    for name, data in damages.damage_bytes(whole, 2):
        yield name, ".nii", data
    for name, data in damages.damage_header(whole):
        yield name, ".nii", data
    for name, data in damages.make_odd_volumes(draw_image()):
        yield name, ".nii.gz", damages.compress(data)
    yield "gz ending, not packed", ".nii.gz", whole
    yield "packed, plain ending", ".nii", damages.compress(whole)
