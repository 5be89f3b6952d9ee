"""DICOM as people have it: media, exports, copies, studies without UIDs, other objects beside the images."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pydicom
import pytest
from pydicom import uid
from support.dicom_files import (
    PERSON,
    change,
    draw_flair,
    make_uid,
    write_enhanced,
    write_other,
    write_series,
)
from support.fixed_bundles import read_mask

from monai_brainseg.dicom.volumes import read_series
from monai_brainseg.errors import InputError
from monai_brainseg.inputs.search import find_studies, join_sequences

FLAIR = draw_flair()
T1: dict[str, Any] = {"series": "t1", "SeriesNumber": 3, "SeriesDescription": "AX T1"}


def read_voxels(case: Any) -> np.ndarray:
    return read_series(case.images["flair"]).voxels


def test_frames_out_of_order_give_the_mask_and_the_segmentation_of_the_slices(
    predict: Callable[..., Any], tmp_path: Path
) -> None:
    write_series(tmp_path / "in" / "single")
    file = tmp_path / "in" / "many" / "x.dcm"
    write_enhanced(file, FLAIR, [3, 0, 7, 1, 6, 2, 5, 4], StudyInstanceUID=make_uid("many"))
    record = predict(tmp_path / "in")
    assert [case["warnings"] for case in record["cases"]] == [[], []]
    single, many = (read_mask(tmp_path / "masks" / f"{name}.nii.gz") for name in ("single", "many"))
    assert single.any()
    np.testing.assert_array_equal(many, single)
    made = pydicom.dcmread(tmp_path / "masks" / "many.dcm")
    places = [
        float(frame.PlanePositionSequence[0].ImagePositionPatient[2]) for frame in made.PerFrameFunctionalGroupsSequence
    ]
    pixels = made.pixel_array.reshape(-1, 48, 48)
    for place, frame in zip(places, pixels, strict=True):
        np.testing.assert_array_equal(frame.T, many[..., round(place / 10)])


def test_frames_that_are_there_twice_are_refused(
    predict: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_enhanced(tmp_path / "in" / "x.dcm", FLAIR, [*range(8), *range(8)])
    predict(tmp_path / "in", code=1)
    assert "frame 9: has the position of frame 1" in capsys.readouterr().err


@pytest.mark.parametrize("values", [{"SeriesDescription": "Sag T1 FLAIR"}, {"EchoTime": 9, "InversionTime": 860}])
def test_t1_weighted_flair_is_not_taken_for_flair(
    values: dict[str, Any], predict: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_series(tmp_path / "in", series="t1", **{"SeriesNumber": 3, **values})
    (case,) = predict(tmp_path / "in")["cases"]
    assert "is T1-weighted" in case["warnings"][0]
    assert "is T1-weighted" in capsys.readouterr().out
    write_series(tmp_path / "in" / "b", EchoTime=120, InversionTime=2500)
    (study,) = find_studies([tmp_path / "in"]).cases
    assert {file.parent.name for file in study.images["flair"]} == {"b"}
    assert (study.notes, study.doubts) == ((), ())
    assert study.told.startswith("its description, 4: AX T2 FLAIR (8 files")
    (reason,) = [reason for reason, files in find_studies([tmp_path / "in"]).left_out.items() if len(files) == 8]
    assert reason.startswith("are of another series (3: ")


@pytest.mark.parametrize("ending", [".dcm", ".DCM", ".Dcm", "", ".IMA", ".17", ".mr"])
def test_endings_do_not_matter(ending: str, tmp_path: Path) -> None:
    write_series(tmp_path / "in", ending=ending)
    (case,) = find_studies([tmp_path / "in"]).cases
    np.testing.assert_array_equal(read_voxels(case), FLAIR)
    (again,) = find_studies(sorted((tmp_path / "in").iterdir())).cases
    assert again.patient == case.patient == "in"


def write_directory(folder: Path) -> None:
    """Write the DICOMDIR of a medium with pydicom's ``FileSet``, which copies the files to folders of its own."""
    from pydicom.fileset import FileSet

    files = FileSet()
    for file in sorted((folder / "source").rglob("*.dcm")):
        files.add(file)
    files.write(folder / "medium")
    shutil.rmtree(folder / "source")


