"""Reading of volumes: an error names the file, and several threads may share the transform."""

from __future__ import annotations

import threading
from pathlib import Path
from typing import Any

from monai.data import NibabelReader
from monai.transforms import LoadImaged

from brainseg_unet_scripts.errors import BundleError


class CaseReader(NibabelReader, threading.local):
    """MONAI's NIfTI reader with a state for each thread; its errors name the file.

    That of MONAI 1.6.1 keeps the names of the files that it reads, and mixes them up if threads share it.
    """

    def verify_suffix(self, filename: Any) -> bool:
        """Is it NIfTI by its ending, whose case does not matter?"""
        files = filename if isinstance(filename, (list, tuple)) else (filename,)
        return all(str(file).lower().endswith((".nii", ".nii.gz")) for file in files)

    def read(self, data: Any, **kwargs: Any) -> Any:
        """Open one file or a list of files.

        Raises:
            BundleError: a file is missing, or its header cannot be read.
        """
        files = data if isinstance(data, (list, tuple)) else (data,)
        images = [self._read_one(file, **kwargs) for file in files]
        self.filenames = tuple(files)
        return images if len(images) > 1 else images[0]

    def _read_one(self, file: Any, **kwargs: Any) -> Any:
        if not Path(file).is_file():
            raise BundleError(file, "no such file", "prepare the data again, or remove the case")
        try:
            return super().read(file, **kwargs)
        except Exception as error:  # nibabel raises a dozen kinds
            raise BundleError(file, _describe(error)) from error

    def _get_array_data(self, img: Any, filename: str) -> Any:
        try:
            return super()._get_array_data(img, filename)
        except Exception as error:
            raise BundleError(filename, _describe(error)) from error


def _describe(error: Exception) -> str:
    reason = " ".join(str(error).split())[:100]
    return f"cannot be read ({reason}); write it again, or remove the case"


class CaseLoadImaged(LoadImaged):
    """MONAI's ``LoadImaged`` with ``CaseReader`` for NIfTI files; other formats are read as MONAI does.

    The reader is registered, not given as ``reader``: then MONAI would try every other reader if this one fails, and
    ITK reads a truncated NIfTI as zeros.

    Example::

        CaseLoadImaged(keys=["image", "label"])({"image": ["a_0000.nii.gz", ...], "label": "a.nii.gz"})
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take what ``LoadImaged`` takes."""
        super().__init__(*args, **kwargs)
        self.register(CaseReader())
