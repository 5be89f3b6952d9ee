"""Image files of slices: tif (a page a slice), png, jpg and bmp, decoded and encoded to the pixel."""

from __future__ import annotations

import io
import logging
import math
from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any

import imagecodecs
import numpy as np
import tifffile
from PIL import Image

from monai_brainseg.errors import InputError

SLICE_ENDINGS = (".tif", ".tiff", ".png", ".jpg", ".jpeg", ".bmp")
_WRITTEN = (".tif", ".tiff", ".png")
# A damaged header must not make us allocate all memory. No slice is this large.
_MOST_VALUES = 2**28

_AS_GREY = "export it as grey values, or as RGB"
_LOSSY = "JPEG loses detail, use the original images if you have them"
_TRANSPARENT = "transparent pixels count as black"
_WHITE = "white was stored as 0, and was turned back"

# Axes of tifffile that are no slices.
_AXES = {"C": "channels", "T": "times"}

# The error reports a damaged file once; the library's own lines are switched off.
logging.getLogger("tifffile").addHandler(logging.NullHandler())


@dataclass(frozen=True, eq=False)
class Slices:
    """What one file holds.

    Attributes:
        pixels: ``[slice, row, column]``, or ``[slice, row, column, channel]`` with three colours or more.
        notes: what was not as it should be, or was changed.
        alpha: ``[slice, row, column]``, from 0 (transparent) to 1; None if the file has none.
    """

    pixels: np.ndarray
    notes: tuple[str, ...] = ()
    alpha: np.ndarray | None = None


def decode_slices(path: Path, mask: bool = False) -> Slices:
    """Return the slices of a file: one of a png, jpg or bmp, each page of a tif; a one-bit tif as uint8 0 and 1.

    The content decides the format, not the ending.

    Args:
        path: the file.
        mask: whether the colours of a palette are taken, all three also if they are grey; in an image colours of a
            palette are no sequences.

    Raises:
        InputError: an image is coloured by a palette.
        ValueError: the file holds no slices, or is damaged; the libraries beneath raise other kinds as well.
    """
    if path.suffix.lower() not in SLICE_ENDINGS:
        raise ValueError("slices are read from .tif, .png, .jpg and .bmp files")
    with path.open("rb") as stream:
        start = stream.read(8)
    marks: dict[bytes, Callable[[Path], tuple[Slices, bool]]] = {
        b"\x89PNG": _decode_png,
        b"\xff\xd8\xff": _decode_jpg,
        b"BM": _decode_bmp,
    }
    decode = next((marks[mark] for mark in marks if start.startswith(mark)), _decode_tif)
    found, by_palette = decode(path)
    if by_palette and not mask and not _is_grey(found.pixels):
        raise InputError(path, "its colours are a palette's, not three sequences", "export it as grey values")
    pixels = found.pixels
    native = pixels.astype(np.uint8 if pixels.dtype == bool else pixels.dtype.newbyteorder("="), copy=False)
    if by_palette and not mask:
        native = native[..., 0]
    return replace(found, pixels=native)


def lay_over_black(files: Sequence[Slices], mask: bool) -> list[Slices]:
    """Return the slices of one volume as they look over black, without alpha.

    In an image, an alpha of 0 everywhere means that nobody used it; in a mask, that nothing is marked.
    """
    used = mask or any(each.alpha is not None and each.alpha.any() for each in files)
    return [_lay_over_black(each) if used and each.alpha is not None else replace(each, alpha=None) for each in files]


def _lay_over_black(slices: Slices) -> Slices:
    if slices.alpha is None or slices.alpha.min() == 1:
        return replace(slices, alpha=None)
    shape = (*slices.alpha.shape, *(1,) * (slices.pixels.ndim - 3))
    shown = slices.pixels * slices.alpha.reshape(shape)
    whole = shown if slices.pixels.dtype.kind == "f" else np.rint(shown)
    return Slices(whole.astype(slices.pixels.dtype), (*slices.notes, _TRANSPARENT))


def count_slices(path: Path) -> int:
    """Return the slices of a file; 1 if it cannot be read, which reading it will report."""
    try:
        with tifffile.TiffFile(path) as file:
            return sum(not page.is_reduced for page in file.pages)
    except Exception:  # no tif, or a damaged one
        return 1


def encode_slices(pixels: np.ndarray, ending: str) -> bytes:
    """Return the file of ``[slice, row, column]`` or ``[..., 3]`` uint8 or uint16 pixels, losslessly compressed.

    Raises:
        ValueError: the ending is not .tif or .png, the type is another one, or a png gets several slices.
    """
    if ending.lower() not in _WRITTEN or pixels.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"slices are written as uint8 or uint16 .tif or .png, not as {pixels.dtype} {ending}")
    if ending.lower() != ".png":
        return _encode_tif(pixels)
    (image,) = pixels
    return bytes(imagecodecs.png_encode(np.ascontiguousarray(image)))


def _is_grey(pixels: np.ndarray) -> bool:
    return pixels.ndim == 4 and bool((pixels == pixels[..., :1]).all())


