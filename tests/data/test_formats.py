"""Volumes in every format are read on their grid, with a note where something was changed."""

from __future__ import annotations

import gzip
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import itk
import nibabel as nib
import numpy as np
import pytest

from monai_brainseg.data.case_voxels import do_each, read_images
from monai_brainseg.data.cases import Case
from monai_brainseg.data.layouts import find_cases
from monai_brainseg.data.naming import SEQUENCES
from monai_brainseg.errors import InputError
from monai_brainseg.images.itk_volumes import read_itk
from monai_brainseg.images.volumes import Volume, read_nifti
from monai_brainseg.inputs.search import find_studies

VOXELS = np.random.default_rng(0).integers(1, 999, (6, 7, 4)).astype(np.int16)
AFFINE = np.array([[-2.0, 0, 0, 30], [0, -2.5, 0, 40], [0, 0, 3, -20], [0, 0, 0, 1]])


def save(path: Path, voxels: np.ndarray = VOXELS, affine: np.ndarray = AFFINE, kind: Any = nib.Nifti1Image) -> Path:
    path.parent.mkdir(parents=True, exist_ok=True)
    image = kind(voxels, affine)
    if hasattr(image.header, "set_xyzt_units"):
        image.header.set_xyzt_units("mm")
    nib.save(image, path)
    return path


def make_case(flair: Path | Sequence[Path], label: Path | Sequence[Path] = ()) -> Case:
    files, labels = ((each,) if isinstance(each, Path) else tuple(each) for each in (flair, label))
    return Case("a", "a", "unknown", {"flair": files}, labels)


def read_flair(path: Path) -> Volume:
    (case,) = find_studies([path]).cases
    return read_images(case)["flair"]


def write_itk(path: Path, array: np.ndarray = VOXELS) -> Path:
    """Write ``[x, y, z]``, or ``[x, y, z, channel]`` as vectors, with ITK on the grid of ``AFFINE``."""
    image = itk.image_from_array(np.ascontiguousarray(array.swapaxes(0, 2)), is_vector=array.ndim == 4)
    image.SetSpacing((2.0, 2.5, 3.0))
    image.SetOrigin((-30.0, -40.0, -20.0))
    itk.imwrite(image, str(path))
    return path


@pytest.mark.parametrize("name", ["x.nrrd", "x.nhdr", "x.mha", "x.mhd", "X.MHA", "X.NRRD"])
def test_what_itk_writes_is_read_on_its_grid(name: str, tmp_path: Path) -> None:
    write_itk(tmp_path / name.lower()).rename(tmp_path / name)
    volume = read_flair(tmp_path / name)
    np.testing.assert_array_equal(volume.voxels, VOXELS)
    np.testing.assert_allclose(volume.affine, AFFINE)
    assert volume.spacing_known
    assert [case.patient for case in find_studies([tmp_path]).cases] == [Path(name).stem]


@pytest.mark.parametrize("name", ["x.mgz", "x.mgh", "x.nii", "x.nii.gz", "X.NII", "X.NII.GZ", "x.Nii.gz"])
def test_what_nibabel_writes_is_read_whatever_the_case_of_its_ending(name: str, tmp_path: Path) -> None:
    kind = nib.MGHImage if "mg" in name else nib.Nifti1Image
    save(tmp_path / name.lower(), kind=kind).rename(tmp_path / name)
    volume = read_flair(tmp_path / name)
    np.testing.assert_array_equal(volume.voxels, VOXELS)
    np.testing.assert_allclose(volume.affine, AFFINE, atol=1e-5)
    assert (volume.spacing_known, volume.notes) == (True, ())


