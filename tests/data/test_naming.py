"""Names as data sets spell them."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from monai_brainseg.data.naming import T1_FLAIR, find_role, find_site, find_subject, read_name
from monai_brainseg.files import clean_name


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
        ("ADC", "unused"),
        ("T2star", "unused"),
        ("eFLAIR", "flair"),
        ("MP2RAGE", "pre"),
        ("CT", None),
    ],
)
def test_sequences_are_known_by_every_spelling(name: str, role: str | None) -> None:
    assert find_role(name) == role


@pytest.mark.parametrize(
    ("stem", "role", "before", "after"),
    [
        ("x_T2_FLAIR", "flair", "x", ""),
        ("x-t2-flair", "flair", "x", ""),
        ("x T1 post", "post", "x", ""),
        ("x.T1.post", "post", "x", ""),
        ("x_T1ce", "post", "x", ""),
        ("x_T1_c", "post", "x", ""),
        ("x_T1+C", "post", "x", ""),
        ("X_T1GD", "post", "X", ""),
        ("x_T1w_contrast", "post", "x", ""),
        ("sub-01_ce-gadolinium_T1w", "post", "sub-01", ""),
        ("x_T1_MPRAGE_Gd", "post", "x", ""),
        ("x_MPRAGE_post", "post", "x", ""),
        ("x_T1_MPR_KM", "post", "x", "MPR"),
        ("x_T1_Gadovist", "post", "x", ""),
        ("x_T1_dotarem", "post", "x", ""),
        ("x_T1_plus_C", "post", "x", "plus"),
        ("x_T1_with_contrast", "post", "x", "with"),
        ("x_dark_fluid", "flair", "x", ""),
        ("x_T1_to_FLAIR", "pre", "x", "to_FLAIR"),
        ("x_T1_post_in_FLAIR_space", "post", "x", "in_FLAIR_space"),
        ("x_FLAIR_to_T1", "flair", "x", "to_T1"),
        ("sub-01_space-T1w_FLAIR", "flair", "sub-01", ""),
        ("x_FLAIR_space-T1w", "flair", "x", "space-T1w"),
        ("x_T1_and_FLAIR_gt", "label", "x", "and"),
        ("x_FLAIR_lesion", "label", "x", ""),
        ("x_FLAIR_roi", "label", "x", ""),
        ("lesion_FLAIR", "flair", "lesion", ""),
        ("brain_tumor", None, "brain_tumor", ""),
        ("post-contrast_T1", "post", "", ""),
        ("x_T1_non_contrast", "pre", "x", ""),
        ("x_T1_pre_contrast", "pre", "x", ""),
        ("x_T1_native", "pre", "x", ""),
        ("AX_T1", "pre", "", ""),
        ("x_T1w_FLAIR", T1_FLAIR, "x", ""),
        ("Sag T1 FLAIR", T1_FLAIR, "", ""),
        ("x_T1FLAIR", T1_FLAIR, "x", ""),
        ("t2_tirm_tra_dark-fluid", "flair", "", "tirm_tra"),
        ("x_T2FSE", "unused", "x", ""),
        ("x_T1ce_brain", "post", "x", "brain"),
        ("x_FLAIR_mask", "label", "x", ""),
        ("x_FLAIR_seg", "label", "x", ""),
        ("BraTS-001-t2f", "flair", "BraTS-001", ""),
        ("t1_and_flair", None, "t1_and_flair", ""),
        ("t1_t2", None, "t1_t2", ""),
        ("flairs", None, "flairs", ""),
        # Initials and visits of people are no contrast.
        ("CE_FLAIR", "flair", "CE", ""),
        ("C_T1", "pre", "C", ""),
        ("GD_12_T1", "pre", "GD_12", ""),
        ("pre_12_FLAIR", "flair", "pre_12", ""),
        ("CE_12", None, "CE_12", ""),
    ],
)
def test_words_of_a_name_say_the_sequence(stem: str, role: str | None, before: str, after: str) -> None:
    said = read_name(stem)
    assert (said.role, said.before, said.after) == (role, before, after)


@given(st.text())
def test_every_name_is_read(stem: str) -> None:
    assert stem.startswith(read_name(stem).before)


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
