"""What is prepared is what was published; what cannot be is refused before anything is written."""

from __future__ import annotations

import errno
import json
import re
import shutil
import subprocess
import sys
import time
from collections.abc import Callable, Collection
from contextlib import nullcontext
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
import tifffile
from monai.data import load_decathlon_datalist

from monai_brainseg import volumes
from monai_brainseg.cases import Case, Study, examine_case, read_images, read_label
from monai_brainseg.cli import main
from monai_brainseg.errors import InputError
from monai_brainseg.layouts import find_cases
from monai_brainseg.prepare import prepare
from monai_brainseg.splits import Item, read_datalist, split_by_patient
from monai_brainseg.volumes import hash_images, read_nifti, write_slices

Make = Callable[..., Path]
FEW: dict[str, Any] = {"folds": 2, "test_share": 0.25}


def list_items(folder: Path) -> dict[str, Item]:
    datalist = read_datalist(folder)
    return {item["patient"]: item for item in [*datalist["training"], *datalist["test"]]}


def read_all(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def make_tree(folder: Path, make_slices: Make, count: int = 8) -> Path:
    for index in range(count):
        make_slices(
            folder, f"TCGA_{('CS', 'DU')[index % 2]}_{index:04d}_20000101", count=3 + index, tumor=1 + index % 5
        )
    return folder


def make_brats(folder: Path, make_volume: Make, patients: str = "abcd", names: str = "t1 t1ce flair t2") -> Path:
    for seed, patient in enumerate(patients):
        for offset, name in enumerate(names.split()):
            make_volume(folder / patient / f"{patient}_{name}.nii.gz", seed=10 * seed + offset)
        labels = np.zeros((6, 7, 4), np.uint8)
        labels[1:3, 1, 1] = (1, 4)
        make_volume(folder / patient / f"{patient}_seg.nii.gz", voxels=labels)
    return folder


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


def test_copies_of_flair_are_recorded(tmp_path: Path, make_slices: Make, capsys: pytest.CaptureFixture[str]) -> None:
    for patient, replaced in {"a": (), "b": (0,), "c": (2,), "d": (0, 2)}.items():
        make_slices(tmp_path / "source", patient, replaced=replaced)
    prepare(tmp_path / "source", tmp_path / "out", **FEW)
    items = list_items(tmp_path / "out")
    replaced_by = {patient: item["replaced"] for patient, item in items.items()}
    assert replaced_by == {"a": [], "b": ["pre"], "c": ["post"], "d": ["pre", "post"]}
    pre, flair, post = (read_nifti(Path(file)).voxels for file in items["c"]["image"])
    np.testing.assert_array_equal(post, flair)
    assert (pre != flair).any()
    assert "pre: 2 patients; not b, d" in capsys.readouterr().out


def test_missing_sequences_become_copies_of_flair(tmp_path: Path, make_volume: Make) -> None:
    source = make_brats(tmp_path / "source", make_volume)
    (source / "b" / "b_t1ce.nii.gz").unlink()
    (source / "c" / "c_t1.nii.gz").unlink()
    prepare(source, tmp_path / "out", **FEW)
    items = list_items(tmp_path / "out")
    assert {p: item["replaced"] for p, item in items.items()} == {"a": [], "b": ["post"], "c": ["pre"], "d": []}
    for patient, item in items.items():
        for file, name in zip(item["image"], ("t1", "flair", "t1ce"), strict=True):
            original = source / patient / f"{patient}_{name}.nii.gz"
            expected = nib.load(original if original.exists() else source / patient / f"{patient}_flair.nii.gz")
            np.testing.assert_array_equal(nib.load(file).get_fdata(), expected.get_fdata())
            np.testing.assert_array_equal(nib.load(file).affine, expected.affine)
        assert item["spacing_known"]


def test_set_of_flair_alone_has_one_image(tmp_path: Path, make_volume: Make) -> None:
    source = make_brats(tmp_path / "source", make_volume, names="flair")
    prepare(source, tmp_path / "out", **FEW)
    entry = json.loads((tmp_path / "out" / "datalist.json").read_text())["training"][0]
    assert isinstance(entry["image"], str)
    assert entry["image"].endswith("_0000.nii.gz")
    assert entry["replaced"] == []
    assert json.loads((tmp_path / "out" / "dataset.json").read_text())["channel_names"] == {"0": "flair"}


@pytest.mark.parametrize("ending", [".tif", ".png"])
def test_grey_slices_are_flair(ending: str, tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for patient in "abc":
        voxels = rng.integers(0, 4000, (6, 5, 3), dtype=np.uint16)
        names = [tmp_path / "source" / patient / f"{patient}_{number}" for number in range(1, 4)]
        write_slices(voxels, [name.with_name(name.name + ending) for name in names])
        write_slices((voxels > 3000).astype(np.uint8), [name.with_name(f"{name.name}_mask{ending}") for name in names])
    prepare(tmp_path / "source", tmp_path / "out", folds=2)
    (image,) = list_items(tmp_path / "out")["c"]["image"]
    np.testing.assert_array_equal(read_nifti(Path(image)).voxels, voxels)


def test_channels_of_msd(tmp_path: Path, make_volume: Make) -> None:
    source = tmp_path / "Task01_BrainTumour"
    rng = np.random.default_rng(0)
    for patient in "abc":
        voxels = rng.random((5, 6, 4, 4))
        make_volume(source / "imagesTr" / f"{patient}.nii.gz", voxels=voxels)
        make_volume(source / "labelsTr" / f"{patient}.nii.gz", voxels=rng.integers(0, 4, (5, 6, 4)).astype(np.uint8))
    names = {"0": "FLAIR", "1": "T1w", "2": "t1gd", "3": "T2w"}
    (source / "dataset.json").write_text(json.dumps({"modality": names}))
    prepare(source, tmp_path / "out", folds=2)
    item = list_items(tmp_path / "out")["c"]
    for file, channel in zip(item["image"], (1, 0, 2), strict=True):
        np.testing.assert_array_equal(read_nifti(Path(file)).voxels, voxels[..., channel].astype(np.float32))
        assert nib.load(file).get_data_dtype() == np.float32


def test_prepared_folder_can_be_prepared_again(tmp_path: Path, make_slices: Make) -> None:
    prepare(make_tree(tmp_path / "source", make_slices), tmp_path / "first", **FEW)
    prepare(tmp_path / "first", tmp_path / "second", **FEW)
    first, second = list_items(tmp_path / "first"), list_items(tmp_path / "second")
    parts = [
        {p: (item.get("fold"), item["hash"], item["site"]) for p, item in items.items()} for items in (first, second)
    ]
    assert parts[0] == parts[1]
    assert not any(item["spacing_known"] for item in second.values())


@pytest.mark.parametrize(("labels", "voxels"), [((), 2), ((4,), 1), ((1, 4), 2), ((2,), 0)])
def test_tumor_labels(labels: tuple[int, ...], voxels: int, tmp_path: Path, make_volume: Make) -> None:
    source = make_brats(tmp_path / "source", make_volume)
    prepare(source, tmp_path / "out", tumor_labels=labels, **FEW)
    item = list_items(tmp_path / "out")["a"]
    assert item["tumor_voxels"] == voxels == nib.load(item["label"]).get_fdata().sum()


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


def test_patient_named_as_a_part_of_the_prepared_folder_is_refused(tmp_path: Path, make_slices: Make) -> None:
    for patient in ("a", "b", "imagesTr"):
        make_slices(tmp_path / "source", patient)
    with pytest.raises(InputError, match="imagesTr_1_mask.tif: no patient can be called imagesTr; rename"):
        prepare(tmp_path / "source", tmp_path / "out", **FEW)


def remove(folder: Path, *patterns: str) -> None:
    for file in (file for pattern in patterns for file in folder.glob(pattern)):
        file.unlink()


def cut(file: Path) -> None:
    file.write_bytes(file.read_bytes()[:-100])


def change(file: Path, edit: Callable[[np.ndarray], Any], affine: np.ndarray | None = None) -> None:
    image = nib.load(file)
    voxels = image.get_fdata().astype(np.float32)
    edited = edit(voxels)
    nib.save(nib.Nifti1Image(voxels if edited is None else edited, image.affine if affine is None else affine), file)


BAD_SLICES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "truncated image": (lambda p: cut(p / "b_2.tif"), r"b_2\.tif: cannot be read"),
    "truncated mask": (lambda p: cut(p / "b_2_mask.tif"), r"b_2_mask\.tif: cannot be read"),
    "image gone": (lambda p: remove(p, "b_2.tif"), r"b_2_mask\.tif: has no image"),
    "mask gone": (lambda p: remove(p, "b_2_mask.tif"), r"b_2\.tif: has no mask"),
    "slice gone": (lambda p: remove(p, "b_2*.tif"), "slice 2 of b is missing"),
    "another shape": (lambda p: tifffile.imwrite(p / "b_2.tif", np.zeros((9, 8, 3), "u1")), r"b_2\.tif: 9x8x3 uint8"),
    "mask of another shape": (
        lambda p: [tifffile.imwrite(p / f"b_{n}_mask.tif", np.zeros((9, 8), "u1")) for n in (1, 2, 3)],
        r"b_1_mask\.tif: is 8x9x3 where b_1\.tif is 8x10x3",
    ),
    "coloured mask": (
        lambda p: [shutil.copy(p / f"b_{n}.tif", p / f"b_{n}_mask.tif") for n in (1, 2, 3)],
        r"b_1_mask\.tif: is 8x10x3x3",
    ),
    "four channels": (
        lambda p: [
            tifffile.imwrite(p / f"b_{n}.tif", np.zeros((10, 8, 4), "u1"), photometric="rgb") for n in (1, 2, 3)
        ],
        r"b_1\.tif: holds 4 channels where 3",
    ),
    "NaN": (
        lambda p: [tifffile.imwrite(p / f"b_{n}.tif", np.full((10, 8, 3), np.nan, "f4")) for n in (1, 2, 3)],
        r"b_1\.tif: has voxels that are NaN",
    ),
}
BAD_VOLUMES: dict[str, tuple[Callable[[Path], Any], str]] = {
    "truncated": (lambda p: cut(p / "b_t1.nii.gz"), r"b_t1\.nii\.gz: cannot be read"),
    "no image": (lambda p: remove(p, "*_t*", "*_flair*"), r"b_seg\.nii\.gz: b has no image"),
    "no mask": (lambda p: remove(p, "b_seg*"), r"b_.*nii\.gz: b has no mask; add it"),
    "no FLAIR": (lambda p: remove(p, "b_flair*"), r"b_.*nii\.gz: b has no FLAIR"),
    "NaN": (lambda p: change(p / "b_t1.nii.gz", lambda v: v.__setitem__((0, 0, 0), np.nan)), r"b_t1\.nii\.gz: .* NaN"),
    "infinite": (lambda p: change(p / "b_flair.nii.gz", lambda v: v.__setitem__(0, np.inf)), r"b_flair.*infinite"),
    "fractional": (lambda p: change(p / "b_seg.nii.gz", lambda v: v * 0.5), r"b_seg\.nii\.gz: has the label 0\.5"),
    "negative": (lambda p: change(p / "b_seg.nii.gz", lambda v: -v), r"b_seg\.nii\.gz: has the label -4"),
    "NaN label": (lambda p: change(p / "b_seg.nii.gz", lambda v: v * np.nan), r"b_seg\.nii\.gz: has the label nan"),
    "other shape": (lambda p: change(p / "b_t1.nii.gz", lambda v: v[1:]), r"b_t1\.nii\.gz: is 5x7x4 where b_flair"),
    "other mask": (lambda p: change(p / "b_seg.nii.gz", lambda v: v[:, 1:]), r"b_seg\.nii\.gz: is 6x6x4 where"),
    "other affine": (
        lambda p: change(p / "b_t1.nii.gz", lambda v: v, np.diag([2.0, -2, 2, 1])),
        r"b_t1\.nii\.gz: its affine differs from that of b_flair",
    ),
    "4D": (lambda p: change(p / "b_flair.nii.gz", lambda v: np.stack([v, v], -1)), r"b_flair.*holds 2 channels"),
    "twice": (lambda p: shutil.copy(p / "b_t1.nii.gz", p.parent / "b_t1.nii.gz"), r"b_t1\.nii\.gz: is a second pre"),
}


@pytest.mark.parametrize(
    ("kind", "name"), [("slices", name) for name in BAD_SLICES] + [("volumes", name) for name in BAD_VOLUMES]
)
def test_bad_patient_stops_with_one_line_or_is_left_out(
    kind: str,
    name: str,
    tmp_path: Path,
    make_slices: Make,
    make_volume: Make,
    capsys: pytest.CaptureFixture[str],
) -> None:
    spoil, message = (BAD_SLICES if kind == "slices" else BAD_VOLUMES)[name]
    if kind == "slices":
        for patient in "abcd":
            make_slices(tmp_path / "source", patient)
    else:
        make_brats(tmp_path / "source", make_volume)
    spoil(tmp_path / "source" / "b")
    before = read_all(tmp_path)
    with pytest.raises(InputError, match=message) as caught:
        prepare(tmp_path / "source", tmp_path / "out", **FEW)
    assert "\n" not in str(caught.value)
    assert ";" in str(caught.value)  # the remedy
    assert read_all(tmp_path) == before
    assert [file.name for file in tmp_path.iterdir()] == ["source"]
    capsys.readouterr()
    prepare(tmp_path / "source", tmp_path / "out", skip_bad=True, **FEW)
    assert sorted(list_items(tmp_path / "out")) == ["a", "c", "d"]
    assert f"left out: b: {caught.value}" in capsys.readouterr().out.splitlines()


def test_nothing_more_is_read_after_the_first_bad_patient(
    tmp_path: Path, make_slices: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    cut(make_slices(tmp_path / "source", "a") / "a_1.tif")
    for index in range(40):
        make_slices(tmp_path / "source", f"p{index}")
    read: list[str] = []

    def examine(case: Case, tumor_labels: Collection[int]) -> Study:
        read.append(case.patient)
        time.sleep(0.01)
        return examine_case(case, tumor_labels)

    monkeypatch.setattr("monai_brainseg.prepare.examine_case", examine)
    with pytest.raises(InputError, match="a_1.tif"):
        prepare(tmp_path / "source", tmp_path / "out")
    at_the_error = len(read)
    time.sleep(1)
    assert 0 < len(read) == at_the_error < 20


def test_all_patients_bad_is_refused_even_when_they_may_be_skipped(tmp_path: Path, make_slices: Make) -> None:
    for patient in "ab":
        cut(make_slices(tmp_path / "source", patient) / f"{patient}_1.tif")
    with pytest.raises(InputError, match=r"a_1\.tif: cannot be read.*all 2 patients"):
        prepare(tmp_path / "source", tmp_path / "out", skip_bad=True)
    assert not (tmp_path / "out").exists()


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


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"layout": "brats20"}, "--layout brats20: unknown; choose auto, kaggle_3m, brats, nnunet"),
        ({"folds": 1}, "--folds 1.*give 2 or more"),
        ({"test_share": 1.0}, "--test-share 1.*less than 1"),
        ({"test_share": -0.1}, "--test-share -0.1"),
        ({"seed": -1}, "--seed -1.*0 or more"),
        ({"tumor_labels": (1, 0)}, "--tumor-labels 0: 0 is background"),
        ({"folds": 9}, "8 patients: too few for 9 folds"),
    ],
)
def test_options_that_cannot_be_are_refused(
    options: dict[str, Any], message: str, tmp_path: Path, make_slices: Make
) -> None:
    with pytest.raises(InputError, match=message):
        prepare(make_tree(tmp_path / "source", make_slices), tmp_path / "out", **options)
    assert not (tmp_path / "out").exists()