@pytest.mark.parametrize(("kind", "notes"), [(nib.AnalyzeImage, 1), (nib.Nifti1Pair, 0)])
@pytest.mark.parametrize("named", ["x.hdr", "x.img"])
def test_volumes_in_two_files_are_one_study(named: str, kind: Any, notes: int, tmp_path: Path) -> None:
    save(tmp_path / "x.img", kind=kind)
    volume = read_flair(tmp_path / named)
    np.testing.assert_array_equal(volume.voxels, VOXELS)
    assert len(volume.notes) == notes
    (case,) = find_studies([tmp_path]).cases
    assert {file.name for file in case.image_files} == {"x.hdr", "x.img"}


def test_a_metaimage_without_spacing_has_none(tmp_path: Path) -> None:
    data = write_itk(tmp_path / "x.mha").read_bytes()
    (tmp_path / "x.mha").write_bytes(data.replace(b"ElementSpacing = 2 2.5 3\n", b""))
    assert not read_itk(tmp_path / "x.mha").spacing_known


@pytest.mark.parametrize(
    ("space", "signs", "notes"),
    [
        ("space: left-posterior-superior", (-1, -1, 1), ()),
        ("space: RAS", (1, 1, 1), ()),
        ("space: scanner-xyz", (-1, -1, 1), ("the header does not tell left from right",)),
    ],
)
def test_nrrd_lies_as_its_space_says(space: str, signs: Sequence[int], notes: tuple[str], tmp_path: Path) -> None:
    fields = ["type: short", "endian: little", "encoding: raw", "dimension: 3", "sizes: 6 7 4", space]
    fields += ["space directions: (2,0,0) (0,2.5,0) (0,0,3)", "space origin: (1,2,3)"]
    header = "\n".join(["NRRD0004", *fields, "", ""])
    (tmp_path / "x.nrrd").write_bytes(header.encode() + VOXELS.tobytes("F"))
    volume = read_itk(tmp_path / "x.nrrd")
    np.testing.assert_array_equal(volume.voxels, VOXELS)
    np.testing.assert_allclose(volume.affine[:3, 3], np.multiply(signs, (1, 2, 3)))
    np.testing.assert_allclose(volume.affine[:3, :3], np.diag(np.multiply(signs, (2, 2.5, 3))))
    assert volume.notes == notes


@pytest.mark.parametrize("name", ["x.nrrd", "x.mha"])
def test_a_truncated_itk_file_is_refused_in_one_line(name: str, tmp_path: Path) -> None:
    file = write_itk(tmp_path / name)
    file.write_bytes(file.read_bytes()[:-40])
    with pytest.raises(InputError, match=f"{name}: cannot be read") as caught:
        read_itk(file)
    assert "\n" not in str(caught.value)


def test_threads_share_itk(tmp_path: Path) -> None:
    files = [write_itk(tmp_path / f"{number}.mha", VOXELS + number) for number in range(12)]
    for number, volume in enumerate(do_each(read_itk, files, "reading")):
        np.testing.assert_array_equal(volume.voxels, VOXELS + number)


@pytest.mark.parametrize("name", ["x.nii.gz", "x.mha", "x.nrrd"])
def test_vectors_of_itk_are_three_sequences(name: str, tmp_path: Path) -> None:
    voxels = np.random.default_rng(0).random((6, 7, 4, 3)).astype(np.float32)
    write_itk(tmp_path / name, voxels)
    (case,) = find_studies([tmp_path / name]).cases
    for channel, volume in enumerate(read_images(case).values()):
        np.testing.assert_array_equal(volume.voxels, voxels[..., channel])
        np.testing.assert_allclose(volume.affine, AFFINE, atol=1e-5)


@pytest.mark.parametrize("packed", [True, False])
def test_compression_against_the_ending_is_read_and_said(packed: bool, tmp_path: Path) -> None:
    data = save(tmp_path / "y.nii").read_bytes()
    file = tmp_path / ("x.nii" if packed else "x.nii.gz")
    file.write_bytes(gzip.compress(data) if packed else data)
    volume = read_flair(file)
    np.testing.assert_array_equal(volume.voxels, VOXELS)
    assert "against its ending" in volume.notes[0]


