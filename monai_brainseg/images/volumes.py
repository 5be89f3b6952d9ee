"""Volumes in and out: stacks of slices and NIfTI, read into one array with its affine, written whole or not at all."""

from __future__ import annotations

import gzip
import hashlib
import io
import math
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from itertools import product
from pathlib import Path

import nibabel as nib
import numpy as np
from nibabel.affines import voxel_sizes

from monai_brainseg.errors import InputError
from monai_brainseg.files import require_file, write_whole
from monai_brainseg.images.image_files import (
    NIFTI_ENDINGS,
    can_invert,
    find_affine,
    is_packed,
    knows_spacing,
    open_image,
)
from monai_brainseg.images.slices import Slices, decode_slices, encode_slices, lay_over_black

# Columns of a slice run from the patient's right to left, rows from front to back, slices upwards: [x, y, z] is LPS,
# and NIfTI's world is RAS.
_SLICES_AFFINE = np.diag([-1.0, -1.0, 1.0, 1.0])

# The world of DICOM and ITK is LPS, NIfTI's RAS.
LPS_TO_RAS = np.diag([-1.0, -1.0, 1.0, 1.0])

_NIFTI_DTYPES = {"bool": "uint8", "int64": "int32", "uint64": "uint32", "float16": "float32"}
_GZIP_LEVEL = 6
_CHUNK = 2**20
# 1024 voxels a side in float32: no head is larger, and a damaged header must not make us allocate all memory.
LARGEST = 2**32
# Voxels that two files of one grid may be apart at its corners. Directions printed with four decimals are up to 0.05
# apart over 512 voxels of two axes; grids that are truly different are half a voxel or more apart.
SHIFT = 0.05


@dataclass(frozen=True, eq=False)
class Volume:
    """One volume on its grid.

    Attributes:
        voxels: ``[x, y, z]``, or ``[x, y, z, channel]`` for a file of several sequences.
        affine: 4x4 float64, voxel index to RAS world.
        spacing_known: whether the affine is in millimetres; False for slices, which carry no spacing.
        notes: what was not as it should be in the files, or was changed; each is a sentence.
    """

    voxels: np.ndarray
    affine: np.ndarray
    spacing_known: bool
    notes: tuple[str, ...] = ()

    @property
    def spacing(self) -> np.ndarray:
        """Distance between voxel centres along each axis, in units of the affine."""
        return np.asarray(voxel_sizes(self.affine))

    @property
    def voxel_size(self) -> float:
        """Volume of one voxel in cubic millimetres, or 1 where the spacing is unknown."""
        return float(abs(np.linalg.det(self.affine[:3, :3]))) if self.spacing_known else 1.0


def stack_slices(voxels: np.ndarray, notes: Iterable[str] = ()) -> Volume:
    """Return the volume of ``[x, y, z]`` slices without spacing, oriented as on a reading screen (LPS)."""
    return Volume(voxels, _SLICES_AFFINE.copy(), spacing_known=False, notes=tuple(dict.fromkeys(notes)))


def read_slices(files: Sequence[Path], mask: bool = False) -> Volume:
    """Read 2D images (tif, png, jpg or bmp, 8 or 16 bit, compressed or not), in the order given, into one volume.

    Args:
        files: one file a slice, at least one; a single tif may hold all slices as its pages.
        mask: whether it is a mask, whose colours may be those of a palette, and in some slices only.

    Returns:
        ``[x, y, z]`` = [column, row, slice] of grey slices, ``[x, y, z, channel]`` of coloured ones.

    Raises:
        InputError: a file is missing or unreadable, or differs from the first in shape or type, or several files hold
            several slices each.
    """
    decoded = lay_over_black([_read_file(file, mask) for file in files], mask)
    if mask and {each.pixels.shape[3:] for each in decoded} == {(), (3,)}:
        decoded = [_colour(each) for each in decoded]
    first = decoded[0].pixels[0]
    for file, each in zip(files, decoded, strict=True):
        if len(decoded) > 1 and len(each.pixels) > 1:
            raise InputError(file, f"holds {len(each.pixels)} slices beside other files", "name this file alone")
        if (each.pixels.shape[1:], each.pixels.dtype) != (first.shape, first.dtype):
            raise InputError(
                file,
                f"is {_describe(each.pixels[0])}, but {files[0].name} is {_describe(first)}",
                "slices of a patient have one size and type: export them again",
            )
    stacked = np.concatenate([each.pixels for each in decoded])
    voxels = np.ascontiguousarray(stacked.transpose(2, 1, 0, *range(3, stacked.ndim)))
    return stack_slices(voxels, (note for each in decoded for note in each.notes))


def _colour(slices: Slices) -> Slices:
    """Return grey slices as coloured ones."""
    return slices if slices.pixels.ndim == 4 else replace(slices, pixels=np.stack([slices.pixels] * 3, -1))


def write_slices(voxels: np.ndarray, files: Sequence[Path]) -> None:
    """Write ``[x, y, z]`` or ``[x, y, z, 3]`` uint8 or uint16 voxels, the inverse of ``read_slices``.

    Args:
        voxels: of the slices.
        files: one a slice, or a single tif for all.

    Raises:
        InputError: a file cannot be written.
        ValueError: the type is another one, a file ends in neither .tif nor .png, or the files are too many or few.
    """
    pixels = np.moveaxis(voxels, 2, 0).swapaxes(1, 2)
    parts = [pixels] if len(files) == 1 else [image[np.newaxis] for image in pixels]
    for part, file in zip(parts, files, strict=True):
        write_whole(file, encode_slices(part, file.suffix))