def test_output_of_others_is_never_touched(tmp_path: Path, make_slices: Make) -> None:
    source, output = make_tree(tmp_path / "source", make_slices), tmp_path / "out"
    output.mkdir()
    (output / "thesis.txt").write_text("mine")
    for overwrite, message in {
        False: "is not empty; choose another --output, or",
        True: "thesis.txt: was not written",
    }.items():
        with pytest.raises(InputError, match=message):
            prepare(source, output, overwrite=overwrite)
    (output / "thesis.txt").unlink()
    prepare(source, output)  # an empty folder will do
    before = read_all(output)
    (output / "imagesTr" / "thesis.txt").write_text("mine")
    with pytest.raises(InputError, match="thesis.txt: was not written by brainseg prepare; move it away"):
        prepare(source, output, seed=1, overwrite=True)
    (output / "imagesTr" / "thesis.txt").unlink()
    assert read_all(output) == before


def test_prepared_folder_is_replaced_only_when_asked_and_only_as_a_whole(tmp_path: Path, make_slices: Make) -> None:
    source, output = make_tree(tmp_path / "source", make_slices), tmp_path / "out"
    prepare(source, output)
    before = read_all(output)
    with pytest.raises(InputError, match="out: is not empty; .*--overwrite"):
        prepare(source, output, seed=1)
    cut(source / "TCGA_CS_0000_20000101" / "TCGA_CS_0000_20000101_1.tif")
    with pytest.raises(InputError, match="cannot be read"):
        prepare(source, output, seed=1, overwrite=True)
    assert read_all(output) == before
    prepare(source, output, seed=1, overwrite=True, skip_bad=True)
    assert len(list_items(output)) == 7
    assert sorted(file.name for file in tmp_path.iterdir()) == ["out", "source"]


