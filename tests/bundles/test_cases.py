"""Which cases a folder or a datalist holds, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from brainseg_unet_scripts import cases, file_groups
from brainseg_unet_scripts.cases import check_cases, find_cases, list_cases, name_case
from brainseg_unet_scripts.errors import BundleError
from support.fixed_bundles import draw_phantom

from monai_brainseg.phantoms.patients import Phantom


def touch(folder: Path, *names: str) -> Path:
    folder.mkdir(exist_ok=True)
    for name in names:
        (folder / name).touch()
    return folder


def find(folder: Path) -> list[list[str]]:
    cases = find_cases(str(folder), str(folder / "datalist.json"))
    return [[Path(file).name for file in case["image"]] for case in cases]


def test_a_case_is_its_three_sequences_or_the_file_that_bears_its_name(tmp_path: Path) -> None:
    three = ["b_0000.nii.gz", "b_0001.nii.gz", "b_0002.nii.gz"]
    touch(tmp_path, *three, "a [1].nii", "c.nii.gz", "c_0000.nii", ".hidden.nii.gz", "x.txt")
    assert find(tmp_path) == [["a [1].nii"], three, ["c_0000.nii"]]


def test_numbers_above_two_are_names_of_cases(tmp_path: Path) -> None:
    names = ["visit_0003.nii", "visit_0004.nii", "visit_0005.nii"]
    assert find(touch(tmp_path, *names)) == [[name] for name in names]


def test_a_case_of_two_files_is_refused(tmp_path: Path) -> None:
    with pytest.raises(BundleError, match=r"a_000\*\.nii: 2 files; a case is _0000 \(pre\), _0001"):
        find(touch(tmp_path, "a_0000.nii.gz", "a_0001.nii.gz"))


def save(phantom: Phantom, sequence: int, file: Path) -> None:
    nib.save(nib.Nifti1Image(phantom.images[..., sequence], np.diag([-2.0, -2.0, 5.0, 1.0])), file)


@pytest.mark.parametrize("numbers", [(1, 2, 3), (0, 1, 2, 3), (0, 2), (1, 2), (7, 8)])
def test_numbered_files_of_several_people_are_cases_of_their_own(numbers: tuple[int, ...], tmp_path: Path) -> None:
    for number in numbers:
        save(draw_phantom(seed=number), 1, tmp_path / f"patient_{number:04d}.nii.gz")
    files = [f"patient_{number:04d}.nii.gz" for number in numbers]
    assert find(tmp_path) == [[file] for file in files]
    # Their masks do not overwrite each other.
    assert [name_case({"filename_or_obj": tmp_path / file}) for file in files] == [file[:12] for file in files]


@pytest.mark.parametrize("numbers", [(1, 2), (0, 2), (1, 2, 3), (0, 1, 2, 3)])
def test_sequences_of_one_person_with_other_numbers_are_refused(numbers: tuple[int, ...], tmp_path: Path) -> None:
    for place, number in enumerate(numbers):
        save(draw_phantom(), place % 3, tmp_path / f"a_{number:04d}.nii.gz")
    with pytest.raises(BundleError, match="may be a sequence of one person with .* but _0000 to _0002 are needed"):
        find(tmp_path)


def test_three_people_numbered_as_sequences_are_refused(tmp_path: Path) -> None:
    for number in range(3):
        save(draw_phantom(seed=number), 1, tmp_path / f"scan_000{number}.nii.gz")
    with pytest.raises(BundleError, match=r"scan_0000.nii.gz: does not show the head of scan_0001.*several people"):
        find(tmp_path)
    for number in range(3):
        save(draw_phantom(), number, tmp_path / f"scan_000{number}.nii.gz")
    assert len(find(tmp_path)) == 1


def test_a_bundle_of_four_channels_takes_four_files(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(file_groups, "count_sequences", lambda: 4)
    monkeypatch.setattr(cases, "count_sequences", lambda: 4)
    for number in range(4):
        save(draw_phantom(), number % 3, tmp_path / f"a_000{number}.nii.gz")
    assert find(tmp_path) == [[f"a_000{number}.nii.gz" for number in range(4)]]


def test_equal_copies_count_once_and_different_files_of_one_name_are_refused(tmp_path: Path) -> None:
    for ending in ("nii", "nii.gz"):
        save(draw_phantom(), 1, tmp_path / f"v.{ending}")
    assert find(tmp_path) == [["v.nii"]]
    save(draw_phantom(seed=1), 1, tmp_path / "v.nii")
    with pytest.raises(BundleError, match=r"v.nii.gz: differs from v.nii, which has its name"):
        find(tmp_path)


def test_a_folder_that_is_not_there_or_empty_is_refused(tmp_path: Path) -> None:
    assert find(tmp_path) == find(tmp_path / "nowhere") == []
    with pytest.raises(BundleError, match="nowhere: no such folder; name a folder with --dataset_dir"):
        check_cases([], str(tmp_path / "nowhere"))
    with pytest.raises(BundleError, match="holds no .nii or .nii.gz file and no datalist.json"):
        check_cases([], str(tmp_path))
    touch(tmp_path, "a.nrrd")
    with pytest.raises(BundleError, match=r"\(but a.nrrd\); `brainseg predict` reads other formats"):
        check_cases([], str(tmp_path))
    with pytest.raises(BundleError, match="a.nrrd: is a file; name a folder with --dataset_dir"):
        check_cases([], str(tmp_path / "a.nrrd"))
    check_cases([{"image": ["a.nii"]}], "nowhere")


def test_images_that_are_not_read_are_said(tmp_path: Path, caplog: pytest.LogCaptureFixture) -> None:
    touch(tmp_path, "a.nii", "b.mha", "c.dcm", "notes.txt")
    check_cases(find_cases(str(tmp_path), ""), str(tmp_path))
    assert "2 files are no NIfTI and are not segmented (b.mha, c.dcm)" in caplog.text


def test_items_of_a_datalist_are_chosen_by_part_fold_and_sequences(prepared_phantoms: Path) -> None:
    datalist = prepared_phantoms / "datalist.json"
    listed = json.loads(datalist.read_text())
    assert len(list_cases(str(datalist), "all")) == len(listed["training"]) + len(listed["test"])
    one, others = list_cases(str(datalist), fold=0), list_cases(str(datalist), except_fold=0)
    assert {item["fold"] for item in one} == {0}
    assert sorted(item["patient"] for item in one + others) == sorted(item["patient"] for item in listed["training"])
    assert list_cases(str(datalist), fold=-1) == []
    (first, *_) = list_cases(str(datalist), "test", sequences=[1, 1, 1])
    assert len(first["image"]) == 3
    assert len(set(first["image"])) == 1
    assert first["image"][0].endswith("_0001.nii.gz")
    found = find_cases("nowhere", str(datalist), "test")
    assert [list(item) for item in found] == [["image"]] * len(listed["test"])
    with pytest.raises(BundleError, match="datalist.json: .*validation.*give --dataset_dir, or another --part"):
        list_cases(str(datalist), "validation")


@pytest.mark.parametrize(
    ("file", "name"), [("in/a_0001.nii.gz", "a"), ("a.b.nii", "a.b"), ("a_0003.nii", "a_0003"), ("a.nrrd", "a.nrrd")]
)
def test_a_case_is_named_after_its_file(file: str, name: str) -> None:
    assert name_case({"filename_or_obj": file}) == name
