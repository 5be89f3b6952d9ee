"""Masks and maps as NIfTI files, named after their case."""

from __future__ import annotations

from typing import Any

import torch
from monai.config import KeysCollection
from monai.data import NibabelWriter
from monai.transforms import SaveImaged

from brainseg_unet_scripts.cases import name_case


class VolumeWriter(NibabelWriter):
    """MONAI's NIfTI writer for volumes of one channel, which keeps the third axis of a single slice."""

    def set_data_array(self, data_array: torch.Tensor, **options: Any) -> None:
        """Take ``[1, x, y, z]``."""
        self.data_obj = data_array[0]


class CaseSaveImaged(SaveImaged):
    """MONAI's ``SaveImaged``, which writes ``OUTPUT_DIR/CASE.nii.gz``.

    MONAI would name the mask after the first of a case's files, whose name two cases may share.

    Args:
        keys: of volumes ``[1, x, y, z]``.
        output_dir: folder to write to.
        postfix: put behind the name, as ``CASE_postfix.nii.gz``.
        dtype: of the file's voxels.
    """

    def __init__(self, keys: KeysCollection, output_dir: str, postfix: str = "", dtype: str = "uint8") -> None:
        super().__init__(
            keys,
            output_dir=output_dir,
            output_postfix=postfix,
            output_ext=".nii.gz",
            output_dtype=dtype,
            # Does nothing on the input's own grid; without it MONAI takes a short last axis as channels.
            resample=True,
            separate_folder=False,
            print_log=False,
            output_name_formatter=_format_name,
            writer=VolumeWriter,
        )


def _format_name(meta: dict[str, Any], saver: Any) -> dict[str, Any]:
    return {"subject": f"{name_case(meta)}.nii", "idx": None}  # MONAI cuts off an ending