@pytest.mark.parametrize("output", ["source", "source/out", "."])
def test_output_in_the_source_is_refused(output: str, tmp_path: Path, make_slices: Make) -> None:
    source = make_tree(tmp_path / "source", make_slices, 3)
    before = read_all(source)
    with pytest.raises(InputError, match="lie in one another; choose a folder outside"):
        prepare(source, tmp_path / output)
    assert read_all(source) == before


def test_output_that_cannot_be_made_is_refused_before_reading(tmp_path: Path, make_slices: Make) -> None:
    source = make_tree(tmp_path / "source", make_slices, 3)
    (tmp_path / "file").touch()
    said: list[str] = []
    with pytest.raises(InputError, match="file: is a file; choose another --output"):
        prepare(source, tmp_path / "file", say=said.append)
    with pytest.raises(InputError, match=r"cannot be written \(Not a directory\); choose a folder"):
        prepare(source, tmp_path / "file" / "out", say=said.append)
    assert said == []


def test_full_disk_names_the_file_and_leaves_nothing(
    tmp_path: Path, make_slices: Make, monkeypatch: pytest.MonkeyPatch
) -> None:
    source = make_tree(tmp_path / "source", make_slices)
    written: list[Path] = []

    def fill(self: Path, data: bytes) -> int:
        written.append(self)
        if len(written) > 5:
            raise OSError(errno.ENOSPC, "No space left on device")
        with self.open("wb") as file:
            return file.write(data)

    monkeypatch.setattr(volumes.Path, "write_bytes", fill)
    with pytest.raises(InputError, match=r"nii\.gz: cannot be written \(No space left on device\); free space"):
        prepare(source, tmp_path / "out")
    assert len(written) > 5
    assert [file.name for file in tmp_path.iterdir()] == ["source"]


