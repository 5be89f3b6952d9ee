"""Names as data sets spell them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monai_brainseg.data.naming import clean_name, find_role, find_site, find_subject


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("T1", "pre"),
        ("T1w", "pre"),
        ("t1n", "pre"),
        ("FLAIR", "flair"),
        ("T2-FLAIR", "flair"),
        ("t2f", "flair"),
        ("T1Gd", "post"),
        ("T1-Gd", "post"),
        ("t1ce", "post"),
        ("T1c", "post"),
        ("T2w", "unused"),
        ("ADC", None),
        ("CT", None),
    ],
)
def test_sequences_are_known_by_every_spelling(name: str, role: str | None) -> None:
    assert find_role(name) == role


@pytest.mark.parametrize(
    ("patient", "site", "subject"),
    [
        ("TCGA_CS_4942_19970222", "CS", "TCGA_CS_4942"),
        ("TCGA-HT-A61A", "HT", "TCGA-HT-A61A"),
        ("Brats17_TCIA_101_1", "TCIA", "Brats17_TCIA_101_1"),
        ("Brats19_Validation_001", "unknown", "Brats19_Validation_001"),
        ("BraTS2021_00495", "unknown", "BraTS2021_00495"),
        ("BraTS-GLI-00005-100", "unknown", "BraTS-GLI-00005"),
        ("patient-12345-100", "unknown", "patient-12345-100"),
    ],
)
def test_site_and_person(patient: str, site: str, subject: str) -> None:
    assert (find_site(patient), find_subject(patient)) == (site, subject)


@pytest.mark.parametrize(
    ("name", "clean"), [("a b", "a b"), ("José", "José"), ("a:b*", "a-b-"), (".a. ", "a"), ("..", "unnamed")]
)
def test_name_becomes_a_file_name(name: str, clean: str) -> None:
    assert clean_name(name) == clean


@given(st.text())
def test_no_name_leaves_its_folder_or_hides(name: str) -> None:
    clean = clean_name(name)
    assert clean
    assert not clean.startswith(".")
    assert not set(clean) & set("/\\:\0\n")
    assert clean_name(clean) == clean
