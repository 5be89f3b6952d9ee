"""Damaged inputs, systematically: the same ones for the same seed, each with a name that says what was done."""

from __future__ import annotations

import gzip
import json
from collections.abc import Iterator
from typing import Any

import nibabel as nib
import numpy as np

Bytes = tuple[str, bytes]

# What a datalist's or a record's field may hold instead of what it should.
WRONG: tuple[Any, ...] = (
    None,
    0,
    -1,
    1.5,
    True,
    "",
    " ",
    [],
    {},
    [None],
    [[]],
    "../up",
    "a/b",
    "/abs",
    "a\nb",
    "a\0b",
    "x" * 400,
)
ODD_NAMES = (
    "with space",
    "Zoë Ünï",
    "名前",
    "a\nnewline",
    "a\ttab",
    "../../escape",
    "..",
    ".hidden",
    "a/b",
    "CON",
    "-rf",
    "$(id)",
    "%s%n",
    "x" * 230,
)


def damage_bytes(data: bytes, seed: int, flips: int = 12, cuts: int = 8) -> Iterator[Bytes]:
    """Cut a file short, turn bits over, swap, repeat and empty it."""
    rng = np.random.default_rng(seed)
    yield "empty", b""
    yield "one byte", data[:1]
    yield "zeros", bytes(len(data))
    yield "noise", rng.bytes(len(data))
    yield "text", b"this is no image\n" * 20
    yield "reversed", data[::-1]
    yield "twice", data + data
    yield "halves swapped", data[len(data) // 2 :] + data[: len(data) // 2]
    for number in range(cuts):
        yield f"cut {number}", data[: int(rng.integers(1, len(data)))]
    for number in range(flips):
        changed = bytearray(data)
        # Half of them among the first bytes, where headers are.
        reach = len(data) if number % 2 else min(len(data), 400)
        for place in rng.integers(0, reach, 1 + number % 3):
            changed[place] ^= 1 << int(rng.integers(8))
        yield f"flip {number}", bytes(changed)


def make_nifti(voxels: np.ndarray, affine: np.ndarray | None = None) -> bytes:
    image = nib.Nifti1Image(voxels, np.diag([-1.0, -1.0, 3.0, 1.0]), dtype=voxels.dtype)
    if affine is not None:  # as it is, whether it makes sense or not
        image.header.set_sform(affine, code=1)
        image.header["qform_code"] = 0
    image.header.set_xyzt_units("mm")
    image.header["magic"], image.header["vox_offset"] = b"n+1", 352
    image.header["scl_slope"], image.header["scl_inter"] = 1, 0
    return bytes(image.header.binaryblock + bytes(4) + np.asarray(voxels).tobytes(order="F"))


def damage_header(data: bytes) -> Iterator[Bytes]:
    """Put absurd values into a NIfTI header's fields; ``data`` is not compressed."""
    numbers: dict[str, int] = {"zero": 0, "negative": -1, "huge": 32767}
    reals = {"NaN": np.nan, "infinite": np.inf, "zero": 0.0, "negative": -2.0, "huge": 1e30, "tiny": 1e-30}
    for name, value in numbers.items():
        for axis in (0, 1, 3, 4):
            yield f"dim[{axis}] {name}", _set(data, "dim", value, axis)
        for field in ("datatype", "bitpix", "qform_code", "sform_code", "xyzt_units"):
            yield f"{field} {name}", _set(data, field, value if field != "xyzt_units" else value & 0xFF)
    for name, real in reals.items():
        for axis in (0, 1, 3):
            yield f"pixdim[{axis}] {name}", _set(data, "pixdim", real, axis)
        for field in ("vox_offset", "scl_slope", "scl_inter", "quatern_b", "qoffset_x"):
            yield f"{field} {name}", _set(data, field, real)
        yield f"srow_x {name}", _set(data, "srow_x", real, 0)
        yield f"srow_z {name}", _set(data, "srow_z", real, 2)
    yield "magic", _set(data, "magic", b"xyz")
    swapped = nib.Nifti1Image.from_bytes(data)
    header = swapped.header.as_byteswapped()
    yield "header alone swapped", header.binaryblock + data[348:]


def _set(data: bytes, field: str, value: Any, axis: int | None = None) -> bytes:
    header = nib.Nifti1Header(data[:348], check=False)
    if axis is None:
        header[field] = value
    else:
        header[field][axis] = value
    return bytes(header.binaryblock + data[348:])


def make_odd_volumes(image: np.ndarray) -> Iterator[tuple[str, bytes]]:
    """Write whole files that hold what no scan does."""
    shape = image.shape
    rng = np.random.default_rng(0)
    nan, endless = image.astype(np.float32), image.astype(np.float32)
    nan[2, 3, 1], endless[2, 3, 1] = np.nan, -np.inf
    voxels: dict[str, np.ndarray] = {
        "NaN": nan,
        "infinite": endless,
        "constant": np.full(shape, 7.0, np.float32),
        "all zero": np.zeros(shape, np.int16),
        "negative": -1000 - image.astype(np.float32),
        "huge values": image.astype(np.float64) * 1e30,
        "huge double": image.astype(np.float64) * 1e300,
        "tiny values": image.astype(np.float64) * 1e-30,
        "one voxel": np.ones((1, 1, 1), np.float32),
        "one slice": image[..., :1].astype(np.float32),
        "one column": image[:1].astype(np.float32),
        "no slice": np.zeros((*shape[:2], 0), np.float32),
        "two dimensions": image[..., 0].astype(np.float32),
        "five dimensions": np.zeros((4, 4, 4, 1, 3), np.float32),
        "two channels": np.stack([image] * 2, -1).astype(np.float32),
        "five channels": np.stack([image] * 5, -1).astype(np.float32),
        "complex": image.astype(np.complex64),
        "single bright voxel": (np.arange(image.size).reshape(shape) == 9).astype(np.float32),
        "noise": rng.normal(size=shape).astype(np.float32),
        "mask": (image > image.mean()).astype(np.uint8),
        "int8": (image / image.max() * 100).astype(np.int8),
        "uint64": image.astype(np.uint64),
    }
    for name, each in voxels.items():
        yield name, make_nifti(each)
    rgb = np.zeros(shape, np.dtype([("R", "u1"), ("G", "u1"), ("B", "u1")]))
    yield "colours", make_nifti(rgb)
    plain = image.astype(np.float32)
    affines = {
        "no inverse": np.diag([1.0, 0.0, 1.0, 1.0]),
        "far away": np.array([[1.0, 0, 0, 1e7], [0, 1, 0, -1e7], [0, 0, 1, 1e7], [0, 0, 0, 1]]),
        "spacing of a metre": np.diag([1000.0, 1000.0, 1000.0, 1.0]),
        "spacing of a micrometre": np.diag([1e-3, 1e-3, 1e-3, 1.0]),
        "sheared": np.array([[1.0, 0.9, 0, 0], [0, 1, 0.9, 0], [0, 0, 1, 0], [0, 0, 0, 1]]),
        "mirrored": np.diag([1.0, 1.0, -1.0, 1.0]),
        "turned": np.array([[0.0, 0, 2, 0], [2, 0, 0, 0], [0, 2, 0, 0], [0, 0, 0, 1]]),
        "one axis a thousand times another": np.diag([0.01, 10.0, 1.0, 1.0]),
    }
    for name, affine in affines.items():
        yield f"affine {name}", make_nifti(plain, affine)


def damage_json(content: dict[str, Any]) -> Iterator[tuple[str, str]]:
    """Put wrong values into each field of a datalist, drop fields, repeat and swap entries."""
    text = json.dumps(content)
    for part in ("training", "test"):
        for value in WRONG:
            yield f"{part} is {value!r:.20}", json.dumps({**content, part: value})
        for key in content[part][0]:
            entry = content[part][0]
            rest = content[part][1:]
            yield f"{part} without {key}", json.dumps({**content, part: [_drop(entry, key), *rest]})
            for value in WRONG:
                yield f"{part} {key} {value!r:.20}", json.dumps({**content, part: [{**entry, key: value}, *rest]})
    yield "twice", json.dumps({**content, "training": content["training"] * 2})
    yield "in both parts", json.dumps({**content, "test": content["training"][:1]})
    yield "no patients", json.dumps({**content, "training": [], "test": []})
    yield "one patient", json.dumps({**content, "training": content["training"][:1], "test": []})
    yield "a list", json.dumps(content["training"])
    yield "a number", "3"
    yield "deep", "[" * 100_000
    yield "deep objects", '{"a":' * 100_000
    yield "NaN", text.replace('"fold": 0', '"fold": NaN', 1)
    yield "long number", text.replace('"fold": 0', '"fold": ' + "9" * 5000, 1)


def damage_text(text: str) -> Iterator[tuple[str, bytes]]:
    """Damage a YAML config as a hand or a disk would."""
    data = text.encode()
    yield from damage_bytes(data, 5, flips=10, cuts=10)
    yield "tabs", text.replace("  ", "\t").encode()
    yield "latin", "epochs: 3 # é".encode("latin-1")
    yield "utf-16", text.encode("utf-16")
    yield "NUL", b"epochs: 3\0"
    yield "list", b"- epochs\n- 3\n"
    yield "text alone", b"epochs"
    yield "same id twice", b"epochs: 3\nepochs: 4\n"
    yield "Python object", b"epochs: !!python/object/apply:os.system ['touch ran']\n"
    yield "unknown tag", b"epochs: !mine 3\n"
    yield "deep", b"a: " + b"[" * 5000
    names = "abcdefghi"
    lines = [f"{names[0]}: &{names[0]} [x,x,x,x,x,x,x,x,x]"]
    lines += [f"{b}: &{b} [{','.join(f'*{a}' for _ in range(9))}]" for a, b in zip(names, names[1:], strict=False)]
    yield "bomb", "\n".join(lines).encode()
    yield "itself", b"a: &a [*a]\n"
    yield "number as id", b"3: 4\n"
    yield "null", b"null\n"


def compress(data: bytes) -> bytes:
    return gzip.compress(data, mtime=0)


def make_gzip_bomb(times: int = 40) -> bytes:
    """Return a few kilobytes that unpack to ``times`` 4 MiB of zeros."""
    start = compress(_set(make_nifti(np.zeros((2, 2, 2), np.uint8)), "dim", 1700, 1))
    return start + compress(bytes(2**22)) * times


def _drop(entry: dict[str, Any], key: str) -> dict[str, Any]:
    return {name: value for name, value in entry.items() if name != key}