def test_interrupted_run_leaves_nothing_and_a_killed_one_is_cleared(tmp_path: Path, make_slices: Make) -> None:
    source = make_tree(tmp_path / "source", make_slices)

    def interrupt(line: str) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        prepare(source, tmp_path / "out", say=interrupt)
    assert [file.name for file in tmp_path.iterdir()] == ["source"]
    (tmp_path / ".out.unfinished" / "imagesTr").mkdir(parents=True)
    (tmp_path / ".out.unfinished" / "imagesTr" / "killed_0000.nii.gz").touch()
    prepare(source, tmp_path / "out")
    assert sorted(file.name for file in tmp_path.iterdir()) == ["out", "source"]
    assert "killed" not in "".join(read_all(tmp_path / "out"))


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
    assert "left out: 12 that belong to no patient" in printed.out
    assert "fold 1: 2 patients (unknown 2); tumour voxels 2 to 2, median 2" in printed.out
    assert printed.err == ""
    assert read_datalist(tmp_path / "out")["seed"] == 3


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (["--naming", "flair"], "--naming 'flair': expected"),
        (["--tumor-labels", "1;2"], "--tumor-labels 1;2: expected whole numbers"),
        (["--layout", "kaggle"], "--layout kaggle: unknown"),
        (["--layout", "kaggle_3m"], "source: no patient found in the layout 'kaggle_3m'"),
    ],
)
def test_command_line_ends_in_one_line(
    options: list[str], message: str, tmp_path: Path, make_volume: Make, capsys: pytest.CaptureFixture[str]
) -> None:
    source = make_brats(tmp_path / "source", make_volume)
    assert main(["prepare", str(source), "--output", str(tmp_path / "out"), *options]) == 1
    printed = capsys.readouterr()
    assert printed.out == ""
    assert printed.err.startswith("brainseg prepare: ")
    assert message in printed.err
    assert printed.err.count("\n") == 1


