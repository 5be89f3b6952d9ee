"""Each layout in the wild gives the same cases; what is not used is named."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable, Mapping
from pathlib import Path

import numpy as np
import pytest

from monai_brainseg.data.cases import Case
from monai_brainseg.data.layouts import find_cases
from monai_brainseg.errors import InputError

Make = Callable[..., Path]


def list_names(case: Case) -> dict[str, str]:
    """Return the name of the file of each role."""
    return {**{s: files[0].name for s, files in case.images.items()}, "label": case.label[0].name}


def write_dataset(folder: Path, names: Mapping[str, str], key: str = "channel_names") -> None:
    (folder / "dataset.json").write_text(json.dumps({key: names, "labels": {"background": 0, "tumor": 1}}))


def test_kaggle_slices_are_ordered_by_number(tmp_path: Path, make_slices: Make) -> None:
    make_slices(tmp_path, "TCGA_CS_4942_19970222", count=12)
    make_slices(tmp_path, "TCGA_HT_A61A_20000127", count=2)
    found = find_cases(tmp_path)
    assert found.layout == "kaggle_3m"
    assert [(c.patient, c.subject, c.site) for c in found.cases] == [
        ("TCGA_CS_4942_19970222", "TCGA_CS_4942", "CS"),
        ("TCGA_HT_A61A_20000127", "TCGA_HT_A61A", "HT"),
    ]
    first = found.cases[0]
    assert [file.name for file in first.images["pre"]] == [f"TCGA_CS_4942_19970222_{n}.tif" for n in range(1, 13)]
    assert [file.name for file in first.label] == [f"TCGA_CS_4942_19970222_{n}_mask.tif" for n in range(1, 13)]
    assert first.channels == {"pre": 0, "flair": 1, "post": 2}
    assert not found.bad


def test_archive_that_holds_the_tree_twice_counts_each_patient_once(tmp_path: Path, make_slices: Make) -> None:
    for patient in ("TCGA_CS_1", "TCGA_CS_2"):
        make_slices(tmp_path / "kaggle_3m", patient)
    shutil.copytree(tmp_path / "kaggle_3m", tmp_path / "lgg-mri-segmentation" / "kaggle_3m")
    (tmp_path / "kaggle_3m" / "data.csv").write_text("Patient\n")
    hidden = tmp_path / "kaggle_3m" / "TCGA_CS_1" / "._TCGA_CS_1_4.tif"
    hidden.write_bytes(b"of a Mac")
    found = find_cases(tmp_path)
    assert [case.images["flair"][0].parent for case in found.cases] == [
        tmp_path / "kaggle_3m" / "TCGA_CS_1",
        tmp_path / "kaggle_3m" / "TCGA_CS_2",
    ]
    copies = [str(tmp_path / "lgg-mri-segmentation" / "kaggle_3m" / patient) for patient in ("TCGA_CS_1", "TCGA_CS_2")]
    assert {reason: names for reason, names in found.left_out.items() if names} == {
        "are a second copy of a patient": copies,
        "belong to no patient": ["kaggle_3m/data.csv"],
    }
    assert not found.bad


@pytest.mark.parametrize("difference", ["one slice more", "a file of another size"])
def test_two_different_folders_of_one_patient_are_bad(difference: str, tmp_path: Path, make_slices: Make) -> None:
    make_slices(tmp_path / "a", "p")
    other = make_slices(tmp_path / "b", "p", count=4 if difference == "one slice more" else 3)
    if difference == "a file of another size":
        (other / "p_2.tif").write_bytes((other / "p_2.tif").read_bytes()[:-1])
    found = find_cases(tmp_path)
    assert not found.cases
    assert f"{tmp_path / 'b' / 'p'}: differs from {tmp_path / 'a' / 'p'}" in str(found.bad["p"])


@pytest.mark.parametrize(
    ("remove", "add", "message"),
    [
        (["p_2.tif"], [], "p_2_mask.tif: has no image"),
        (["p_2_mask.tif"], [], "p_2.tif: has no mask"),
        (["p_2.tif", "p_2_mask.tif"], [], "slice 2 of p is missing"),
        (["p_1.tif", "p_1_mask.tif"], [], "slice 1 of p is missing"),
        ([], ["p_03.tif"], "has the same number as"),
    ],
)
def test_slices_that_do_not_pair_or_leave_a_gap_are_bad(
    remove: list[str], add: list[str], message: str, tmp_path: Path, make_slices: Make
) -> None:
    folder = make_slices(tmp_path, "p", count=4)
    make_slices(tmp_path, "whole")
    for name in remove:
        (folder / name).unlink()
    for name in add:
        shutil.copy(folder / "p_3.tif", folder / name)
    found = find_cases(tmp_path)
    assert [case.patient for case in found.cases] == ["whole"]
    assert message in str(found.bad["p"])
    assert str(folder) in str(found.bad["p"])


def test_slices_from_zero_and_png_and_one_folder_for_all(tmp_path: Path) -> None:
    for patient in ("a b", "é"):
        for number in range(3):
            (tmp_path / f"{patient}_{number}.png").touch()
            (tmp_path / f"{patient}_{number}_mask.png").touch()
    found = find_cases(tmp_path)
    assert [(case.patient, len(case.label)) for case in found.cases] == [("a b", 3), ("é", 3)]


OLD = {"pre": "t1", "post": "t1ce", "flair": "flair", "label": "seg"}
NEW = {"pre": "t1n", "post": "t1c", "flair": "t2f", "label": "seg"}


@pytest.mark.parametrize(
    ("patient", "folder", "mark", "names", "ending", "site", "subject"),
    [
        ("Brats17_CBICA_AAB_1", "HGG/Brats17_CBICA_AAB_1", "_", OLD, ".nii.gz", "CBICA", "Brats17_CBICA_AAB_1"),
        ("Brats18_2013_2_1", "LGG/Brats18_2013_2_1", "_", OLD, ".nii.gz", "2013", "Brats18_2013_2_1"),
        ("BraTS20_Training_001", "x/BraTS20_Training_001", "_", OLD, ".nii", "unknown", "BraTS20_Training_001"),
        ("BraTS2021_00495", "BraTS2021_00495", "_", OLD, ".nii.gz", "unknown", "BraTS2021_00495"),
        ("BraTS-GLI-00005-100", "BraTS-GLI-00005-100", "-", NEW, ".nii.gz", "unknown", "BraTS-GLI-00005"),
    ],
)
def test_brats_of_every_generation(
    patient: str, folder: str, mark: str, names: dict[str, str], ending: str, site: str, subject: str, tmp_path: Path
) -> None:
    files = {role: f"{patient}{mark}{name}{ending}" for role, name in names.items()}
    other = f"{patient}{mark}{'t2' if mark == '_' else 't2w'}{ending}"
    (tmp_path / folder).mkdir(parents=True)
    for name in (*files.values(), other):
        (tmp_path / folder / name).touch()
    (tmp_path / "survival.csv").touch()
    found = find_cases(tmp_path)
    (case,) = found.cases
    assert found.layout == "brats"
    assert (case.patient, case.site, case.subject) == (patient, site, subject)
    assert list_names(case) == files
    assert found.left_out["are not a sequence that the networks use"] == [other]
    assert found.left_out["belong to no patient"] == ["survival.csv"]


def test_brats_case_without_mask_or_flair_or_with_two_is_bad(tmp_path: Path) -> None:
    for name in ("a_flair", "a_seg", "b_flair", "c_seg", "d_t1", "d_seg", "x/e_flair", "y/e_flair", "e_seg"):
        file = tmp_path / f"{name}.nii.gz"
        file.parent.mkdir(exist_ok=True)
        file.touch()
    found = find_cases(tmp_path)
    assert [case.patient for case in found.cases] == ["a"]
    assert found.bad.keys() == set("bcde")
    assert "b_flair.nii.gz: b has no mask; add it" in str(found.bad["b"])
    assert "c_seg.nii.gz: c has no image" in str(found.bad["c"])
    assert "d has no FLAIR" in str(found.bad["d"])
    assert "y/e_flair.nii.gz: is a second flair of e" in str(found.bad["e"])


def test_nnunet_channels_are_named_by_its_record(tmp_path: Path) -> None:
    write_dataset(tmp_path, {"0": "T2-FLAIR", "1": "T1-Gd", "2": "T2w", "3": "ADC"})
    for name in ("imagesTr/p 1_0000", "imagesTr/p 1_0001", "imagesTr/p 1_0002", "imagesTr/p 1_0003", "labelsTr/p 1"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / f"{name}.nii.gz").touch()
    (tmp_path / "imagesTs").mkdir()
    (tmp_path / "imagesTs" / "q_0000.nii.gz").touch()
    found = find_cases(tmp_path)
    assert found.layout == "nnunet"
    assert [list_names(case) for case in found.cases] == [
        {"flair": "p 1_0000.nii.gz", "post": "p 1_0001.nii.gz", "label": "p 1.nii.gz"}
    ]
    assert {reason: names for reason, names in found.left_out.items() if names} == {
        "are not a sequence that the networks use": ["p 1_0002.nii.gz", "p 1_0003.nii.gz"],
        "have no mask": ["q_0000.nii.gz"],
    }


def test_msd_channels_of_one_4d_file(tmp_path: Path) -> None:
    root = tmp_path / "Task01_BrainTumour"
    for name in ("imagesTr/BRATS_001", "imagesTr/BRATS_0002", "labelsTr/BRATS_001", "labelsTr/BRATS_0002"):
        (root / name).parent.mkdir(parents=True, exist_ok=True)
        (root / f"{name}.nii.gz").touch()
    (root / "imagesTr" / "._BRATS_001.nii.gz").touch()
    (root / "imagesTs").mkdir()
    (root / "imagesTs" / "BRATS_485.nii.gz").touch()
    write_dataset(root, {"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"}, "modality")
    found = find_cases(tmp_path)
    assert found.layout == "msd"
    assert not found.bad
    assert [case.patient for case in found.cases] == ["BRATS_0002", "BRATS_001"]
    assert list_names(found.cases[1]) == dict.fromkeys(("pre", "flair", "post", "label"), "BRATS_001.nii.gz")
    assert found.cases[1].images["flair"][0].parent.name == "imagesTr"
    assert found.cases[1].channels == {"flair": 0, "pre": 1, "post": 2, "unused": 3}
    assert found.left_out["are not a sequence that the networks use"] == ["T2w"]
    assert found.left_out["have no mask"] == ["BRATS_485.nii.gz"]


@pytest.mark.parametrize(
    "content", ["{", "[]", '{"channel_names": {"0": "T1"}}', '{"channel_names": {"a": "FLAIR"}}', "{}"]
)
def test_record_without_flair_is_refused(content: str, tmp_path: Path) -> None:
    for name in ("imagesTr/p_0000.nii.gz", "labelsTr/p.nii.gz"):
        (tmp_path / name).parent.mkdir()
        (tmp_path / name).touch()
    (tmp_path / "dataset.json").write_text(content)
    with pytest.raises(InputError, match=r"dataset\.json: (names no (channels|FLAIR)|is not valid JSON)"):
        find_cases(tmp_path)


@pytest.mark.parametrize(
    ("naming", "files"),
    [
        ("flair=*_FLAIR.nii.gz,label=*_seg.nii.gz", ["{}_FLAIR.nii.gz", "{}_seg.nii.gz"]),
        ("flair=*_FLAIR.nii.gz, label=*_seg.nii.gz", ["deep/er/{}_FLAIR.nii.gz", "{}_seg.nii.gz"]),
        ("flair=FLAIR.nii.gz,label=seg.nii.gz", ["{}/FLAIR.nii.gz", "{}/seg.nii.gz"]),
        ("flair=images/*.nii,label=masks/*.nii", ["images/{}.nii", "masks/{}.nii"]),
        ("flair=*/anat/*_FLAIR.nii,label=*/anat/*seg.nii", ["{}/anat/run-1_FLAIR.nii", "{}/anat/seg.nii"]),
        ("flair=sub-*_ses-*_FLAIR.nii,label=sub-*_seg.nii", ["sub-{}_ses-1_FLAIR.nii", "sub-{}_seg.nii"]),
    ],
)
def test_naming_patterns(naming: str, files: list[str], tmp_path: Path) -> None:
    for patient in ("a", "b c"):
        for name in files:
            file = tmp_path / name.format(patient)
            file.parent.mkdir(parents=True, exist_ok=True)
            file.touch()
    (tmp_path / "notes.txt").touch()
    found = find_cases(tmp_path, naming=naming)
    assert [case.patient for case in found.cases] == ["a", "b c"]
    assert list_names(found.cases[1]) == {
        "flair": Path(files[0].format("b c")).name,
        "label": Path(files[1].format("b c")).name,
    }
    assert not found.bad
    assert found.left_out["belong to no patient"] == ["notes.txt"]


@pytest.mark.parametrize(
    ("naming", "message"),
    [
        ("*_FLAIR.nii.gz", "expected pre="),
        ("t2=*_T2.nii.gz,label=*.nii", "'t2=.*expected pre="),
        ("flair=,label=*.nii", "expected pre="),
        ("flair=a*.nii,flair=b*.nii,label=*.nii", "each once"),
        ("flair=*.nii", "names no label"),
        ("label=*.nii,pre=*.nii", "names no flair"),
    ],
)
def test_naming_that_cannot_be_is_refused(naming: str, message: str, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=message):
        find_cases(tmp_path, naming=naming)


def test_patients_that_differ_in_case_only_are_bad(tmp_path: Path) -> None:
    for name in ("a_flair", "a_seg", "A_flair", "A_seg"):
        (tmp_path / f"{name}.nii.gz").touch()
    found = find_cases(tmp_path)
    assert len(found.cases) == 1
    assert "rename one of them" in str(next(iter(found.bad.values())))


def test_folder_that_cannot_be_used_is_refused(tmp_path: Path) -> None:
    for name in ("empty", "text", "scanner"):
        (tmp_path / name).mkdir()
    for name in ("text/readme.txt", "scanner/1.dcm", "archive.zip"):
        (tmp_path / name).touch()
    for name, message in {
        "gone": "no such folder",
        "empty": "is empty",
        "text": "no patient found in the layout 'auto' among .*; .*--naming",
        "scanner": "no patient found with a mask; `brainseg predict` reads DICOM",
        "archive.zip": "is a file; unpack it",
    }.items():
        with pytest.raises(InputError, match=f"{name}: {message}"):
            find_cases(tmp_path / name)


def test_two_data_sets_in_one_folder_are_refused_unless_one_is_named(tmp_path: Path, make_slices: Make) -> None:
    make_slices(tmp_path / "kaggle", "p")
    for name in ("a_flair", "a_seg"):
        (tmp_path / f"{name}.nii.gz").touch()
    with pytest.raises(InputError, match=r"several data sets \(kaggle_3m and brats\); name the folder of one"):
        find_cases(tmp_path)
    assert [case.patient for case in find_cases(tmp_path, "brats").cases] == ["a"]


def test_links_to_folders_are_followed_once(tmp_path: Path, make_slices: Make) -> None:
    make_slices(tmp_path / "elsewhere", "p")
    (tmp_path / "source").mkdir()
    (tmp_path / "source" / "p").symlink_to(tmp_path / "elsewhere" / "p")
    (tmp_path / "source" / "round").symlink_to(tmp_path / "source")
    found = find_cases(tmp_path / "source")
    assert [case.patient for case in found.cases] == ["p"]
    assert not found.left_out["are a second copy of a patient"]


@pytest.mark.real_data
def test_real_patients_are_found(real_patients: Callable[[int], Path]) -> None:
    found = find_cases(real_patients(4))
    assert len(found.cases) == 4
    assert len({case.site for case in found.cases}) > 1
    for case in found.cases:
        numbers = [int(file.stem.rsplit("_", 1)[1]) for file in case.images["flair"]]
        np.testing.assert_array_equal(np.diff(numbers), 1)