def test_an_empty_sform_leaves_the_qform(tmp_path: Path) -> None:
    image = nib.Nifti1Image(VOXELS, AFFINE)
    image.set_qform(AFFINE, 1)
    header = image.header.copy()
    for row in ("srow_x", "srow_y", "srow_z"):
        header[row] = 0
    header["sform_code"] = 1
    nib.save(nib.Nifti1Image(VOXELS, None, header), tmp_path / "x.nii.gz")
    volume = read_nifti(tmp_path / "x.nii.gz")
    np.testing.assert_allclose(volume.affine, AFFINE, atol=1e-4)
    assert "qform" in volume.notes[0]


def make_head() -> np.ndarray:
    """A ball of tissue with a darker middle, in air."""
    grid = np.mgrid[:40, :40, :10]
    distance = np.hypot(grid[0] - 20, grid[1] - 20)
    noise = np.random.default_rng(0).normal(0, 2, distance.shape)
    return np.where(distance < 5, 60, np.where(distance < 14, 100, 3) + noise).astype(np.float32)


@pytest.mark.parametrize("lowest", [0.0, -50.0])
def test_nan_outside_the_head_is_background_and_said(lowest: float, tmp_path: Path) -> None:
    head = make_head() + np.float32(lowest)
    air = np.hypot(*(np.mgrid[:40, :40] - 20)) > 14
    head[air] = np.nan
    volume = read_flair(save(tmp_path / "x.nii.gz", head))
    assert (volume.voxels[air] == min(0, np.nanmin(head))).all()
    np.testing.assert_array_equal(volume.voxels[~air], head[~air])
    assert volume.notes == ("NaN or infinite voxels outside the head were taken as background",)


@pytest.mark.parametrize(
    "place", [(20, 20, 5), (12, 20, slice(4, 5)), (slice(None), slice(None), 5), (slice(18, 22), slice(18, 22))]
)
def test_nan_inside_the_head_is_refused(place: Any, tmp_path: Path) -> None:
    head = make_head()
    head[place] = np.nan
    with pytest.raises(InputError, match="NaN or infinite"):
        read_flair(save(tmp_path / "x.nii.gz", head))


@pytest.mark.parametrize("ending", [".nii.gz", ".mha"])
def test_channels_may_be_named_in_any_order(ending: str, tmp_path: Path) -> None:
    voxels = np.random.default_rng(0).integers(1, 99, (6, 7, 4, 4)).astype(np.float32)
    file = tmp_path / "set" / f"p{ending}"
    file.parent.mkdir()
    write_itk(file, voxels)
    with pytest.raises(InputError, match="holds 4 channels; say what they are with --channels"):
        read_flair(file)
    (case,) = find_studies([file], channels="flair,t1,t1ce,t2").cases
    save(tmp_path / "set" / "p_seg.nii.gz", (VOXELS > 500).astype(np.uint8))
    naming = f"flair=*p{ending},label=*_seg.nii.gz"
    naming = f"flair=*{ending},label=*_seg.nii.gz" if ending != ".nii.gz" else "flair=set/*.nii.gz,label=*_seg.nii.gz"
    for each in (
        case,
        *(find_cases(tmp_path, naming=naming, channels="FLAIR, T1, T1Gd, T2").cases[:1] * (ending == ".mha")),
    ):
        read = read_images(each)
        assert list(read) == list(SEQUENCES)
        for sequence, channel in {"pre": 1, "flair": 0, "post": 2}.items():
            np.testing.assert_array_equal(read[sequence].voxels, voxels[..., channel])
    with pytest.raises(InputError, match="holds 4 channels where 3"):
        read_images(find_studies([file], channels="flair,t1,t1ce").cases[0])


@pytest.mark.parametrize(
    ("channels", "message"),
    [("t1,t2", "names no flair"), ("flair,flair", "'flair' is named twice"), ("flair,mr", "'mr' is not a known")],
)
def test_channels_that_cannot_be_are_refused(channels: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        find_studies([save(tmp_path / "x.nii.gz")], channels=channels)