def read_nifti(path: Path) -> Volume:
    """Read a file that nibabel reads; voxels keep the type of the file, unless its header scales them.

    Args:
        path: NIfTI, compressed or not whatever its ending says, MGH or MGZ, Analyze or NIfTI in two files.

    Raises:
        InputError: the file is missing, unreadable or truncated, or holds no 3D or 4D grid of numbers.
    """
    require_file(path)
    try:
        _check_whole(path)
        with open_image(path) as (image, notes):
            if math.prod(image.shape) * image.get_data_dtype().itemsize > LARGEST:
                raise ValueError(f"its header claims {'x'.join(map(str, image.shape))} voxels")
            voxels = np.asanyarray(image.dataobj)
            affine, said = find_affine(image)
            known = knows_spacing(image)
    except Exception as error:  # nibabel and zlib raise a dozen kinds on a damaged file
        raise _unreadable(path, error) from error
    if voxels.ndim == 5 and voxels.shape[3] == 1:
        voxels = voxels[:, :, :, 0]  # the channels of NIfTI's vectors, as ITK writes them
    if voxels.ndim not in (3, 4) or voxels.dtype.kind not in "uif" or voxels.size == 0:
        raise InputError(path, f"holds {_describe(voxels)}, not a 3D or 4D volume of numbers", "convert it")
    if not can_invert(affine):
        raise InputError(path, "its affine cannot be inverted", "convert it again from the original images")
    native = voxels.astype(voxels.dtype.newbyteorder("="), copy=False)
    return Volume(native, affine, known, (*notes, *said))


def measure_shift(one: Volume, other: Volume) -> float:
    """Return how far two affines move a corner of a grid apart, in voxels of the other along its worst axis."""
    corners = np.array(list(product(*((0, count - 1) for count in other.voxels.shape[:3]), (1,)))).T
    return float(np.abs((np.linalg.solve(other.affine, one.affine) @ corners - corners)[:3]).max())


def _check_whole(path: Path) -> None:
    """Read a compressed file to its end, where its checksum is: nibabel stops before, and damage goes unnoticed."""
    if is_packed(path):
        size = 0
        with gzip.open(path) as stream:
            while chunk := stream.read(_CHUNK):
                size += len(chunk)
                if size > LARGEST + _CHUNK:
                    raise ValueError(f"it unpacks to more than {LARGEST / 2**30:.0f} GiB")


def write_nifti(volume: Volume, path: Path) -> None:
    """Write ``.nii.gz`` or ``.nii``, the same bytes for the same volume; units are unknown where the spacing is.

    Raises:
        InputError: the file cannot be written.
        ValueError: it has another ending.
    """
    if not path.name.endswith(NIFTI_ENDINGS):
        raise ValueError(f"{path}: NIfTI is written as .nii.gz or .nii")
    dtype = _NIFTI_DTYPES.get(volume.voxels.dtype.name, volume.voxels.dtype)
    image = nib.Nifti1Image(volume.voxels.astype(dtype, copy=False), volume.affine)
    # Both forms of the affine, since readers differ in which they use. Only real millimetres get the code "scanner".
    code = "scanner" if volume.spacing_known else "aligned"
    image.set_sform(volume.affine, code)
    image.set_qform(volume.affine, code)
    image.header.set_xyzt_units("mm" if volume.spacing_known else "unknown")
    data = image.to_bytes()
    write_whole(path, compress(data) if path.name.endswith(".gz") else data)


def hash_images(volumes: Sequence[Volume]) -> str:
    """Return 16 hex digits of SHA-256 over shape and voxel values of the sequences in order, whatever their type.

    A sequence equal to an earlier one counts once: FLAIR in place of a missing sequence is not new content.
    """
    hashes = [_hash_voxels(volume.voxels) for volume in volumes]
    return hashlib.sha256(b"".join(dict.fromkeys(hashes))).hexdigest()[:16]


def _hash_voxels(voxels: np.ndarray) -> bytes:
    # Adding 0 turns -0.0, which equals 0, into it.
    values = np.add(voxels, np.float32(0), dtype=np.float32, casting="unsafe", order="C").astype("<f4", copy=False)
    digest = hashlib.sha256(repr(voxels.shape).encode())
    digest.update(memoryview(values).cast("B") if values.size else b"")
    return digest.digest()


def _unreadable(path: Path, error: Exception) -> InputError:
    reason = " ".join(str(error).split()) or type(error).__name__
    remedy = "download or export it again"
    return InputError(path, f"cannot be read ({reason[:160]})", remedy)


def _read_file(path: Path, mask: bool) -> Slices:
    require_file(path)
    try:
        return decode_slices(path, mask)
    except InputError:
        raise
    except Exception as error:  # decoders raise anything on a damaged file
        raise _unreadable(path, error) from error


def _describe(array: np.ndarray) -> str:
    return f"{'x'.join(map(str, array.shape)) or 'nothing'} {array.dtype}"


def compress(data: bytes) -> bytes:
    """Compress without a time stamp, so that equal data give equal files."""
    buffer = io.BytesIO()
    with gzip.GzipFile("", "wb", _GZIP_LEVEL, buffer, mtime=0) as file:
        file.write(data)
    return buffer.getvalue()
