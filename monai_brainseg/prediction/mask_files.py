"""Masks in the format and on the grid of their images, with maps and previews beside them."""

from __future__ import annotations

import os
import shutil
import tempfile
from collections.abc import Mapping, Sequence
from pathlib import Path

import nibabel as nib
import numpy as np

from monai_brainseg.data.bids import describe_derivatives, describe_mask, place_mask
from monai_brainseg.data.cases import Case
from monai_brainseg.errors import InputError
from monai_brainseg.files import unwritable, write_json, write_whole
from monai_brainseg.images.image_files import can_invert, open_image
from monai_brainseg.images.volumes import Volume, compress, write_nifti, write_slices
from monai_brainseg.prediction.dicom_masks import write_segmentation
from monai_brainseg.prediction.mask_records import read_record
from monai_brainseg.prediction.previews import draw_montage

# What a validator of BIDS does not know.
_IGNORED = b"run.json\nrecords/\n.run.json.lock\n**/*_preview.png\n**/*_desc-entropy_map.nii.gz\n"
# NIfTI fields for free text, which may name the patient.
_TEXTS = ("descrip", "aux_file", "db_name", "intent_name", "data_type")


def write_mask_slices(mask: np.ndarray, files: Sequence[Path], folder: Path) -> list[Path]:
    """Write ``[x, y, z]`` bool as ``<name>_mask.tif``, 0 and 255, one for each file of the images.

    Raises:
        InputError: a file cannot be written.
    """
    written = [folder / f"{file.stem}_mask.tif" for file in files]
    write_slices(mask.astype(np.uint8) * np.uint8(255), written)
    return written


def write_like(voxels: np.ndarray, source: Path, file: Path) -> None:
    """Write a mask (bool) or a map (float) ``[x, y, z]`` as NIfTI with the affines, units and codes of another file.

    Args:
        voxels: of the other file's shape.
        source: that file, 3D or 4D.
        file: ``.nii.gz``.

    Raises:
        InputError: the file cannot be written, or the other one is missing.
    """
    try:
        with open_image(source) as (image, _):
            header = image.header.copy()
            if not can_invert(image.affine):
                header.set_sform(None, 0)
    except Exception as error:
        raise InputError(source, "can no longer be read", "put it back") from error
    if header.endianness != nib.Nifti1Header().endianness:
        header = header.as_byteswapped()
    header.extensions.clear()
    for name in _TEXTS:
        if name in header:
            header[name] = b""
    # The image's ranges, scales and times do not apply to a mask.
    for name in ("cal_max", "cal_min", "toffset", "slice_duration", "slice_start", "slice_end", "slice_code"):
        header[name] = 0
    dtype = np.uint8 if voxels.dtype == bool else np.float32
    header.set_data_dtype(dtype)
    header.set_slope_inter(1, 0)
    header.set_intent("none")
    header.set_xyzt_units(header.get_xyzt_units()[0], "unknown")
    header["pixdim"][4:] = 1
    made = type(image)(voxels.astype(dtype, copy=False), None, header)
    write_whole(file, compress(made.to_bytes()))


def write_outputs(
    case: Case,
    flair: Volume,
    mask: np.ndarray,
    maps: Mapping[str, np.ndarray],
    output: Path,
    network: str,
    bids: bool = False,
) -> tuple[list[str], list[str]]:
    """Write a study's mask in its form, its maps and its preview; all are there at the end, or none.

    Args:
        case: the study.
        flair: its volume.
        mask: ``[x, y, z]`` bool.
        maps: further maps by name, float, of the same shape.
        output: the folder.
        network: what made the mask.
        bids: write ``sub-x/anat/sub-x_space-orig_label-tumor_mask.nii.gz`` instead of ``CASE.nii.gz``.

    Returns:
        names of the files and folders that were written, and warnings.

    Raises:
        InputError: the folder cannot be written to.
    """
    patient, source = case.patient, case.images["flair"]
    try:
        unfinished = tempfile.TemporaryDirectory(prefix=f".unfinished-{os.getpid()}-", dir=output)
    except OSError as error:
        raise unwritable(output, error) from error
    with unfinished as name:
        folder, warnings = Path(name), []
        if case.form == "slices":
            write_mask_slices(mask, source, folder / patient)
        else:
            _write_map(mask, case, flair, folder / f"{patient}.nii.gz")
        if case.form == "volume":
            warnings.append(f"the mask is NIfTI, not {source[0].suffix}")
        for kind, voxels in maps.items():
            _write_map(voxels, case, flair, folder / f"{patient}_{kind}.nii.gz")
        if case.form == "dicom":
            try:
                write_segmentation(mask, source, folder / f"{patient}.dcm", network)
            except InputError as error:
                warnings.append(str(error))
        write_whole(folder / f"{patient}_preview.png", draw_montage(flair, mask))
        if bids:
            place, names = _name_bids(folder, case)
            write_json(output / "dataset_description.json", describe_derivatives())
            write_whole(output / ".bidsignore", _IGNORED)
            return _move_in(folder, output, patient, place, names), warnings
        return _move_in(folder, output, patient), warnings


def _write_map(voxels: np.ndarray, case: Case, flair: Volume, file: Path) -> None:
    if case.form == "nifti":
        write_like(voxels, case.images["flair"][0], file)
    else:
        write_nifti(Volume(voxels, flair.affine, flair.spacing_known), file)


def _name_bids(folder: Path, case: Case) -> tuple[Path, dict[str, str]]:
    """Add the JSON file of the mask, and return the folder and the names that BIDS gives to a study's files."""
    if case.form != "nifti":
        raise InputError(case.images["flair"][0], "is no NIfTI file, as BIDS wants", "leave out --bids, or convert it")
    place, stem = place_mask(case.images["flair"][0], case.patient)
    write_json(folder / f"{case.patient}.json", describe_mask(case.images["flair"][0]))
    names = {
        ".nii.gz": "_label-tumor_mask.nii.gz",
        ".json": "_label-tumor_mask.json",
        "_probability.nii.gz": "_label-tumor_probseg.nii.gz",
        "_entropy.nii.gz": "_desc-entropy_map.nii.gz",
        "_preview.png": "_preview.png",
    }
    return place, {f"{case.patient}{ending}": f"{stem}{named}" for ending, named in names.items()}


def _move_in(
    folder: Path, output: Path, case: str, place: Path = Path(), named: Mapping[str, str] | None = None
) -> list[str]:
    """Move what was written into the output, in place of what an earlier run wrote for the case."""
    names = {path.name: (named or {}).get(path.name, path.name) for path in sorted(folder.iterdir())}
    inside = output / place
    try:
        inside.mkdir(parents=True, exist_ok=True)
        earlier = {Path(old).name for old in read_record(output, case).get("output", [])}
        for old in {*earlier, *names.values()}:
            path = inside / old
            shutil.rmtree(path) if path.is_dir() else path.unlink(missing_ok=True)
        for name, new in names.items():
            (folder / name).rename(inside / new)
    except OSError as error:
        raise unwritable(output, error) from error
    return sorted((place / new).as_posix() for new in names.values())
