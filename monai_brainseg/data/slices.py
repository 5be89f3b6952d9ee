"""One slice, one image file: tif and png, grey or coloured, 8 or 16 bit, decoded and encoded to the pixel."""

from __future__ import annotations

import io
import logging
import math
from collections.abc import Sequence
from pathlib import Path

import imagecodecs
import numpy as np
import tifffile
from PIL import Image

SLICE_ENDINGS = (".tif", ".tiff", ".png")
# A damaged header must not make us allocate all memory. No slice is this large.
_MOST_VALUES = 2**28

# The error reports a damaged file once; the library's own lines are switched off.
logging.getLogger("tifffile").addHandler(logging.NullHandler())


def decode_slice(path: Path) -> np.ndarray:
    """Return ``[row, column]`` or ``[row, column, channel]`` as stored, a one-bit tif as uint8 0 and 1.

    Raises:
        ValueError: the file holds no single slice, or is damaged; the libraries beneath raise other kinds as well.
    """
    ending = path.suffix.lower()
    if ending not in SLICE_ENDINGS:
        raise ValueError("slices are read from .tif and .png files")
    array = _decode_png(path) if ending == ".png" else _decode_tif(path)
    return array.astype(np.uint8 if array.dtype == bool else array.dtype.newbyteorder("="), copy=False)


def encode_slice(image: np.ndarray, ending: str) -> bytes:
    """Return the file of a ``[row, column]`` or ``[row, column, 3]`` uint8 or uint16 image, losslessly compressed.

    Raises:
        ValueError: the ending is not one of ``SLICE_ENDINGS``, or the type is another one.
    """
    if ending.lower() not in SLICE_ENDINGS or image.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"slices are written as uint8 or uint16 .tif or .png, not as {image.dtype} {ending}")
    return _encode_png(image) if ending.lower() == ".png" else _encode_tif(image)


def _decode_tif(path: Path) -> np.ndarray:
    with tifffile.TiffFile(path) as file:
        if len(file.pages) != 1:
            raise ValueError(f"it holds {len(file.pages)} pages, not one slice")
        page = file.pages[0]
        _check_size(page.shape)
        # Decoders fill what a truncated file lacks with zeros.
        if max(o + n for o, n in zip(page.dataoffsets, page.databytecounts, strict=True)) > path.stat().st_size:
            raise ValueError("its pixel data is cut off")
        array = page.asarray()
        return np.moveaxis(array, 0, -1) if page.axes == "SYX" else array


def _decode_png(path: Path) -> np.ndarray:
    """Decode with libpng: Pillow reads the header, but makes 8 bits of 16-bit colours."""
    with Image.open(path, formats=["PNG"]) as header:
        _check_size((*header.size, len(header.getbands())))
    return np.asarray(imagecodecs.png_decode(path.read_bytes()))


def _check_size(shape: Sequence[int]) -> None:
    if math.prod(shape) > _MOST_VALUES:
        raise ValueError(f"its header claims {'x'.join(map(str, shape))} values")


def _encode_tif(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, image, photometric="minisblack" if image.ndim == 2 else "rgb", compression="zlib")
    return buffer.getvalue()


def _encode_png(image: np.ndarray) -> bytes:
    return bytes(imagecodecs.png_encode(np.ascontiguousarray(image)))
