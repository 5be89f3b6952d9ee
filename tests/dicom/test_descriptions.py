"""What a series' description says of its contrast, and that it says nothing of the person."""

from __future__ import annotations

from typing import Any

import pytest
from pydicom.dataset import Dataset

from monai_brainseg.dicom.descriptions import (
    clean_description,
    find_contrast,
    list_personal,
    name_series,
    says_something,
)


@pytest.mark.parametrize(
    ("description", "echo", "inversion", "contrast"),
    [
        ("Ax T2 FLAIR", 120, 2500, "flair"),
        ("AX FLAIR", None, None, "flair"),
        ("AX FLAIR", 0, 0, "flair"),
        ("t2_tirm_tra_dark-fluid", None, None, "flair"),
        ("T2 FLAIR +C after T1", 110, 2250, "flair"),
        ("CUBE T2FLAIR", 110, [1700], "flair"),
        ("Sag T1 FLAIR", None, None, "t1 flair"),
        ("SagT1FLAIR", None, None, "t1 flair"),
        ("t1_tirm_tra_dark-fluid", None, None, "t1 flair"),
        ("AX FLAIR", 9, None, "t1 flair"),
        ("AX FLAIR", "9.2", "2500", "t1 flair"),
        ("AX FLAIR", None, 860, "t1 flair"),
        ("AX T2 FLAIR", None, [750, 860], "t1 flair"),
        ("ax t2", 100, None, ""),
        ("t1 mprage", 3, 900, ""),
        ("", None, None, ""),
    ],
)
def test_flair_is_told_from_t1_weighted_flair(description: str, echo: Any, inversion: Any, contrast: str) -> None:
    found, reason = find_contrast(description, echo, inversion)
    assert found == contrast
    assert bool(reason) == (contrast == "t1 flair")


def make_header(**values: Any) -> Dataset:
    header = Dataset()
    for name, value in values.items():
        setattr(header, name, value)
    return header


@pytest.mark.parametrize(
    ("text", "left"),
    [
        ("SAG FLAIR Doe", "SAG FLAIR"),
        ("DOE^JANE FLAIR 03.02.1901", "FLAIR"),
        ("FLAIR 19010203 PID77", "FLAIR"),
        ("FLAIR_1901-02-03", "FLAIR"),
        ("T2 FLAIR 1.2.840.113619.2.55", "T2 FLAIR"),
        ("jane_FLAIR", "FLAIR"),
        ("ax FLAIR", "FLAIR"),
        ("relax FLAIR", "relax FLAIR"),
    ],
)
def test_a_description_loses_what_names_the_person(text: str, left: str) -> None:
    header = make_header(PatientName="Doe^Jane^Ax", PatientID="PID77", PatientBirthDate="19010203")
    assert clean_description(text, list_personal(header)) == left


@pytest.mark.parametrize(
    ("description", "number", "name"),
    [
        ("AX T2 FLAIR", "4", "AX_T2_FLAIR_4"),
        ("../FLAIR: a/b*?", "12", "FLAIR_a_b_12"),
        ("", "7", "7"),
        ("", "", "series"),
        ("Größe ±", "1", "Größe_1"),
    ],
)
def test_a_series_gives_a_name_for_a_file(description: str, number: str, name: str) -> None:
    assert name_series(description, number) == name


@pytest.mark.parametrize(
    ("folder", "says"),
    [
        ("study", True), ("patient_17", True), ("p01", True), ("0042", True), ("PT01", True), ("FLAIR", True),
        ("SE000000", False), ("ST000001", False), ("PT000002", False), ("00000017", False), ("A7F3C2D1", False),
        ("DICOM", False), ("Images", False), ("a", True), ("1.2.840.113619.2.5.1", False), ("series 12", False),
        ("MR_1.2.840.113619.2.5.1", False), ("Doe Jane", False), ("doe", False), ("PID77_FLAIR", False), ("", False),
    ],
)  # fmt: skip
def test_folders_of_media_and_of_persons_give_no_name(folder: str, says: bool) -> None:
    personal = list_personal(make_header(PatientName="Doe^Jane", PatientID="PID77"))
    assert says_something(folder, personal) is says