def _decode_tif(path: Path) -> tuple[Slices, bool]:
    with tifffile.TiffFile(path) as file:
        pages: list[Any] = [page for page in file.pages if not page.is_reduced]
        _check_pages(file, pages)
        # Decoders fill what a truncated file lacks with zeros.
        if max(o + n for page in pages for o, n in zip(page.dataoffsets, page.databytecounts, strict=True)) > (
            path.stat().st_size
        ):
            raise ValueError("its pixel data is cut off")
        decoded = [_decode_page(page) for page in pages]
    notes = dict.fromkeys(note for each, _ in decoded for note in each.notes)
    alphas = [each.alpha for each, _ in decoded if each.alpha is not None]
    alpha = np.concatenate(alphas) if len(alphas) == len(decoded) else None
    return Slices(np.concatenate([each.pixels for each, _ in decoded]), tuple(notes), alpha), decoded[0][1]


def _check_pages(file: tifffile.TiffFile, pages: Sequence[Any]) -> None:
    """Refuse pages that are not the slices of one volume."""
    shapes = {page.shape for page in pages}
    if len(shapes) != 1:
        raise ValueError(f"its {len(pages)} pages are no slices of one size")
    _check_size((len(pages), *pages[0].shape))
    axes = [(axis, count) for each in file.series for axis, count in zip(each.axes, each.shape, strict=True)]
    if several := [axis for axis, count in axes if axis in "CT" and count > 1]:
        what = f"its pages are several {_AXES[several[0]]}, not the slices of one volume"
        raise InputError(file.filehandle.path, what, "save them as slices (in ImageJ: Image, Properties)")
    if sum(math.prod(each.shape) for each in file.series) != len(pages) * math.prod(pages[0].shape):
        raise ValueError("its pages are not the slices of one volume")


def _decode_page(page: Any) -> tuple[Slices, bool]:
    array, notes = page.asarray(), []
    if page.axes == "SYX":
        array = np.moveaxis(array, 0, -1)
    photometric = page.photometric.name
    if photometric == "PALETTE":
        # 16 bits a colour, often 8 bits repeated.
        array = np.moveaxis(page.colormap[:, array], 0, -1) >> 8
        return Slices(array.astype(np.uint8)[np.newaxis]), True
    # tifffile marks every array of truths so, and leaves its values as they are.
    if photometric == "MINISWHITE" and not (array.dtype == bool and page.software == "tifffile.py"):
        array = _turn_back(array, page.bitspersample)
        notes.append(_WHITE)
    elif photometric not in ("MINISBLACK", "MINISWHITE", "RGB", "YCBCR"):
        raise InputError(page.parent.filehandle.path, f"its colours are {photometric}", _AS_GREY)
    if "JPEG" in page.compression.name:
        notes.append(_LOSSY)
    extra = [int(each) for each in page.extrasamples]
    if array.ndim == 3 and extra in ([1], [2]):
        found = _split_alpha(array, multiplied=extra == [1])
        return replace(found, notes=tuple(notes)), False
    return Slices(array[np.newaxis], tuple(notes)), False


def _turn_back(array: np.ndarray, bits: int) -> np.ndarray:
    """Return grey values, white highest, of an image with white lowest."""
    if array.dtype == bool:
        return ~array
    if array.dtype.kind != "u":
        raise ValueError(f"its lowest value is white, in {array.dtype}, which has no highest")
    return array.dtype.type(2**bits - 1) - array


def _decode_png(path: Path) -> tuple[Slices, bool]:
    """Decode with libpng: Pillow reads the header, but makes 8 bits of 16-bit colours."""
    with Image.open(path, formats=["PNG"]) as header:
        _check_size((*header.size, len(header.getbands())))
        by_palette = header.mode == "P"
    array = np.asarray(imagecodecs.png_decode(path.read_bytes()))
    return _split_alpha(array) if array.shape[2:] in ((2,), (4,)) else Slices(array[np.newaxis]), by_palette


def _decode_jpg(path: Path) -> tuple[Slices, bool]:
    with Image.open(path, formats=["JPEG"]) as image:
        _check_size((*image.size, len(image.getbands())))
        if image.mode not in ("L", "RGB"):
            raise InputError(path, f"its colours are {image.mode}", _AS_GREY)
        return Slices(np.asarray(image)[np.newaxis], (_LOSSY,)), False


def _decode_bmp(path: Path) -> tuple[Slices, bool]:
    with Image.open(path, formats=["BMP"]) as image:
        _check_size((*image.size, len(image.getbands())))
        by_palette = image.mode == "P"
        plain = image if image.mode in ("L", "RGB") else image.convert("L" if image.mode == "1" else "RGB")
        return Slices(np.asarray(plain)[np.newaxis]), by_palette


def _split_alpha(array: np.ndarray, multiplied: bool = False) -> Slices:
    """Return the colours of ``[row, column, channel]``, and the last channel as alpha.

    Args:
        array: of the file.
        multiplied: whether the colours were multiplied by it already, so that it only says where there is anything.
    """
    colours, alpha = array[np.newaxis, ..., :-1], array[np.newaxis, ..., -1]
    most = np.iinfo(array.dtype).max if array.dtype.kind == "u" else 1
    shown = (alpha > 0).astype(np.float32) if multiplied else (alpha / np.float32(most)).astype(np.float32)
    return Slices(colours[..., 0] if colours.shape[-1] == 1 else colours, alpha=shown)


def _check_size(shape: Sequence[int]) -> None:
    if math.prod(shape) > _MOST_VALUES:
        raise ValueError(f"its header claims {'x'.join(map(str, shape))} values")


def _encode_tif(pixels: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    kind = "minisblack" if pixels.ndim == 3 else "rgb"
    tifffile.imwrite(buffer, pixels if len(pixels) > 1 else pixels[0], photometric=kind, compression="zlib")
    return buffer.getvalue()
