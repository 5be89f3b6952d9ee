"""DICOM: a real series in, by ITK, and segmentation objects out, read by pydicom and highdicom."""

from __future__ import annotations

import gzip
import json
import shutil
import sys
import tarfile
from pathlib import Path

import highdicom
import nibabel as nib
import numpy as np
import pydicom
import pytest
from support.fixed_bundles import BRIGHT, bright_state, make_bundle

from monai_brainseg.cli.main import main
from monai_brainseg.dicom.headers import is_dicom
from monai_brainseg.dicom.series import Series, choose_series, list_series
from monai_brainseg.dicom.volumes import read_series
from monai_brainseg.errors import InputError
from monai_brainseg.inputs.search import find_studies
from monai_brainseg.prediction.dicom_masks import write_segmentation

real = pytest.mark.real_data
COUNT = 24


@pytest.fixture(scope="module")
def whole(shared: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A part of the real series, its middle slices."""
    folder = tmp_path_factory.mktemp("dicom") / "study"
    folder.mkdir()
    with tarfile.open(shared / "dicom" / "structural_t1.tar.xz") as archive:
        members = sorted((m for m in archive.getmembers() if m.name.endswith(".dcm")), key=lambda m: m.name)
        for member in members[180 : 180 + COUNT]:
            stream = archive.extractfile(member)
            assert stream is not None
            (folder / Path(member.name).name).write_bytes(stream.read())
    return folder


@pytest.fixture
def study(whole: Path, tmp_path: Path) -> Path:
    """A copy that a test may change."""
    return Path(shutil.copytree(whole, tmp_path / "study"))


def change(file: Path, **values: object) -> None:
    dataset = pydicom.dcmread(file)
    for name, value in values.items():
        setattr(dataset, name, value)
    dataset.save_as(file)


@real
def test_a_series_is_read_in_its_order_onto_the_scanners_grid(study: Path) -> None:
    # Names in another order than the slices.
    files = sorted(study.iterdir())
    for number, file in enumerate(files):
        file.rename(study / f"{(number * 7) % COUNT:03d}")
    (series,) = list_series(study.iterdir()).series
    volume = read_series(series.files)
    by_place = sorted((pydicom.dcmread(file) for file in study.iterdir()), key=_measure_place)
    expected = np.stack([dataset.pixel_array for dataset in by_place]).transpose(2, 1, 0)
    np.testing.assert_allclose(volume.voxels, expected)
    assert volume.spacing_known
    # The middle of a voxel by DICOM PS3.3 C.7.6.2.1.1, in LPS.
    for x, y, z in ((0, 0, 0), (5, 9, 3), (100, 30, COUNT - 1)):
        one = by_place[z]
        rows, columns = (float(length) for length in one.PixelSpacing)
        along = np.array(one.ImageOrientationPatient, float)
        place = np.array(one.ImagePositionPatient, float) + along[:3] * columns * x + along[3:] * rows * y
        np.testing.assert_allclose((volume.affine @ [x, y, z, 1])[:3] * [-1, -1, 1], place, atol=1e-3)


def _measure_place(dataset: pydicom.Dataset) -> float:
    along = np.array(dataset.ImageOrientationPatient, float)
    return float(np.array(dataset.ImagePositionPatient, float) @ np.cross(along[:3], along[3:]))


@real
def test_a_real_series_gives_nifti_and_a_segmentation_of_equal_geometry(
    study: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    bundle = make_bundle(tmp_path / "bundle", BRIGHT, bright_state(1.3))
    masks = tmp_path / "masks"
    assert main(["predict", str(study), "--bundle", str(bundle), "--output", str(masks)]) == 0
    mask = nib.load(masks / "study.nii.gz")
    voxels = np.asarray(mask.dataobj)
    (series,) = list_series(study.iterdir()).series
    volume = read_series(series.files)
    assert voxels.any()
    assert voxels.shape == volume.voxels.shape
    assert np.allclose(mask.affine, volume.affine, atol=1e-4)

    segmentation = highdicom.seg.segread(masks / "study.dcm")
    sources = [pydicom.dcmread(file) for file in series.files]
    again = segmentation.get_pixels_by_source_instance([one.SOPInstanceUID for one in sources], combine_segments=True)
    assert np.array_equal(again.transpose(2, 1, 0), voxels)
    geometry = segmentation.get_volume(combine_segments=True)
    corner = geometry.affine @ [0, 0, 0, 1]
    places = [(volume.affine @ [0, 0, z, 1])[:3] * [-1, -1, 1] for z in range(COUNT)]
    assert min(np.abs(corner[:3] - place).max() for place in places) < 1e-3
    assert sorted(geometry.spacing) == pytest.approx(sorted(np.linalg.norm(volume.affine[:3, :3], axis=0)), abs=1e-4)

    plain = pydicom.dcmread(masks / "study.dcm")
    assert plain.Modality == "SEG"
    assert plain.FrameOfReferenceUID == sources[0].FrameOfReferenceUID
    assert plain.StudyInstanceUID == sources[0].StudyInstanceUID
    referred = {one.ReferencedSOPInstanceUID for one in plain.ReferencedSeriesSequence[0].ReferencedInstanceSequence}
    assert referred == {one.SOPInstanceUID for one in sources}

    record = json.loads((masks / "run.json").read_text())
    assert "does not say FLAIR" in record["cases"][0]["warnings"][0]
    assert record["cases"][0]["tumor_ml"] > 0
    said = "".join(capsys.readouterr()) + json.dumps(record)
    assert "Jane" not in said
    assert b"Jane" not in gzip.decompress((masks / "study.nii.gz").read_bytes())


@real
def test_a_segmentation_is_made_by_the_same_command_once_highdicom_is_there(
    study: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    bundle = make_bundle(tmp_path / "bundle", BRIGHT, bright_state(1.3))
    words = ["predict", str(study), "--bundle", str(bundle), "--output", str(tmp_path / "masks")]
    with monkeypatch.context() as without:
        without.setitem(sys.modules, "highdicom", None)
        assert main(words) == 0
    assert not (tmp_path / "masks" / "study.dcm").exists()
    assert main(words) == 0
    assert (tmp_path / "masks" / "study.dcm").is_file()


@real
def test_an_empty_mask_is_a_segmentation_too(study: Path, tmp_path: Path) -> None:
    (series,) = list_series(study.iterdir()).series
    shape = read_series(series.files).voxels.shape
    write_segmentation(np.zeros(shape, bool), series.files, tmp_path / "x.dcm", "network")
    assert not highdicom.seg.segread(tmp_path / "x.dcm").pixel_array.any()


@real
def test_of_several_series_flair_is_chosen_or_the_one_asked_for(study: Path) -> None:
    for number, file in enumerate(sorted(study.iterdir())):
        if number >= COUNT // 2:
            change(file, SeriesInstanceUID="1.2.3", SeriesNumber=7, SeriesDescription="AX T2 FLAIR")
    assert len(list_series(study.iterdir()).series) == 2
    (chosen,) = find_studies([study]).cases
    assert len(chosen.images["flair"]) == COUNT // 2
    assert chosen.notes == ()
    (asked,) = find_studies([study], series="401").cases
    assert asked.images["flair"] != chosen.images["flair"]
    assert find_studies([study], series="anat").cases == [asked]


@real
def test_slices_that_are_missing_or_mixed_are_refused(study: Path) -> None:
    files = sorted(study.iterdir())
    held = files[10].read_bytes()
    files[10].unlink()
    (series,) = list_series(study.iterdir()).series
    with pytest.raises(InputError, match="slices are missing"):
        read_series(series.files)
    files[10].write_bytes(held)
    shutil.copy(files[3], study / "again.dcm")
    change(study / "again.dcm", SOPInstanceUID="1.2.3", PixelData=pydicom.dcmread(files[4]).PixelData)
    (series,) = list_series(study.iterdir()).series
    with pytest.raises(InputError, match="mixed series"):
        read_series(series.files)


@real
def test_a_truncated_file_is_refused(study: Path, tmp_path: Path) -> None:
    file = sorted(study.iterdir())[5]
    (series,) = list_series(study.iterdir()).series
    file.write_bytes(file.read_bytes()[:3000])
    with pytest.raises(InputError, match="cannot be read as DICOM"):
        read_series(series.files)
    file.write_bytes(b"")
    with pytest.raises(InputError, match="cannot be read as DICOM"):
        read_series(series.files)


@real
def test_files_without_an_ending_are_dicom_by_their_mark(study: Path, tmp_path: Path) -> None:
    file = sorted(study.iterdir())[0]
    assert is_dicom(file)
    assert is_dicom(file.rename(study / "IM0001"))
    assert not is_dicom(_write(tmp_path / "README", b"x" * 200))
    assert not is_dicom(_write(tmp_path / "x.txt", b"x" * 200))


def _write(file: Path, content: bytes) -> Path:
    file.write_bytes(content)
    return file


def _make(number: str, description: str, contrast: str = "") -> Series:
    return Series(("study",), f"1.{number}", number, description, (Path("x"),), contrast)


def test_a_choice_that_is_not_clear_lists_what_there_is() -> None:
    t1, t2, flair = _make("3", "t1 mprage"), _make("4", "t2 tse"), _make("5", "t2_tirm_tra_dark-fluid", "flair")
    assert choose_series([t1, t2, flair], None, Path("x")) is flair
    assert choose_series([t1], None, Path("x")) is t1
    assert choose_series([t1, t2, flair], "T2 TSE", Path("x")) is t2
    assert choose_series([t1, t2], "1.4", Path("x")) is t2
    with pytest.raises(InputError, match=r"2 series match \(the folder has: 3: t1 mprage \(1 file\); 4: t2 tse"):
        choose_series([t1, t2], None, Path("x"))
    with pytest.raises(InputError, match=r"no series matches '9'.*--series NUMBER"):
        choose_series([t1, t2], "9", Path("x"))
