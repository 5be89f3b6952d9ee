"""Equal copies of a file count once, and different files of one name are refused."""

from __future__ import annotations

import shutil
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest

from monai_brainseg.data.copies import split_copies
from monai_brainseg.data.layouts import find_cases
from monai_brainseg.data.prepare import prepare
from monai_brainseg.data.splits import read_datalist
from monai_brainseg.errors import InputError

Make = Callable[..., Path]


def write_patients(folder: Path, make_volume: Make) -> Path:
    for number, name in enumerate("ab"):
        make_volume(folder / name / f"{name}_flair.nii.gz", seed=number)
        make_volume(
            folder / name / f"{name}_seg.nii.gz", voxels=(np.arange(168).reshape(6, 7, 4) > 150).astype(np.uint8)
        )
    return folder


def test_the_first_of_equal_files_is_kept(tmp_path: Path, make_volume: Make) -> None:
    files = [make_volume(tmp_path / name) for name in ("x.nii", "x.nii.gz", "deep/x.nii")]
    assert split_copies(files) == (files[0], files[1:])
    other = make_volume(tmp_path / "other" / "x.nii", seed=1)
    with pytest.raises(
        InputError, match=r"other/x\.nii: differs from .*x\.nii, which has its name; rename or remove one"
    ):
        split_copies([*files, other])


@pytest.mark.parametrize("copy", ["a/a_flair.nii", "backup/a_flair.nii.gz"])
def test_prepare_counts_equal_copies_once(copy: str, tmp_path: Path, make_volume: Make) -> None:
    source = write_patients(tmp_path / "in", make_volume)
    make_volume(source / copy, seed=0)
    found = find_cases(source)
    assert found.bad == {}
    assert len(found.left_out["are copies of another file"]) == 1
    said: list[str] = []
    prepare(source, tmp_path / "out", test_share=0, folds=2, say=said.append)
    assert [item["patient"] for item in read_datalist(tmp_path / "out")["training"]] == ["a", "b"]
    assert any("because they are copies of another file" in line for line in said)


def test_prepare_takes_a_patients_folder_that_was_copied_once(tmp_path: Path, make_volume: Make) -> None:
    source = write_patients(tmp_path / "in", make_volume)
    shutil.copytree(source / "a", source / "copy of a")
    assert [case.patient for case in find_cases(source).cases] == ["a", "b"]


def test_prepare_refuses_different_files_of_one_name(tmp_path: Path, make_volume: Make) -> None:
    source = write_patients(tmp_path / "in", make_volume)
    make_volume(source / "a" / "a_flair.nii", seed=3)
    found = find_cases(source)
    assert "is a second flair of a beside" in str(found.bad["a"])
    assert [case.patient for case in found.cases] == ["b"]