def test_a_medium_gives_masks_named_by_the_series(
    predict: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_series(tmp_path / "source", SeriesDescription="AX T2 FLAIR Quentina")
    write_series(tmp_path / "source" / "t1", **T1)
    write_directory(tmp_path)
    assert (tmp_path / "medium" / "DICOMDIR").is_file()
    (case,) = predict(tmp_path / "medium")["cases"]
    assert case["case"] == "AX_T2_FLAIR_4"
    assert case["warnings"] == []
    assert "DICOMDIR" in capsys.readouterr().out
    np.testing.assert_array_equal(read_mask(tmp_path / "masks" / "AX_T2_FLAIR_4.nii.gz").shape, FLAIR.shape)


def test_studies_of_one_description_get_different_names_without_a_person(tmp_path: Path) -> None:
    for number in (1, 2):
        folder = tmp_path / f"PT00000{number}" / "Zyxwvut" / "ST000000" / "SE000000"
        write_series(folder, series=str(number), StudyInstanceUID=make_uid(number))
        folder = tmp_path / f"p{number}" / "SE000000"
        write_series(folder, series=f"p{number}", StudyInstanceUID=make_uid("p", number), SeriesNumber=9)
    names = {case.patient for case in find_studies([tmp_path]).cases}
    assert names == {"PT000001_AX_T2_FLAIR_4", "PT000002_AX_T2_FLAIR_4", "p1_AX_T2_FLAIR_9", "p2_AX_T2_FLAIR_9"}


def test_a_series_in_two_folders_is_one(tmp_path: Path) -> None:
    files = write_series(tmp_path / "a")
    (tmp_path / "b").mkdir()
    for file in files[::2]:
        shutil.move(file, tmp_path / "b")
    (case,) = find_studies([tmp_path]).cases
    np.testing.assert_array_equal(read_voxels(case), FLAIR)
    assert case.notes == ()


def test_equal_copies_count_once(predict: Callable[..., Any], tmp_path: Path) -> None:
    write_series(tmp_path / "in" / "a")
    shutil.copytree(tmp_path / "in" / "a", tmp_path / "in" / "copy")
    (case,) = predict(tmp_path / "in")["cases"]
    assert case["warnings"] == ["8 images are there twice with equal pixels and counted once (IM000000.dcm)"]
    assert len(case["input"]) == 8


def test_one_slice_that_is_there_twice_is_used_and_said(predict: Callable[..., Any], tmp_path: Path) -> None:
    files = write_series(tmp_path / "in")
    again = Path(shutil.copy(files[3], tmp_path / "in" / "again.dcm"))
    change(again, SOPInstanceUID=make_uid("again"), InstanceNumber=99)
    (case,) = predict(tmp_path / "in")["cases"]
    assert "1 image is there twice with equal pixels and counted once" in case["warnings"][0]
    assert read_mask(tmp_path / "masks" / "in.nii.gz").shape == FLAIR.shape


def test_a_slice_that_is_there_twice_with_other_pixels_is_refused(tmp_path: Path) -> None:
    files = write_series(tmp_path / "in")
    again = Path(shutil.copy(files[3], tmp_path / "in" / "again.dcm"))
    change(again, PixelData=pydicom.dcmread(files[4]).PixelData)
    (case,) = find_studies([tmp_path / "in"]).cases
    with pytest.raises(InputError, match="has the position of"):
        read_voxels(case)


def test_copies_that_differ_are_offered_by_their_folder(tmp_path: Path) -> None:
    write_series(tmp_path / "in" / "original")
    write_series(tmp_path / "in" / "defaced", draw_flair(seed=1))
    (error,) = find_studies([tmp_path / "in"]).bad.values()
    assert "4.1: AX T2 FLAIR (8 files, in in/defaced); 4.2: AX T2 FLAIR (8 files, in in/original)" in str(error)
    (case,) = find_studies([tmp_path / "in"], series="4.2").cases
    np.testing.assert_array_equal(read_voxels(case), FLAIR)


@pytest.mark.parametrize(
    ("values", "said"),
    [({"EchoTime": 120}, "echo time 120"), ({"ImageType": ["DERIVED", "SECONDARY", "M"]}, "image type DERIVED/SEC")],
)
def test_volumes_of_one_series_are_offered_by_what_differs(values: dict[str, Any], said: str, tmp_path: Path) -> None:
    first: dict[str, Any] = {"EchoTime": 90, "ImageType": ["ORIGINAL", "PRIMARY", "M"]}
    write_series(tmp_path / "in", **first)
    for number, file in enumerate(write_series(tmp_path / "more", draw_flair(seed=1), **(first | values))):
        change(file, SOPInstanceUID=make_uid("more", number))
        shutil.move(file, tmp_path / "in" / f"b{file.name}")
    (error,) = find_studies([tmp_path / "in"]).bad.values()
    assert f", {said}" in str(error)
    cases = [find_studies([tmp_path / "in"], series=choice).cases[0] for choice in ("4.1", "4.2")]
    assert sorted(len(case.images["flair"]) for case in cases) == [8, 8]
    assert {read_voxels(case).sum() for case in cases} == {FLAIR.sum(), draw_flair(seed=1).sum()}


def test_series_of_one_number_are_offered_with_what_tells_them_apart(tmp_path: Path) -> None:
    write_series(tmp_path / "in" / "a", series="a")
    write_series(tmp_path / "in" / "b", series="b", SeriesDescription="SAG FLAIR")
    write_series(tmp_path / "in" / "c", **T1)
    (error,) = find_studies([tmp_path / "in"]).bad.values()
    assert (
        "2 series match (the folder has: 3: AX T1 (8 files); 4.1: AX T2 FLAIR (8 files, in a); "
        "4.2: SAG FLAIR (8 files, in b)); choose one with --series NUMBER, as listed" in str(error)
    )
    for choice, folder in (("3", "c"), ("4.1", "a"), ("4.2", "b"), ("SAG", "b")):
        (case,) = find_studies([tmp_path / "in"], series=choice).cases
        assert case.images["flair"][0].parent.name == folder


@pytest.mark.parametrize(
    "second",
    [
        {"PatientID": "other", "PatientName": "A^B"},
        {"PatientName": "A^B"},
        {"StudyDate": "20210101"},
        {"FrameOfReferenceUID": make_uid("another frame")},
    ],
)
@pytest.mark.parametrize("apart", [True, False])
def test_persons_and_studies_without_a_study_uid_are_kept_apart(
    second: dict[str, Any], apart: bool, tmp_path: Path
) -> None:
    write_series(tmp_path / "in" / "a", StudyInstanceUID=None)
    more = write_series(tmp_path / "in" / "b", draw_flair(seed=1), series="b", StudyInstanceUID=None, **second)
    if not apart:
        for file in more:
            shutil.move(file, tmp_path / "in" / "a" / f"b{file.name}")
    cases = find_studies([tmp_path / "in"]).cases
    assert len(cases) == 2
    assert {read_voxels(case).sum() for case in cases} == {FLAIR.sum(), draw_flair(seed=1).sum()}


@pytest.mark.parametrize("lost", [("StudyInstanceUID",), ("StudyInstanceUID", "SeriesInstanceUID", *PERSON)])
def test_folders_without_uids_are_studies(lost: tuple[str, ...], tmp_path: Path) -> None:
    for number in (1, 2):
        missing: dict[str, Any] = dict.fromkeys(lost)
        write_series(tmp_path / f"p{number}", draw_flair(seed=number), series=str(number), **missing)
    assert [case.patient for case in find_studies([tmp_path]).cases] == ["p1", "p2"]


def test_two_persons_of_one_study_uid_are_kept_apart(tmp_path: Path) -> None:
    write_series(tmp_path / "a")
    write_series(tmp_path / "b", PatientID="other")
    assert [case.patient for case in find_studies([tmp_path]).cases] == ["a", "b"]


OTHERS = {
    "RT Dose": uid.RTDoseStorage,
    "RT Structure Set": uid.RTStructureSetStorage,
    "Basic Text SR": uid.BasicTextSRStorage,
    "Encapsulated PDF": uid.EncapsulatedPDFStorage,
    "Secondary Capture Image": uid.SecondaryCaptureImageStorage,
    "Segmentation": uid.SegmentationStorage,
    "MR Spectroscopy": uid.MRSpectroscopyStorage,
    "CT Image": uid.CTImageStorage,
    "private object": "1.3.46.670589.11.0.0.12.2",
}


@pytest.mark.parametrize("same_series", [True, False])
def test_other_objects_beside_the_images_are_left_out(
    same_series: bool, predict: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_series(tmp_path / "in")
    for number, kind in enumerate(OTHERS.values()):
        series = make_uid("series", "a") if same_series else make_uid("other series", number)
        write_other(tmp_path / "in" / f"other{number}.dcm", kind, SeriesInstanceUID=series)
    (case,) = predict(tmp_path / "in")["cases"]
    assert case["warnings"] == []
    said = "".join(capsys.readouterr())
    assert "Traceback" not in said
    for name in OTHERS:
        assert f"they are not MR images ({name}" in said
    shutil.rmtree(tmp_path / "masks")
    for file in (tmp_path / "in").glob("IM*"):
        file.unlink()
    with pytest.raises(
        InputError, match=r"holds no study \(1 left out, because they are not MR images \(RT Dose Storage\)\)"
    ):
        find_studies([tmp_path / "in"])


def test_a_damaged_file_beside_the_images_is_said(predict: Callable[..., Any], tmp_path: Path) -> None:
    write_series(tmp_path / "in")
    (tmp_path / "in" / "empty.dcm").write_bytes(b"")
    (tmp_path / "in" / "text.dcm").write_text("scan")
    (case,) = predict(tmp_path / "in")["cases"]
    assert case["warnings"] == ["empty.dcm beside it cannot be read as DICOM (2 in all)"]


def test_a_description_that_names_the_person_reaches_nothing(
    predict: Callable[..., Any], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    text = "Zyxwvut AX T2 19010203 PID778899"
    write_series(tmp_path / "in" / "SE000001", SeriesDescription=text)
    write_series(tmp_path / "two" / "SE000001", SeriesDescription=text, SeriesInstanceUID=make_uid("x"))
    write_series(tmp_path / "two" / "SE000002", SeriesDescription=text, SeriesNumber=7)
    record = predict(tmp_path / "in")
    predict(tmp_path / "two", code=1)
    said = "".join(capsys.readouterr()) + json.dumps(record)
    said += "".join(str(file) for file in (tmp_path / "masks").rglob("*"))
    said += "".join(file.read_text() for file in (tmp_path / "masks").rglob("*.json"))
    assert "AX T2" in said
    for secret in ("zyxwvut", "19010203", "pid778899", make_uid("x"), make_uid("study")):
        assert secret not in said.lower()


def test_a_file_that_cannot_be_read_is_refused_with_the_reason(tmp_path: Path) -> None:
    file = write_enhanced(tmp_path / "in" / "x.dcm")
    change(file, NumberOfFrames=30)
    found = find_studies([tmp_path / "in"])
    expected = "holds no DICOM image that can be read (x.dcm says 30 frames, but describes 8); export it again"
    assert str(found.bad["in"]) == f"{tmp_path / 'in'}: {expected}"


def test_what_was_noticed_of_each_sequence_that_is_named_is_kept(tmp_path: Path) -> None:
    write_series(tmp_path / "flair")
    write_series(tmp_path / "t1", **T1)
    shutil.copytree(tmp_path / "t1", tmp_path / "t1" / "copy")
    case = join_sequences(tmp_path / "flair", pre=tmp_path / "t1")
    assert case.notes == ("pre: 8 images are there twice with equal pixels and counted once (IM000000.dcm)",)
    assert (case.doubts, case.told) == ((), "--pre and --flair")
