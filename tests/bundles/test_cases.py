"""Which cases a folder or a datalist holds, and what is refused."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from brainseg_unet_scripts.cases import check_cases, find_cases, list_cases, name_case
from brainseg_unet_scripts.errors import BundleError


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


@pytest.mark.parametrize("count", [2, 4])
def test_a_case_of_another_number_of_files_is_refused(count: int, tmp_path: Path) -> None:
    touch(tmp_path, *(f"a_000{number}.nii.gz" for number in range(count)))
    with pytest.raises(BundleError, match=rf"a_000\*\.nii: {count} files; a case is _0000 \(pre\), _0001"):
        find(tmp_path)


def test_a_folder_that_is_not_there_or_empty_is_refused(tmp_path: Path) -> None:
    assert find(tmp_path) == find(tmp_path / "nowhere") == []
    with pytest.raises(BundleError, match="nowhere: no such folder; name one with --dataset_dir"):
        check_cases([], str(tmp_path / "nowhere"))
    with pytest.raises(BundleError, match="holds no .nii or .nii.gz file and no datalist.json"):
        check_cases([], str(tmp_path))
    check_cases([{"image": ["a.nii"]}], "nowhere")


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
