"""``brainseg check`` tells what a data set holds, published or prepared, and stops at no bad patient."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.html_pages import read_page

from monai_brainseg.cli.main import main
from monai_brainseg.data.prepare import prepare
from monai_brainseg.images.slices import decode_slices
from monai_brainseg.phantoms.patients import write_phantoms
from monai_brainseg.survey import datasets as survey

Make = Callable[..., Path]


@pytest.fixture
def phantoms(tmp_path: Path) -> Path:
    write_phantoms(tmp_path / "data", 10, seed=1, size=64, slices=12)
    return tmp_path / "data"


def check(source: Path, *options: str) -> tuple[int, dict[str, Any]]:
    """Return the exit code of the command and what it wrote."""
    code = main(["check", str(source), "--output", str(source.parent / "out"), *options])
    return code, json.loads((source.parent / "out" / "check.json").read_text())


def read_masks(source: Path) -> dict[str, np.ndarray]:
    return {
        folder.name: np.stack([decode_slices(file).pixels[0] > 0 for file in folder.glob("*_mask.tif")])
        for folder in source.iterdir()
    }


def test_figures_are_those_of_the_files(phantoms: Path) -> None:
    code, record = check(phantoms)
    masks = read_masks(phantoms)
    summary = record["summary"]
    assert code == 0
    assert [patient["patient"] for patient in record["patients"]] == sorted(masks)
    assert [patient["tumor_voxels"] for patient in record["patients"]] == [masks[name].sum() for name in sorted(masks)]
    with_tumor = sum(mask.any(axis=(1, 2)).sum() for mask in masks.values())
    assert (summary["patients"], summary["slices"]) == (10, 120)
    assert summary["tumor_free_slices"] == pytest.approx(1 - with_tumor / 120)
    sizes = [mask.sum() for mask in masks.values()]
    assert summary["tumor_voxels"] == {"min": min(sizes), "median": np.median(sizes), "max": max(sizes)}
    assert (summary["spacing_known"], summary["tumor_ml"], summary["orientations"]) == (0, None, {"LPS": 10})
    assert summary["sizes"] == {"64x64": 10}
    assert summary["sites"] == {"EAST": 3, "NORTH": 2, "SOUTH": 3, "WEST": 2}
    replaced = [patient["patient"] for patient in record["patients"] if len(patient["sequences"]) < 3]
    assert replaced
    assert replaced == [f["patient"] for f in record["findings"] if f["kind"] == "sequence replaced"]


def test_millilitres_are_told_where_spacing_is_known(tmp_path: Path) -> None:
    write_phantoms(tmp_path / "data", 3, layout="nifti", size=64, slices=12)
    _, record = check(tmp_path / "data")
    for patient in record["patients"]:
        assert patient["spacing"] == pytest.approx([3.5, 3.5, 10])
        assert patient["tumor_ml"] == pytest.approx(patient["tumor_voxels"] * 3.5 * 3.5 * 10 / 1000)


def test_a_prepared_folder_is_the_same_patients_with_their_parts(phantoms: Path) -> None:
    prepared = phantoms.parent / "prepared"
    prepare(phantoms, prepared, folds=2, test_share=0.2, say=lambda line: None)
    _, published = check(phantoms)
    code, record = check(prepared)
    parts = [patient.pop("part") for patient in record["patients"]]
    assert code == 0
    assert sorted(parts) == ["fold 0"] * 4 + ["fold 1"] * 4 + ["test"] * 2
    assert all(patient.pop("part") is None for patient in published["patients"])
    assert record["patients"] == published["patients"]
    assert record["layout"] == "prepared"
    assert record["summary"]["parts"] == {"fold 0": 4, "fold 1": 4, "test": 2}


def test_the_page_has_a_row_and_a_picture_for_each_patient(phantoms: Path) -> None:
    check(phantoms)
    page = read_page((phantoms.parent / "out" / "check.html").read_bytes())
    headings, *rows = page.rows
    masks = read_masks(phantoms)
    assert [row[headings.index("patient")] for row in rows] == sorted(masks)
    assert [int(row[headings.index("tumour")]) for row in rows] == [masks[name].sum() for name in sorted(masks)]
    assert len(page.pictures) == 10
    for name, picture in zip(sorted(masks), page.pictures, strict=True):
        largest = max(
            phantoms.joinpath(name).glob("*_mask.tif"),
            key=lambda file: int(decode_slices(file).pixels[0].sum(dtype=int)),
        )
        image = decode_slices(largest.with_name(largest.name.replace("_mask", ""))).pixels[0][..., 1]
        # A pixel of the image is 4 of the picture each way; where the outline is not, it is grey.
        grey = np.ptp(picture, axis=-1) < 10
        large = image.repeat(4, axis=0).repeat(4, axis=1)
        assert np.corrcoef(picture[grey][:, 1], large[grey])[0, 1] > 0.97
    assert ["patients" in chart for chart in page.charts] == [True, True, False, False, False]
    assert any(caption.startswith("flair: intensities in the head") for caption in page.captions)
    assert page.links == []


def test_the_table_and_the_findings_are_printed(phantoms: Path, capsys: pytest.CaptureFixture[str]) -> None:
    shutil.copytree(phantoms / "PHANTOM_EAST_0001", phantoms / "COPY")
    for file in (phantoms / "COPY").iterdir():
        file.rename(file.with_name(file.name.replace("PHANTOM_EAST_0001", "COPY")))
    assert check(phantoms)[0] == 0
    output = capsys.readouterr()
    lines = output.out.splitlines()
    assert lines[0].split()[:4] == ["patient", "site", "voxels", "mm"]
    assert [line.split()[0] for line in lines[1:12]] == sorted(folder.name for folder in phantoms.iterdir())
    assert any(line.startswith("look at: same images (1): ") for line in lines)
    assert f"  {phantoms / 'PHANTOM_EAST_0001'}: its images are those of COPY" in lines
    assert output.err == ""


def test_bad_patients_are_listed_as_prepare_does_and_do_not_stop_it(
    phantoms: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    broken, gone = phantoms / "PHANTOM_EAST_0001", phantoms / "PHANTOM_SOUTH_0002"
    (broken / f"{broken.name}_3.tif").write_bytes((broken / f"{broken.name}_3.tif").read_bytes()[:-50])
    (gone / f"{gone.name}_4_mask.tif").unlink()
    said: list[str] = []
    prepare(phantoms, phantoms.parent / "p", folds=2, skip_bad=True, say=said.append)
    code, record = check(phantoms)
    output = capsys.readouterr()
    assert code == 1
    assert sorted(record["bad"]) == [broken.name, gone.name]
    assert {f"left out: {name}: {why}" for name, why in record["bad"].items()} <= set(said)
    assert all(f"bad: {name}: {why}" in output.out for name, why in record["bad"].items())
    assert len(record["patients"]) == 8
    assert output.err.startswith(f"brainseg check: {phantoms}: 2 of 10 patients cannot be used")
    assert len(output.err.splitlines()) == 1
    page = read_page((phantoms.parent / "out" / "check.html").read_bytes())
    listed = [item.text for item in page.soup.find_all("li")]
    assert {f"{name}: {why}" for name, why in record["bad"].items()} <= set(listed)


def test_a_data_set_of_bad_patients_alone_is_told_too(tmp_path: Path, make_slices: Make) -> None:
    (make_slices(tmp_path / "data", "a") / "a_1_mask.tif").unlink()
    code, record = check(tmp_path / "data")
    assert (code, list(record["bad"]), record["patients"]) == (1, ["a"], [])
    assert read_page((tmp_path / "out" / "check.html").read_bytes()).rows == []


def test_a_file_of_a_prepared_folder_that_is_gone_makes_its_patient_bad(tmp_path: Path, make_slices: Make) -> None:
    for patient in "abcd":
        make_slices(tmp_path / "data", patient)
    prepare(tmp_path / "data", tmp_path / "p", folds=2, test_share=0.0, say=lambda line: None)
    (tmp_path / "p" / "imagesTr" / "b_0001.nii.gz").unlink()
    content = json.loads((tmp_path / "p" / "datalist.json").read_text())
    next(item for item in content["training"] if item["patient"] == "c")["image"].pop()
    (tmp_path / "p" / "datalist.json").write_text(json.dumps(content))
    code, record = check(tmp_path / "p")
    assert code == 1
    assert sorted(record["bad"]) == ["b", "c"]
    assert "b_0001.nii.gz: no such file" in record["bad"]["b"]
    assert "c: has 2 images in the datalist" in record["bad"]["c"]


def test_names_that_are_markup_are_shown_as_they_are(tmp_path: Path, make_slices: Make) -> None:
    name = "<script>&amp; é"
    make_slices(tmp_path / "data", name, replaced=(2,))
    check(tmp_path / "data")
    page = read_page((tmp_path / "out" / "check.html").read_bytes())
    # Patients have names that are a file's on every system; their folders are called as they are.
    assert page.rows[1][1] == "-script-&amp; é"
    assert "script" not in page.tags
    assert str(tmp_path / "data" / name) in page.text


@pytest.mark.parametrize(
    ("options", "words"),
    [
        (["--layout", "odd"], "--layout odd: is not a known layout; choose auto"),
        (["--tumor-labels", "0"], "0 is background"),
        (["--tumor-labels", "x"], "expected whole numbers"),
        (["--naming", "flair=*.nii"], "names no label"),
    ],
)
def test_wrong_options_are_refused_in_one_line(
    tmp_path: Path, make_slices: Make, capsys: pytest.CaptureFixture[str], options: list[str], words: str
) -> None:
    make_slices(tmp_path / "data", "a")
    assert main(["check", str(tmp_path / "data"), "--output", str(tmp_path / "out"), *options]) == 1
    error = capsys.readouterr().err
    assert words in error
    assert len(error.splitlines()) == 1
    assert not (tmp_path / "out").exists()


def test_a_place_that_cannot_be_written_is_refused_before_a_patient_is_read(
    tmp_path: Path, make_slices: Make, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    make_slices(tmp_path / "data", "a")
    (tmp_path / "file").write_text("")
    monkeypatch.setattr(survey, "examine_each", lambda *_: pytest.fail("read a patient"))
    assert main(["check", str(tmp_path / "data"), "--output", str(tmp_path / "file" / "out")]) == 1
    assert f"{tmp_path / 'file' / 'out'}: cannot be written" in capsys.readouterr().err


def test_tumor_labels_are_those_that_are_named(tmp_path: Path, make_volume: Make) -> None:
    labels = np.zeros((6, 7, 4), np.uint8)
    labels[1:4, 1, 1] = (1, 2, 4)
    for seed, name in enumerate(("flair", "seg")):
        make_volume(tmp_path / "data" / "a" / f"a_{name}.nii.gz", seed, labels if name == "seg" else None)
    assert check(tmp_path / "data")[1]["patients"][0]["tumor_voxels"] == 3
    assert check(tmp_path / "data", "--tumor-labels", "2,4")[1]["patients"][0]["tumor_voxels"] == 2


@pytest.mark.real_data
def test_real_patients_are_told_as_they_are(real_patients: Callable[[int], Path]) -> None:
    code, record = check(real_patients(9))
    assert code == 0
    assert record["summary"]["patients"] == 9
    assert record["summary"]["sizes"] == {"256x256": 9}
    assert record["summary"]["tumor_free_slices"] == pytest.approx(0.65, abs=0.15)
    assert {f["kind"] for f in record["findings"]} <= {"dark", "dark tumour", "sequence replaced", "few slices"}


@pytest.mark.real_data
def test_a_real_case_with_a_background_that_is_not_zero(shared: Path, tmp_path: Path) -> None:
    shutil.copytree(shared / "nifti", tmp_path / "nifti")
    naming = "flair=Flair_subtrMeanDivStd.nii.gz,post=T1c_subtrMeanDivStd.nii.gz,label=OTMultiClass.nii.gz"
    code, record = check(tmp_path / "nifti", "--naming", naming)
    assert code == 0
    (patient,) = record["patients"]
    assert (patient["patient"], patient["orientation"]) == ("brats2013_pat0001", "LPS")
    assert patient["tumor_outside_head"] == 0
    assert 0.6 < patient["head_darker_than_tumor"] < 1
    assert [finding["kind"] for finding in record["findings"]] == ["sequence missing"]
