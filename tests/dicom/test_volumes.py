"""Frames become a volume: by their own positions, with their own scales, whatever compresses them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import imagecodecs
import itk
import numpy as np
import pydicom
import pytest
from pydicom.encaps import encapsulate
from pydicom.uid import HTJ2K, HTJ2KLossless, JPEGExtended12Bit, JPEGLSLossless, RLELossless
from support.dicom_files import DEPTH, SPACING, change, describe_frame, draw_flair, write_enhanced, write_series

from monai_brainseg.dicom.series import list_series
from monai_brainseg.dicom.volumes import order_frames, read_series
from monai_brainseg.errors import InputError

FLAIR = draw_flair()
AFFINE = np.diag([-SPACING, -SPACING, DEPTH, 1.0])
JUMBLED = [3, 0, 7, 1, 6, 2, 5, 4]


def test_frames_of_one_file_are_ordered_by_their_positions(tmp_path: Path) -> None:
    volume = read_series([write_enhanced(tmp_path / "x.dcm", FLAIR, JUMBLED)])
    np.testing.assert_array_equal(volume.voxels, FLAIR)
    np.testing.assert_allclose(volume.affine, AFFINE, atol=1e-6)


def test_a_volume_in_several_files_of_frames_is_one(tmp_path: Path) -> None:
    files = [write_enhanced(tmp_path / f"{n}.dcm", FLAIR, part) for n, part in enumerate((JUMBLED[:3], JUMBLED[3:]))]
    np.testing.assert_array_equal(read_series(files).voxels, FLAIR)


def turn_a_frame(file: Path) -> None:
    dataset = pydicom.dcmread(file)
    dataset.PerFrameFunctionalGroupsSequence[4] = describe_frame(4, (0, 1, 0, 0, 0, -1))
    dataset.save_as(file)


def lose_a_position(file: Path) -> None:
    dataset = pydicom.dcmread(file)
    del dataset.PerFrameFunctionalGroupsSequence[4].PlanePositionSequence
    dataset.save_as(file)


@pytest.mark.parametrize(
    ("order", "damage", "said"),
    [
        ([*range(8), *range(8)], None, "x.dcm: frame 9: has the position of frame 1 of x.dcm"),
        ([0, 1, 2, 2, 3, 4, 5, 6], None, "x.dcm: frame 4: has the position of frame 3 of x.dcm"),
        ([5, 4, 3, 0, 1], None, "20 mm, but the others are 10 mm apart; slices are missing"),
        (range(8), turn_a_frame, "x.dcm: frame 5: has another direction than frame 1"),
        (range(8), lose_a_position, "x.dcm: frame 5: has no position"),
        (range(8), lambda f: change(f, NumberOfFrames=7), "says 7 frames, but describes 8"),
        (range(8), lambda f: change(f, PixelData=b"\0\0" * 48 * 48), "cannot be read as DICOM"),
        (range(8), lambda f: change(f, SamplesPerPixel=3), "is coloured"),
    ],
)
def test_frames_that_are_not_one_volume_are_refused_by_name(
    order: list[int], damage: Callable[[Path], None] | None, said: str, tmp_path: Path
) -> None:
    file = write_enhanced(tmp_path / "x.dcm", FLAIR, order)
    if damage:
        damage(file)
    with pytest.raises(InputError, match=said.replace("(", r"\(")):
        read_series([file])


def test_each_slice_and_each_frame_has_its_own_rescale(tmp_path: Path) -> None:
    slopes = np.linspace(0.5, 4, 8)
    stored = np.round(FLAIR / slopes).astype(np.uint16)
    files = write_series(
        tmp_path, stored, RescaleSlope=lambda z: slopes[z], RescaleIntercept=lambda z: -z, RescaleType="US"
    )
    expected = stored * slopes - np.arange(8)
    np.testing.assert_allclose(read_series(files).voxels, expected, rtol=1e-6)
    file = write_enhanced(tmp_path / "enhanced.dcm", stored)
    dataset = pydicom.dcmread(file)
    dataset.PerFrameFunctionalGroupsSequence = [describe_frame(z, slope=slopes[z]) for z in range(8)]
    dataset.save_as(file)
    np.testing.assert_allclose(read_series([file]).voxels, stored * slopes, rtol=1e-6)


def test_low_values_that_are_bright_are_inverted_back(tmp_path: Path) -> None:
    inverted = (FLAIR.max() - FLAIR).astype(np.uint16)
    files = write_series(tmp_path, inverted, PhotometricInterpretation="MONOCHROME1")
    np.testing.assert_array_equal(read_series(files).voxels, FLAIR - FLAIR.min())
    change(files[2], PhotometricInterpretation="MONOCHROME2")
    with pytest.raises(InputError, match="another photometric interpretation"):
        read_series(files)


@pytest.mark.parametrize("signed", [False, True])
@pytest.mark.parametrize("syntax", [RLELossless, JPEGLSLossless, "itk JPEG", "itk JPEG2000"])
def test_compressed_pixels_are_those_that_were_compressed(syntax: Any, signed: bool, tmp_path: Path) -> None:
    voxels = FLAIR.astype(np.int16) - 200 if signed else FLAIR
    files = write_series(tmp_path, voxels, PixelRepresentation=int(signed))
    for z, file in enumerate(files):
        if isinstance(syntax, pydicom.uid.UID):
            dataset = pydicom.dcmread(file)
            dataset.compress(syntax, generate_instance_uid=False)
            dataset.save_as(file)
        else:
            _compress_with_itk(np.ascontiguousarray(voxels[..., z].T), file, syntax.split()[1])
    np.testing.assert_array_equal(read_series(files).voxels, voxels)


@pytest.mark.parametrize("syntax", [HTJ2KLossless, HTJ2K, JPEGExtended12Bit])
def test_rarer_compressions_are_read_and_what_loses_detail_is_said(syntax: Any, tmp_path: Path) -> None:
    voxels = (FLAIR / FLAIR.max() * 4000).astype(np.uint16)
    lossy = syntax is JPEGExtended12Bit
    for z, file in enumerate(write_series(tmp_path, voxels, BitsStored=12, HighBit=11)):
        dataset, pixels = pydicom.dcmread(file), np.ascontiguousarray(voxels[..., z].T)
        encode = imagecodecs.jpeg_encode if lossy else imagecodecs.htj2k_encode
        data = encode(pixels, **({"level": 98, "bitspersample": 12} if lossy else {"reversible": True}))
        dataset.PixelData = encapsulate([data])
        dataset["PixelData"].VR, dataset["PixelData"].is_undefined_length = "OB", True
        dataset.file_meta.TransferSyntaxUID = syntax
        dataset.save_as(file)
    (series,) = list_series(sorted(tmp_path.glob("*.dcm"))).series
    np.testing.assert_allclose(read_series(series.files).voxels, voxels, atol=120 if lossy else 0)
    assert series.notes == (("lossy compression has lost detail; use the original images if you have them",) * lossy)


def _compress_with_itk(pixels: np.ndarray, file: Path, kind: str) -> None:
    """Replace the pixels of a file by what ITK compresses: lossless JPEG or JPEG 2000."""
    writer, gdcm = itk.ImageFileWriter.New(itk.image_from_array(pixels)), itk.GDCMImageIO.New()
    gdcm.SetCompressionType(0 if kind == "JPEG" else 1)
    writer.SetImageIO(gdcm)
    writer.SetUseCompression(True)
    writer.SetFileName(str(file.with_suffix(".itk.dcm")))
    writer.Update()
    made, dataset = pydicom.dcmread(file.with_suffix(".itk.dcm")), pydicom.dcmread(file)
    dataset.PixelData = made.PixelData
    dataset["PixelData"].is_undefined_length = True
    dataset.file_meta.TransferSyntaxUID = made.file_meta.TransferSyntaxUID
    dataset.save_as(file)
    file.with_suffix(".itk.dcm").unlink()


def test_a_compression_that_nothing_here_decodes_is_refused_with_a_remedy(tmp_path: Path) -> None:
    files = write_series(tmp_path)
    for file in files:
        dataset = pydicom.dcmread(file)
        dataset.file_meta.TransferSyntaxUID = pydicom.uid.MPEG2MPML
        dataset.PixelData = pydicom.encaps.encapsulate([b"x" * 100])
        dataset["PixelData"].is_undefined_length = True
        dataset.save_as(file)
    with pytest.raises(InputError, match=r"is compressed as MPEG2.*cannot be decoded here; export it without"):
        read_series(files)


def test_oblique_slices_lie_where_their_positions_say(tmp_path: Path) -> None:
    turn = np.array([[0, 1, 0], [0.6, 0, -0.8]])
    normal = np.cross(*turn)
    files = write_series(
        tmp_path,
        FLAIR,
        ImageOrientationPatient=list(turn.ravel()),
        ImagePositionPatient=lambda z: list(np.array([5.0, -7, 9]) - normal * DEPTH * z),
    )
    volume = read_series(files)
    np.testing.assert_array_equal(volume.voxels, FLAIR[..., ::-1])
    place = (np.array([5.0, -7, 9]) - normal * DEPTH * 7 + turn[0] * SPACING * 3 + turn[1] * SPACING * 4)[:3]
    np.testing.assert_allclose((volume.affine @ [3, 4, 0, 1])[:3], place * [-1, -1, 1], atol=1e-4)


@pytest.mark.parametrize(
    ("values", "said"),
    [
        ({"PixelSpacing": [4.0, 3.0]}, "another pixel spacing"),
        ({"Rows": 24, "Columns": 96}, "another size"),
        ({"ImagePositionPatient": [30.0, 0, 40]}, "30 mm beside the line"),
        ({"ImagePositionPatient": None}, "has no position"),
        ({"RescaleSlope": 0, "RescaleIntercept": 0}, "rescale slope is 0"),
    ],
)
def test_a_slice_unlike_the_others_is_refused_by_name(values: dict[str, Any], said: str, tmp_path: Path) -> None:
    files = write_series(tmp_path)
    change(files[4], **values)
    with pytest.raises(InputError, match=f"IM000004.*{said}"):
        read_series(files)


def test_slices_without_positions_are_ordered_by_number(tmp_path: Path) -> None:
    files = write_series(
        tmp_path, FLAIR, ImagePositionPatient=None, ImageOrientationPatient=None, InstanceNumber=lambda z: 8 - z
    )
    volume = read_series(files)
    np.testing.assert_array_equal(volume.voxels, FLAIR[..., ::-1])
    assert volume.spacing.tolist() == [SPACING, SPACING, DEPTH]


def test_one_slice_is_a_volume_as_thick_as_it_says(tmp_path: Path) -> None:
    volume = read_series(write_series(tmp_path, FLAIR[..., 3:4], PixelSpacing=[2.0, 3.0]))
    assert volume.voxels.shape == (48, 48, 1)
    assert volume.spacing.tolist() == [3, 2, DEPTH]


def test_without_a_spacing_nothing_is_in_millimetres(tmp_path: Path) -> None:
    files = write_series(tmp_path, FLAIR, PixelSpacing=None)
    assert not read_series(files).spacing_known


def test_frames_keep_their_place_in_the_file(tmp_path: Path) -> None:
    frames = order_frames([write_enhanced(tmp_path / "x.dcm", FLAIR, JUMBLED)])
    assert [JUMBLED[frame.index or 0] for frame in frames] == list(range(8))


def test_a_file_without_the_mark_and_without_its_syntax_is_read(tmp_path: Path) -> None:
    files = write_series(tmp_path)
    for file in files:
        dataset = pydicom.dcmread(file)
        del dataset.file_meta
        dataset.preamble = None
        dataset.save_as(file, implicit_vr=True, little_endian=True, enforce_file_format=False)
        assert file.read_bytes()[:2] == b"\x08\x00"
    np.testing.assert_array_equal(read_series(files).voxels, FLAIR)


def test_slices_without_positions_and_without_numbers_are_refused(tmp_path: Path) -> None:
    nowhere: dict[str, Any] = {"ImagePositionPatient": None, "ImageOrientationPatient": None}
    for number in (None, 1):
        files = write_series(tmp_path / str(number), InstanceNumber=number, **nowhere)
        with pytest.raises(InputError, match="has no position, and no other number than IM000000.dcm"):
            read_series(files)
