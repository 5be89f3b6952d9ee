"""ITK, for one thread at a time because two would end the process, and what it reads: NRRD and MetaImage."""

from __future__ import annotations

import re
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from threading import RLock
from typing import Any

import numpy as np

from monai_brainseg.errors import InputError
from monai_brainseg.files import require_file
from monai_brainseg.images.image_files import can_invert
from monai_brainseg.images.volumes import LARGEST, LPS_TO_RAS, Volume

# Words of a header that give the distance between voxels; ITK takes 1 without them.
_SPACINGS = (b"elementspacing", b"elementsize", b"space directions", b"spacings")
_HEADER = 2**14  # bytes that hold it
_NRRD = (".nrrd", ".nhdr")
# NRRD's field that names the axes of the world, such as left-posterior-superior or RAS.
_SPACE = re.compile(rb"^space: *(?:left|right|[lr][ap]s)", re.MULTILINE)

_lock = RLock()


@contextmanager
def use_alone() -> Iterator[None]:
    """Let one thread at a time use ITK, in a block or as a decorator."""
    with _lock:
        yield


def load_itk(path: Path) -> Any:
    """Return ITK. It loads slowly, and few formats need it.

    Args:
        path: what is to be read with it.

    Raises:
        InputError: it is not installed.
    """
    try:
        import itk
    except ImportError as error:
        raise InputError(path, "needs ITK to be read, which is not installed", "pip install itk") from error
    itk.Object.SetGlobalWarningDisplay(False)
    return itk


@use_alone()
def read_itk(path: Path) -> Volume:
    """Read a NRRD or MetaImage file, float32.

    Returns:
        ``[x, y, z]``, or ``[x, y, z, channel]`` of vectors and of a fourth axis.

    Raises:
        InputError: the file is missing, unreadable or truncated, or holds no 3D or 4D grid; or ITK is not installed.
    """
    require_file(path)
    itk = load_itk(path)
    try:
        voxels, affine = _read(itk, path)
    except Exception as error:  # ITK raises RuntimeError, or what its readers do
        reason = str(error) if isinstance(error, ValueError) else "ITK cannot read it"
        raise InputError(path, f"cannot be read ({reason})", "download or export it again") from error
    if not can_invert(affine):
        raise InputError(path, "its affine cannot be inverted", "convert it again from the original images")
    with path.open("rb") as stream:
        header = stream.read(_HEADER).lower()
    known = path.suffix.lower() not in _NRRD or _SPACE.search(header)
    notes = () if known else ("the header does not tell left from right",)
    return Volume(voxels, LPS_TO_RAS @ affine, any(word in header for word in _SPACINGS), notes)


def _read(itk: Any, path: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return voxels and the affine to LPS."""
    files = itk.NrrdImageIO.New() if path.suffix.lower() in _NRRD else itk.MetaImageIO.New()
    files.SetFileName(str(path))
    files.ReadImageInformation()
    axes, channels = files.GetNumberOfDimensions(), files.GetNumberOfComponents()
    shape = [files.GetDimensions(axis) for axis in range(axes)]
    if axes not in (3, 4):
        raise ValueError(f"it has {axes} dimensions, not 3 or 4")
    if int(np.prod([float(count) for count in (*shape, channels, 4)])) > LARGEST:
        raise ValueError(f"its header claims {'x'.join(map(str, shape))} voxels")
    reader = itk.ImageFileReader[itk.VectorImage[itk.F, axes]].New()
    reader.SetFileName(str(path))
    reader.SetImageIO(files)
    reader.Update()
    image = reader.GetOutput()
    array = itk.array_from_image(image)  # [t, z, y, x, channel], or without t
    if axes == 4 and channels > 1:
        raise ValueError(f"it has {channels} channels along a fifth axis")
    voxels = np.moveaxis(array[..., 0], 0, -1) if axes == 4 else array
    voxels = np.ascontiguousarray(voxels.transpose(2, 1, 0, 3))
    affine = np.eye(4)
    affine[:3, :3] = itk.array_from_matrix(image.GetDirection())[:3, :3] * np.array(image.GetSpacing())[:3]
    affine[:3, 3] = np.array(image.GetOrigin())[:3]
    return voxels[..., 0] if voxels.shape[3] == 1 else voxels, affine
