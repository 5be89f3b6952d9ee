"""A decoder of compressed DICOM for pydicom, by imagecodecs: lossless JPEG, which pydicom lacks, JPEG-LS and others."""

from __future__ import annotations

from functools import cache
from typing import Any

# What pydicom asks of a module that decodes: the compressions, and what each needs.
_CODECS = {
    "1.2.840.10008.1.2.4.50": "jpeg",
    "1.2.840.10008.1.2.4.51": "jpeg",
    "1.2.840.10008.1.2.4.57": "jpeg",
    "1.2.840.10008.1.2.4.70": "jpeg",
    "1.2.840.10008.1.2.4.80": "jpegls",
    "1.2.840.10008.1.2.4.81": "jpegls",
    "1.2.840.10008.1.2.4.90": "jpeg2k",
    "1.2.840.10008.1.2.4.91": "jpeg2k",
    "1.2.840.10008.1.2.4.201": "htj2k",
    "1.2.840.10008.1.2.4.202": "htj2k",
    "1.2.840.10008.1.2.4.203": "htj2k",
}
DECODER_DEPENDENCIES = dict.fromkeys(_CODECS, ("imagecodecs",))


@cache
def register_codecs() -> None:
    """Give pydicom the decoders; those that it has itself are asked too."""
    from pydicom.pixels import get_decoder

    for uid in _CODECS:
        get_decoder(uid).add_plugin("imagecodecs", (__name__, "decode_frame"))


def is_available(uid: str) -> bool:
    """Can a compression be decoded here?"""
    import imagecodecs

    return uid in _CODECS and getattr(getattr(imagecodecs, _CODECS[uid].upper(), None), "available", False)


def decode_frame(source: bytes, runner: Any) -> bytes:
    """Return the pixels of one frame.

    Args:
        source: compressed.
        runner: pydicom's ``DecodeRunner``.
    """
    import imagecodecs

    pixels = getattr(imagecodecs, f"{_CODECS[runner.transfer_syntax]}_decode")(source)
    runner.set_option("bits_allocated", 8 * pixels.dtype.itemsize)
    return bytes(pixels.tobytes())