def test_png_can_be_the_first_that_two_threads_read(tmp_path: Path) -> None:
    rng = np.random.default_rng(0)
    for patient in "abcd":
        names = [tmp_path / "source" / f"{patient}_{number}" for number in (1, 2)]
        voxels = rng.integers(0, 65535, (9, 7, 2, 3), dtype=np.uint16)
        write_slices(voxels, [name.with_name(f"{name.name}.png") for name in names])
        write_slices((voxels[..., 1] > 60000).astype("u1"), [name.with_name(f"{name.name}_mask.png") for name in names])
    # In a process of its own, since ITK loads once.
    command = [sys.executable, "-m", "monai_brainseg", "prepare", "source", "--output", "out", "--folds", "2"]
    ended = subprocess.run(command, cwd=tmp_path, capture_output=True, text=True, check=False)
    assert (ended.returncode, ended.stderr) == (0, "")


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


@pytest.mark.parametrize(
    ("unit", "spacing", "columns", "refused"),
    [
        ("unknown", 1.0, 2048, None),
        ("mm", 0.5, 2048, None),
        ("mm", 1.0, 2048, "1 x 1 x 1 mm, 2048 mm across"),
        ("unknown", 40.0, 512, "40 x 40 x 40, 2.048e+04 across"),
    ],
)
def test_wide_image_is_refused_only_where_its_millimetres_are_known(
    unit: str, spacing: float, columns: int, refused: str | None, tmp_path: Path
) -> None:
    """Of an unknown spacing, what is said is not said in millimetres."""
    image = nib.Nifti1Image(np.ones((columns, 4, 2), np.int16), np.diag([spacing, spacing, spacing, 1.0]))
    image.header.set_xyzt_units(unit)
    nib.save(image, tmp_path / "a.nii.gz")
    case = Case("a", "a", "unknown", {"flair": (tmp_path / "a.nii.gz",)}, ())
    with pytest.raises(InputError, match=re.escape(refused)) if refused else nullcontext():
        assert read_images(case)["flair"].voxels.shape == (columns, 4, 2)


@pytest.mark.real_data
def test_real_nifti_case_of_another_set(shared: Path) -> None:
    naming = "flair=Flair_subtrMeanDivStd.nii.gz,post=T1c_subtrMeanDivStd.nii.gz,label=OTMultiClass.nii.gz"
    (case,) = find_cases(shared / "nifti", naming=naming).cases
    assert isinstance(case, Case)
    assert case.patient == "brats2013_pat0001"
    images = read_images(case)
    assert list(images) == ["flair", "post"]
    truth = nib.load(shared / "nifti" / "brats2013_pat0001" / "OTMultiClass.nii.gz").get_fdata() > 0
    np.testing.assert_array_equal(read_label(case, images["flair"]).voxels, truth)
    study = examine_case(case)
    assert study.tumor_voxels == truth.sum() > 0
    assert nib.aff2axcodes(images["flair"].affine) == ("L", "P", "S")
    assert not study.spacing_known  # its header names no unit
