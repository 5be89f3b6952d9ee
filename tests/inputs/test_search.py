"""Finding studies: what belongs together, in which order, and under which name."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import tifffile

from monai_brainseg.data.case_voxels import read_images
from monai_brainseg.data.cases import Case, Found
from monai_brainseg.data.naming import SEQUENCES, parse_naming
from monai_brainseg.errors import InputError
from monai_brainseg.inputs.groupings import NO_IMAGES
from monai_brainseg.inputs.search import find_studies, join_sequences


def touch(folder: Path, *names: str) -> Path:
    for name in names:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        (folder / name).write_bytes(b"")
    return folder


def names(found: Found) -> list[str]:
    return [case.patient for case in found.cases]


def images(case: Case) -> dict[str, list[str]]:
    return {role: [file.name for file in files] for role, files in case.images.items()}


def write_slices(folder: Path, count: int = 3, name: str = "{}.tif", dtype: str = "uint8", **options: Any) -> Path:
    folder.mkdir(parents=True, exist_ok=True)
    for number in range(1, count + 1):
        tifffile.imwrite(folder / name.format(number), np.full((6, 5), number, dtype), **options)
    return folder


def test_slices_are_ordered_by_number_and_masks_left_out(tmp_path: Path) -> None:
    touch(tmp_path / "patient", *(f"p_{n}.tif" for n in (10, 2, 1)), "p_1_mask.tif")
    found = find_studies([tmp_path / "patient"])
    assert images(found.cases[0])["flair"] == ["p_1.tif", "p_2.tif", "p_10.tif"]
    assert names(found) == ["p"]
    assert [Path(file).name for file in found.left_out[NO_IMAGES]] == ["p_1_mask.tif"]
    assert found.cases[0].notes == ("slice 3 is missing; 7 missing in all",)
    assert found.cases[0].form == "slices"


def test_slices_of_several_patients_are_told_apart(tmp_path: Path) -> None:
    touch(tmp_path, "a_1.png", "a_2.png", "b/b_1.tif", "c/1.tif", "c/2.tif", "a_slice003.tiff")
    found = find_studies([tmp_path])
    assert names(found) == ["a", "a_slice", "b", "c"]
    assert all(case.form == "slices" for case in found.cases)


def test_a_list_of_slices_is_a_study(tmp_path: Path) -> None:
    touch(tmp_path, "x1.png", "x2.png", "x3.png")
    assert images(find_studies([tmp_path / "x3.png", tmp_path / "x1.png"]).cases[0])["flair"] == ["x1.png", "x3.png"]


def test_two_files_for_one_slice_are_refused(tmp_path: Path) -> None:
    found = find_studies([touch(tmp_path, "p_1.tif", "p_01.tif", "p_2.tif")])
    assert not found.cases
    assert "has the same number as" in str(found.bad["p"])


def test_nifti_studies_are_found_by_number(tmp_path: Path) -> None:
    touch(tmp_path, "a_0000.nii.gz", "a_0001.nii.gz", "a_0002.nii.gz", "b_0001.nii.gz", "c_0000.nii", "d.nii")
    found = find_studies([tmp_path])
    assert names(found) == ["a", "b", "c", "d"]
    assert list(images(found.cases[0])) == list(SEQUENCES)
    assert images(found.cases[2]) == {"flair": ["c_0000.nii"]}
    assert find_studies([touch(tmp_path / "two", "e_0000.nii", "e_0001.nii")]).bad == {}
    lacking = find_studies([touch(tmp_path / "lacking", "e_0000.nii", "e_0002.nii")])
    assert "_0000 to _0002 are needed" in str(lacking.bad["e"])


def test_nifti_studies_are_found_by_the_sequence_in_their_names(tmp_path: Path) -> None:
    touch(tmp_path, *(f"B-001/B-001-{s}.nii.gz" for s in ("t1n", "t1c", "t2w", "t2f", "seg")))
    touch(tmp_path, "jane/FLAIR.nii.gz", "jane/T1.nii.gz")
    touch(tmp_path, "pat/Flair_norm.nii.gz", "pat/T1c_norm.nii.gz", "pat/OTMultiClass.nii.gz")
    touch(tmp_path, "many/flair_1.nii", "many/flair_2.nii", "many/t1_1.nii")
    found = find_studies([tmp_path])
    assert names(found) == ["1", "2", "B-001", "jane", "pat"]
    assert images(found.cases[2]) == {
        "pre": ["B-001-t1n.nii.gz"], "flair": ["B-001-t2f.nii.gz"], "post": ["B-001-t1c.nii.gz"],
    }  # fmt: skip
    left_out = {Path(file).name for file in found.left_out[NO_IMAGES]}
    assert left_out == {"B-001-t2w.nii.gz", "B-001-seg.nii.gz", "OTMultiClass.nii.gz"}


def test_a_single_file_of_another_sequence_is_doubted(tmp_path: Path) -> None:
    (case,) = find_studies([touch(tmp_path, "x_T1.nii")]).cases
    assert case.doubts == ("its name says T1, but the network needs FLAIR",)


def test_names_may_be_given_and_need_no_label(tmp_path: Path) -> None:
    touch(tmp_path, "a/scans/mr_fl.nii.gz", "a/scans/mr_gd.nii.gz", "b/scans/mr_fl.nii.gz", "b/other.nii")
    found = find_studies([tmp_path], naming="flair=*/scans/mr_fl.nii.gz,post=*/scans/mr_gd.nii.gz")
    assert names(found) == ["a", "b"]
    assert images(found.cases[0]) == {"flair": ["mr_fl.nii.gz"], "post": ["mr_gd.nii.gz"]}
    assert [Path(file).name for file in found.left_out[NO_IMAGES]] == ["other.nii"]
    with pytest.raises(InputError, match="names no label"):
        parse_naming("flair=*.nii")


def test_four_dimensional_nifti_is_three_sequences(tmp_path: Path, make_volume: Callable[..., Path]) -> None:
    voxels = np.random.default_rng(0).integers(0, 99, (5, 6, 4, 3)).astype(np.int16)
    (case,) = find_studies([make_volume(tmp_path / "x.nii.gz", voxels=voxels)]).cases
    read = read_images(case)
    assert list(read) == list(SEQUENCES)
    assert all(np.array_equal(read[s].voxels, voxels[..., n]) for n, s in enumerate(SEQUENCES))
    (alone,) = find_studies([make_volume(tmp_path / "y.nii.gz", voxels=voxels[..., 1:2])]).cases
    assert np.array_equal(read_images(alone)["flair"].voxels, voxels[..., 1])
    (four,) = find_studies([make_volume(tmp_path / "z.nii.gz", voxels=np.concatenate([voxels] * 2, -1))]).cases
    with pytest.raises(InputError, match="holds 6 channels"):
        read_images(four)


def test_roles_may_be_given(tmp_path: Path, make_volume: Callable[..., Path]) -> None:
    files = {role: make_volume(tmp_path / f"{role}.nii.gz", seed) for seed, role in enumerate(SEQUENCES)}
    case = join_sequences(files["flair"], files["pre"], files["post"])
    assert {role: several[0] for role, several in case.images.items()} == files
    assert list(images(join_sequences(files["flair"]))) == ["flair"]
    grey = [write_slices(tmp_path / role, dtype=kind) for role, kind in (("f", "uint8"), ("p", "uint8"))]
    assert list(read_images(join_sequences(grey[0], post=grey[1]))) == ["flair", "post"]
    with pytest.raises(InputError, match="no such file"):
        join_sequences(tmp_path / "gone.nii")


@pytest.mark.parametrize("options", [{}, {"compression": "zlib"}, {"compression": "lzw"}, {"bigtiff": True}])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", ">u2"])
def test_slices_of_every_kind_are_read(tmp_path: Path, options: dict[str, Any], dtype: str) -> None:
    (case,) = find_studies([write_slices(tmp_path / "p", dtype=dtype, **options)]).cases
    voxels = read_images(case)["flair"].voxels
    assert voxels.shape == (5, 6, 3)
    assert voxels[0, 0].tolist() == [1, 2, 3]


def test_a_prepared_folder_gives_its_part(prepared_phantoms: Path) -> None:
    assert len(find_studies([prepared_phantoms]).cases) == 2
    assert len(find_studies([prepared_phantoms], part="training").cases) == 8
    found = find_studies([prepared_phantoms], part="all")
    assert len(found.cases) == 10
    assert list(found.cases[0].images) == list(SEQUENCES)


def test_a_prepared_case_without_all_sequences_is_bad_and_the_others_are_found(
    prepared_phantoms: Path, tmp_path: Path
) -> None:
    content = json.loads((prepared_phantoms / "datalist.json").read_text())
    content["test"][0]["image"] = content["test"][0]["image"][:2]
    (tmp_path / "datalist.json").write_text(json.dumps(content))
    found = find_studies([tmp_path])
    assert len(found.cases) == 1
    ((patient, error),) = found.bad.items()
    assert str(error) == (
        f"{patient}: has 2 images in the datalist, but FLAIR or pre, flair, post are needed; "
        "write it again with brainseg prepare"
    )


def test_equal_names_are_told_apart_by_their_folders(tmp_path: Path) -> None:
    touch(tmp_path, *(f"{person}/day1/scan.nii" for person in ("ann", "bob")), "bob/SCAN.nii", "other.nii")
    assert names(find_studies([tmp_path])) == ["ann_day1_scan", "bob_SCAN", "bob_day1_scan", "other"]


def test_slices_named_by_their_folder_are_told_apart_by_the_one_above(tmp_path: Path) -> None:
    touch(tmp_path, "ann/axial/1.tif", "bob/axial/1.tif", "bob/axial/2.tif")
    assert names(find_studies([tmp_path])) == ["ann_axial", "bob_axial"]


def test_a_file_named_twice_is_one_study(tmp_path: Path) -> None:
    touch(tmp_path, "a.nii")
    assert names(find_studies([tmp_path / "a.nii", tmp_path])) == ["a"]


@pytest.mark.parametrize("content", ["", "notes.txt", "sub/.hidden.nii"])
def test_a_folder_without_a_study_is_refused_with_what_is_taken(tmp_path: Path, content: str) -> None:
    if content:
        touch(tmp_path, content)
    with pytest.raises(InputError, match=r"holds no study; name a folder of slices"):
        find_studies([tmp_path])


def test_a_missing_input_is_named(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="gone: no such file or folder"):
        find_studies([tmp_path / "gone"])
