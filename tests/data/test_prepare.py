"""What is prepared is what was published, in parts that depend on the seed alone."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
import tifffile
from monai.data import load_decathlon_datalist
from support.published_sets import FEW, Make, list_items, make_brats, make_tree, read_all

from monai_brainseg.cli.main import main
from monai_brainseg.data.prepare import prepare
from monai_brainseg.data.splits import read_datalist, split_by_patient
from monai_brainseg.images.volumes import hash_images, read_nifti, write_slices


def test_prepared_folder_holds_every_patient_once(tmp_path: Path, make_slices: Make) -> None:
    source = make_tree(tmp_path / "kaggle_3m", make_slices)
    prepare(source, tmp_path / "out", **FEW)
    datalist = read_datalist(tmp_path / "out")
    assert len(datalist["test"]) == 2
    assert sorted(item["fold"] for item in datalist["training"]) == [0, 0, 0, 1, 1, 1]
    assert all("fold" not in item for item in datalist["test"])
    items = list_items(tmp_path / "out")
    assert sorted(items) == sorted(folder.name for folder in source.iterdir())
    listed = {file for item in items.values() for file in (*item["image"], item["label"])}
    assert listed == {str(file) for file in (tmp_path / "out").rglob("*.nii.gz")}
    item = items["TCGA_CS_0000_20000101"]
    assert (item["site"], item["subject"], item["spacing_known"]) == ("CS", "TCGA_CS_0000", False)
    assert (item["replaced"], item["tumor_voxels"]) == ([], 1)


def test_parts_are_those_of_split_by_patient(tmp_path: Path, make_slices: Make) -> None:
    prepare(make_tree(tmp_path / "source", make_slices, 12), tmp_path / "out", seed=5)
    items = list_items(tmp_path / "out").values()
    sites = {item["subject"]: item["site"] for item in items}
    sizes = {item["subject"]: float(item["tumor_voxels"]) for item in items}
    expected = split_by_patient(sites, sizes, np.random.default_rng(5))
    assert {item["subject"]: item.get("fold") for item in items} == expected


def test_slices_become_volumes_and_slices_again_to_the_pixel(tmp_path: Path, make_slices: Make) -> None:
    source = make_tree(tmp_path / "kaggle_3m", make_slices)
    prepare(source, tmp_path / "out", **FEW)
    for patient, item in list_items(tmp_path / "out").items():
        channels = [read_nifti(Path(file)) for file in item["image"]]
        label = read_nifti(Path(item["label"]))
        assert {tuple(np.unique(label.voxels)), label.voxels.dtype.name} == {(0, 1), "uint8"}
        count = label.voxels.shape[2]
        images = [tmp_path / "again" / f"{patient}_{number}.tif" for number in range(1, count + 1)]
        masks = [file.with_name(f"{file.stem}_mask.tif") for file in images]
        write_slices(np.stack([volume.voxels for volume in channels], axis=-1), images)
        write_slices(label.voxels * np.uint8(255), masks)
        for file in (*images, *masks):
            np.testing.assert_array_equal(tifffile.imread(file), tifffile.imread(source / patient / file.name))
        assert item["hash"] == hash_images(channels)


def test_slices_lie_as_on_a_reading_screen_without_spacing(tmp_path: Path, make_slices: Make) -> None:
    prepare(make_tree(tmp_path / "kaggle_3m", make_slices), tmp_path / "out", **FEW)
    files = sorted((tmp_path / "out").rglob("*.nii.gz"))
    assert len(files) == 8 * 4
    for file in files:
        image = nib.load(file)
        np.testing.assert_array_equal(image.affine, np.diag([-1, -1, 1, 1]))
        assert image.header.get_xyzt_units()[0] == "unknown"


def test_prepared_folder_is_a_raw_data_set_of_nnunet(tmp_path: Path, make_slices: Make) -> None:
    prepare(make_tree(tmp_path / "kaggle_3m", make_slices), tmp_path / "out", **FEW)
    record = json.loads((tmp_path / "out" / "dataset.json").read_text())
    assert record["channel_names"] == {"0": "pre", "1": "flair", "2": "post"}
    assert record["labels"] == {"background": 0, "tumor": 1}
    assert record["file_ending"] == ".nii.gz"
    for part, count in {"Tr": record["numTraining"], "Ts": 2}.items():
        labels = sorted(file.name for file in (tmp_path / "out" / f"labels{part}").iterdir())
        assert len(labels) == count
        images = sorted(file.name for file in (tmp_path / "out" / f"images{part}").iterdir())
        assert images == [f"{label[:-7]}_{channel:04d}.nii.gz" for label in labels for channel in range(3)]


def test_same_bytes_whatever_the_order_of_files_and_the_place(
    tmp_path: Path, make_slices: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_tree(tmp_path / "kaggle_3m", make_slices)
    prepare(source, tmp_path / "first", **FEW)
    moved = tmp_path / "elsewhere" / "kaggle_3m"
    for file in sorted((file for file in source.rglob("*.tif")), reverse=True):
        (moved / file.parent.name).mkdir(parents=True, exist_ok=True)
        shutil.copy(file, moved / file.parent.name)
    monkeypatch.chdir(tmp_path / "elsewhere")
    prepare(Path("kaggle_3m"), Path("second"), **FEW)
    first = read_all(tmp_path / "first")
    assert len(first) == 2 + 8 * 4
    assert read_all(tmp_path / "elsewhere" / "second") == first
    prepare(Path("kaggle_3m"), Path("third"), seed=1, **FEW)
    assert read_all(tmp_path / "elsewhere" / "third") != first


def test_seed_is_zero_by_default(tmp_path: Path, make_slices: Make) -> None:
    source = make_tree(tmp_path / "kaggle_3m", make_slices)
    prepare(source, tmp_path / "first")
    prepare(source, tmp_path / "second", seed=0, folds=5, test_share=0.15)
    assert read_all(tmp_path / "first") == read_all(tmp_path / "second")
    assert len(read_datalist(tmp_path / "first")["test"]) == 1  # 15 % of 8


def test_prepared_folder_can_be_prepared_again(tmp_path: Path, make_slices: Make) -> None:
    prepare(make_tree(tmp_path / "source", make_slices), tmp_path / "first", **FEW)
    prepare(tmp_path / "first", tmp_path / "second", **FEW)
    first, second = list_items(tmp_path / "first"), list_items(tmp_path / "second")
    parts = [
        {p: (item.get("fold"), item["hash"], item["site"]) for p, item in items.items()} for items in (first, second)
    ]
    assert parts[0] == parts[1]
    assert not any(item["spacing_known"] for item in second.values())


def test_several_studies_of_one_person_stay_together(tmp_path: Path, make_volume: Make) -> None:
    source = tmp_path / "source"
    for person in range(6):
        for study in range(2):
            name = f"BraTS-GLI-{person:05d}-{study:03d}"
            make_volume(source / name / f"{name}-t2f.nii.gz", seed=10 * person + study)
            make_volume(source / name / f"{name}-seg.nii.gz", voxels=np.ones((6, 7, 4), np.uint8))
    prepare(source, tmp_path / "out", **FEW)
    items = list_items(tmp_path / "out")
    assert len(items) == 12
    assert len({(item["subject"], item.get("fold")) for item in items.values()}) == 6


def test_monai_takes_no_id_for_a_path(tmp_path: Path, make_slices: Make, monkeypatch: pytest.MonkeyPatch) -> None:
    # These names exist as paths in the folder MONAI runs in, and one as a path of its parent.
    patients = ("pre", "out", "unknown", "José 1")
    for patient in patients:
        make_slices(tmp_path / "source", patient)
        (tmp_path / patient).mkdir()
    monkeypatch.chdir(tmp_path)
    prepare(tmp_path / "source", tmp_path / "out", overwrite=True, **FEW)
    entries = load_decathlon_datalist("out/datalist.json") + load_decathlon_datalist("out/datalist.json", True, "test")
    assert {entry["patient"] for entry in entries} == {entry["subject"] for entry in entries} == set(patients)
    assert {entry["site"] for entry in entries} == {"unknown"}


def test_patients_without_tumor_are_allowed_and_said(
    tmp_path: Path, make_slices: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    for patient in "abcd":
        make_slices(tmp_path / "source", patient, tumor=0 if patient == "c" else 3)
    prepare(tmp_path / "source", tmp_path / "out", **FEW)
    assert "no tumour: 1 patients: c" in capsys.readouterr().out
    item = list_items(tmp_path / "out")["c"]
    assert item["tumor_voxels"] == 0 == nib.load(item["label"]).get_fdata().sum()


def test_same_images_under_two_names_are_said(
    tmp_path: Path, make_slices: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    for patient in "abcd":
        folder = make_slices(tmp_path / "source", patient)
    (tmp_path / "source" / "e").mkdir()
    for file in folder.iterdir():
        shutil.copy(file, tmp_path / "source" / "e" / file.name.replace("d_", "e_"))
    prepare(tmp_path / "source", tmp_path / "out", **FEW)
    assert "same images: 2 patients: d, e" in capsys.readouterr().out


def test_command_line(tmp_path: Path, make_volume: Make, capsys: pytest.CaptureFixture[str]) -> None:
    source = make_brats(tmp_path / "source", make_volume)
    options = [
        "--naming",
        "flair=*_flair.nii.gz,label=*_seg.nii.gz",
        "--tumor-labels",
        "1,4",
        "--folds",
        "2",
        "--seed",
        "3",
    ]
    assert main(["prepare", str(source), "--output", str(tmp_path / "out"), *options]) == 0
    printed = capsys.readouterr()
    assert "found 4 patients" in printed.out
    assert "left out (12), because they belong to no patient" in printed.out
    assert "fold 1: 2 patients (unknown 2); tumour voxels 2 to 2, median 2" in printed.out
    assert printed.err == ""
    assert read_datalist(tmp_path / "out")["seed"] == 3


@pytest.mark.real_data
def test_real_patients_are_prepared_whole(
    real_patients: Callable[[int], Path], tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    source = real_patients(4)
    prepare(source, tmp_path / "out", folds=2)
    items = list_items(tmp_path / "out")
    assert items.keys() == {folder.name for folder in source.iterdir()}
    for patient, item in items.items():
        images = np.stack([nib.load(file).get_fdata() for file in item["image"]], axis=-1)
        label = nib.load(item["label"]).get_fdata()
        assert label.shape == images.shape[:3] == (256, 256, len(list((source / patient).glob("*_mask.tif"))))
        for number in range(1, label.shape[2] + 1):
            image = tifffile.imread(source / patient / f"{patient}_{number}.tif")
            mask = tifffile.imread(source / patient / f"{patient}_{number}_mask.tif")
            np.testing.assert_array_equal(images[:, :, number - 1], image.swapaxes(0, 1))
            np.testing.assert_array_equal(label[:, :, number - 1], (mask > 0).T)
        assert item["tumor_voxels"] == label.sum() > 0
        assert item["replaced"] == [
            name for name, channel in (("pre", 0), ("post", 2)) if (images[..., channel] == images[..., 1]).all()
        ]
    assert "spacing unknown: 4 patients" in capsys.readouterr().out
