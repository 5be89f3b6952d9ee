"""One slice, one image file: tif and png, grey or coloured, 8 or 16 bit, decoded and encoded to the pixel."""

from __future__ import annotations

import io
import logging
import math
import struct
import zlib
from pathlib import Path
from threading import Lock
from typing import Any

import numpy as np
import tifffile

from monai_brainseg.errors import InputError

SLICE_ENDINGS = (".tif", ".tiff", ".png")
_LZW = 5
# What a damaged header claims must not fill the memory; no slice is as large.
_MOST_VALUES = 2**28
_PNG_END = b"IEND\xaeB`\x82"
# ITK loads its parts when they are first named; a second thread would find them half loaded.
_ITK = Lock()

# A damaged file is reported once, by the error, not line by line by the library as well.
logging.getLogger("tifffile").addHandler(logging.NullHandler())


def decode_slice(path: Path) -> np.ndarray:
    """Return ``[row, column]`` or ``[row, column, channel]`` as stored, one-bit images as uint8 0 and 1.

    Raises:
        InputError: ITK is needed and not installed.
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
        ValueError: the ending is none of ``SLICE_ENDINGS``, or the type is another.
    """
    if ending.lower() not in SLICE_ENDINGS or image.dtype not in (np.uint8, np.uint16):
        raise ValueError(f"slices are written as uint8 or uint16 .tif or .png, not as {image.dtype} {ending}")
    return _encode_png(image) if ending.lower() == ".png" else _encode_tif(image)


def load_itk(path: Path) -> Any:
    """Return ITK, which loads slowly, and which NIfTI and most TIFF files do not need.

    Args:
        path: what is to be read by it.

    Raises:
        InputError: it is not installed.
    """
    try:
        import itk
    except ImportError as error:
        what = "DICOM, PNG and LZW-compressed TIFF are read by ITK, which is not installed"
        raise InputError(path, what, "pip install itk") from error
    return itk


def _decode_tif(path: Path) -> np.ndarray:
    with tifffile.TiffFile(path) as file:
        if len(file.pages) != 1:
            raise ValueError(f"it holds {len(file.pages)} pages, not one slice")
        page = file.pages[0]
        if page.size > _MOST_VALUES:
            raise ValueError(f"it claims {'x'.join(map(str, page.shape))} pixels")
        # Decoders fill what a truncated file lacks with zeros.
        if max(o + n for o, n in zip(page.dataoffsets, page.databytecounts, strict=True)) > path.stat().st_size:
            raise ValueError("its pixels end before they should")
        # tifffile leaves LZW to imagecodecs, ITK reads it; of tiles ITK would make 8-bit colours.
        if page.compression == _LZW and not page.is_tiled:
            return _decode_itk(path)
        array = page.asarray()
        return np.moveaxis(array, 0, -1) if page.axes == "SYX" else array


def _decode_png(path: Path) -> np.ndarray:
    if not path.read_bytes().endswith(_PNG_END):
        raise ValueError("its pixels end before they should")
    return _decode_itk(path)


def _decode_itk(path: Path) -> np.ndarray:
    with _ITK:
        return _decode_alone(path)


def _decode_alone(path: Path) -> np.ndarray:
    itk = load_itk(path)
    reader = itk.ImageIOFactory.CreateImageIO(str(path), itk.CommonEnums.IOFileMode_ReadMode)
    if reader is None:
        raise ValueError("it is no image")
    reader.SetFileName(str(path))
    reader.ReadImageInformation()
    if math.prod(reader.GetDimensions(axis) for axis in range(reader.GetNumberOfDimensions())) > _MOST_VALUES:
        raise ValueError("it claims more pixels than a slice has")
    channels = reader.GetNumberOfComponents()
    # ITK's wheel has no 16-bit colours; float32 holds every 8- and 16-bit value exactly.
    pixel = itk.F if channels == 1 else itk.Vector[itk.F, channels]
    array = itk.array_from_image(itk.imread(str(path), pixel_type=pixel))
    kind = reader.GetComponentTypeAsString(reader.GetComponentType())
    return array.astype({"unsigned_char": np.uint8, "unsigned_short": np.uint16}.get(kind, np.float32))


def _encode_tif(image: np.ndarray) -> bytes:
    buffer = io.BytesIO()
    tifffile.imwrite(buffer, image, photometric="minisblack" if image.ndim == 2 else "rgb", compression="zlib")
    return buffer.getvalue()


def _encode_png(image: np.ndarray) -> bytes:
    """Encode after the PNG specification (ISO/IEC 15948), rows unfiltered: ITK's wheel writes no 16-bit colours."""

    def chunk(kind: bytes, body: bytes) -> bytes:
        return struct.pack(">I", len(body)) + kind + body + struct.pack(">I", zlib.crc32(kind + body))

    height, width = image.shape[:2]
    header = struct.pack(">IIBBBBB", width, height, 8 * image.itemsize, 0 if image.ndim == 2 else 2, 0, 0, 0)
    rows = image.astype(image.dtype.newbyteorder(">")).reshape(height, -1)
    body = b"".join(b"\0" + row.tobytes() for row in rows)
    return b"\x89PNG\r\n\x1a\n" + chunk(b"IHDR", header) + chunk(b"IDAT", zlib.compress(body)) + chunk(b"IEND", b"")
