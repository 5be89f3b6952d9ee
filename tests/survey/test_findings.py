"""Each thing that can be odd in a patient is found by name in that patient, and in no other."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import replace
from functools import cache
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from monai_brainseg.data.prepare import prepare
from monai_brainseg.phantoms.patients import STYLES, Phantom, make_phantom
from monai_brainseg.survey.datasets import check
from monai_brainseg.survey.findings import REMEDIES

Arrays = dict[str, np.ndarray]
Doctor = Callable[[Arrays], object]

_CLEAN = replace(STYLES["usual"], missing=0.0, gain=(100.0, 120.0), gamma=(1.0, 1.1))


@cache
def grow(number: int) -> Phantom:
    return make_phantom(np.random.default_rng([5, number]), size=64, slices=16, style=_CLEAN)


def leave(arrays: Arrays) -> None:
    """Change nothing."""


def store(folder: Path, patient: str, number: int, doctor: Doctor = leave, unit: str = "mm") -> None:
    """Write a patient under BraTS names; ``doctor`` changes the arrays ``t1n t2f t1c seg``, or adds ``affine``."""
    phantom = grow(number)
    arrays = dict(zip(("t1n", "t2f", "t1c"), np.moveaxis(phantom.images.copy(), -1, 0), strict=True))
    arrays |= {"seg": phantom.mask.astype(np.uint8), "affine": np.diag([-phantom.spacing[0]] * 2 + [7.5, 1.0])}
    doctor(arrays)
    affine = arrays.pop("affine")
    for name, voxels in arrays.items():
        image = nib.Nifti1Image(voxels, affine)
        image.header.set_xyzt_units(unit)
        (folder / patient).mkdir(parents=True, exist_ok=True)
        nib.save(image, folder / patient / f"{patient}-{name}.nii.gz")


def look(folder: Path) -> list[dict[str, str]]:
    check(folder, folder.parent / "out", say=lambda line: None)
    findings: list[dict[str, str]] = json.loads((folder.parent / "out" / "check.json").read_text())["findings"]
    return findings


def change(name: str, work: Callable[[np.ndarray], np.ndarray]) -> Doctor:
    return lambda arrays: arrays.update({name: work(arrays[name])})


def change_all(work: Callable[[np.ndarray], np.ndarray]) -> Doctor:
    return lambda arrays: [arrays.update({name: work(arrays[name])}) for name in ("t1n", "t2f", "t1c", "seg")]


def copy_slices(volume: np.ndarray) -> np.ndarray:
    volume[..., 5] = volume[..., 6]
    return volume


def shift(volume: np.ndarray) -> np.ndarray:
    """Move a tumour to the front, into the air."""
    return np.roll(volume, -np.argwhere(volume)[:, 1].min(), axis=1)


def sagittal(arrays: Arrays) -> None:
    change_all(lambda volume: volume.transpose(1, 2, 0))(arrays)
    arrays["affine"] = arrays["affine"][:, [1, 2, 0, 3]]


ODD: dict[str, tuple[str, Doctor]] = {
    "mask of another place": ("mask outside the head", change("seg", shift)),
    "mask on dark tissue": ("dark tumour", lambda a: a.update(seg=(a["t2f"] // 8 == 4).astype(np.uint8))),
    "mask of the brain": ("huge tumour", lambda a: a.update(seg=(a["t2f"] > 40).astype(np.uint8))),
    "no tumour": ("no tumour", change("seg", lambda seg: seg * 0)),
    "nothing in a sequence": ("empty sequence", change("t1c", lambda volume: volume * 0 + 9)),
    "slice exported twice": ("repeated slices", change("t2f", copy_slices)),
    "too bright": ("clipped", change("t1c", lambda v: np.clip(v, 0, int(np.percentile(v, 95))))),
    "a quarter as bright": ("dark", change("t2f", lambda v: v // 4)),
    "in other units": ("bright", change("t1n", lambda v: v.astype(np.int16) * 20)),
    "slices missing": ("few slices", change_all(lambda v: v[..., 7:14])),
    "thick slices": ("unusual spacing", lambda a: a.update(affine=a["affine"] @ np.diag([1, 1, 3, 1]))),
    "left for right": ("unusual orientation", lambda a: a.update(affine=np.diag([-1, 1, 1, 1]) @ a["affine"])),
    "copy of FLAIR": ("sequence replaced", lambda a: a.update(t1c=a["t2f"])),
    "not scanned": ("sequence missing", lambda a: a.pop("t1n")),
}  # fmt: skip


def test_nothing_is_found_in_sound_patients(tmp_path: Path) -> None:
    for number in range(6):
        store(tmp_path / "data", f"p{number}", number)
    assert look(tmp_path / "data") == []


@pytest.mark.parametrize("odd", ODD)
def test_what_is_odd_is_found_where_it_is(tmp_path: Path, odd: str) -> None:
    kind, doctor = ODD[odd]
    for number in range(6):
        store(tmp_path / "data", f"p{number}", number, doctor if number == 3 else leave)
    findings = look(tmp_path / "data")
    assert {finding["patient"] for finding in findings} == {"p3"}
    assert kind in {finding["kind"] for finding in findings}
    found = next(finding for finding in findings if finding["kind"] == kind)
    assert found["remedy"] == REMEDIES[kind]
    assert Path(found["file"]).is_file()
    assert Path(found["file"]).parent.name == "p3"


def test_findings_name_the_file_of_the_sequence(tmp_path: Path) -> None:
    for number in range(3):
        store(tmp_path / "data", f"p{number}", number, change("t1c", lambda v: v // 5) if number == 1 else leave)
    assert [Path(finding["file"]).name for finding in look(tmp_path / "data")] == ["p1-t1c.nii.gz"]


def test_sagittal_slices_are_told_from_axial_ones(tmp_path: Path) -> None:
    for number in range(4):
        store(tmp_path / "data", f"p{number}", number, sagittal if number == 2 else leave)
    kinds = {(finding["patient"], finding["kind"]) for finding in look(tmp_path / "data")}
    assert ("p2", "not axial") in kinds
    assert ("p2", "unusual orientation") in kinds


@pytest.mark.parametrize(("unit", "expected"), [("unknown", [("p1", "unusual size")]), ("mm", [])])
def test_other_numbers_of_pixels_are_odd_only_where_training_cannot_resample_them(
    tmp_path: Path, unit: str, expected: list[tuple[str, str]]
) -> None:
    wider = change_all(lambda v: np.pad(v, ((8, 8), (8, 8), (0, 0))))
    for number in range(4):
        store(tmp_path / "data", f"p{number}", number, wider if number == 1 else leave, unit=unit)
    assert [(f["patient"], f["kind"]) for f in look(tmp_path / "data")] == expected


def test_spacing_that_only_some_know_is_told(tmp_path: Path) -> None:
    for number in range(4):
        store(tmp_path / "data", f"p{number}", number, unit="unknown" if number == 1 else "mm")
    assert [(f["patient"], f["kind"]) for f in look(tmp_path / "data")] == [("p1", "spacing unknown")]


def test_patients_who_share_images_are_named(tmp_path: Path) -> None:
    for number in range(4):
        store(tmp_path / "data", f"p{number}", number)
    store(tmp_path / "data", "q1", 1)
    # The upper half of another one's slices, under a FLAIR whose values are stored in another type.
    store(tmp_path / "data", "q2", 2, change_all(lambda v: v[..., 6:].astype(np.float32)))
    findings = [(f["patient"], f["kind"], f["problem"]) for f in look(tmp_path / "data") if f["patient"] != "p2"]
    assert ("q1", "same images", "its images are those of p1") in findings
    assert ("q2", "shared slices", "10 of its 10 FLAIR slices are those of p2") in findings
    assert len(findings) == 2


def prepare_twins(tmp_path: Path) -> Path:
    for number in range(8):
        store(tmp_path / "data", f"p{number}", number)
    store(tmp_path / "data", "twin", 4)
    prepare(tmp_path / "data", tmp_path / "prepared", folds=4, test_share=0.2, say=lambda line: None)
    return tmp_path / "prepared"


def test_the_same_images_in_two_parts_of_a_split_are_named_with_the_parts(tmp_path: Path) -> None:
    folder = prepare_twins(tmp_path)
    content = json.loads((folder / "datalist.json").read_text())
    twin = next(item for part in ("training", "test") for item in content[part] if item["patient"] == "twin")
    first = next(item for part in ("training", "test") for item in content[part] if item["patient"] == "p4")
    for fold, item in ((0, first), (1, twin)):
        for part in ("training", "test"):
            content[part] = [other for other in content[part] if other is not item]
        content["training"].append({**item, "fold": fold})
    (folder / "datalist.json").write_text(json.dumps(content))
    (finding,) = look(folder)
    assert (finding["patient"], finding["kind"]) == ("twin", "same images")
    assert finding["problem"] == "its images are those of p4, which is in fold 0, not in fold 1"


def test_files_that_changed_since_they_were_prepared_are_named(tmp_path: Path) -> None:
    folder = prepare_twins(tmp_path)
    for patient, suffix in (("p1", "_0000"), ("p2", "")):
        file = next(folder.rglob(f"{patient}{suffix}.nii.gz"))
        image = nib.load(file)
        voxels = np.asanyarray(image.dataobj).copy()
        voxels[np.unravel_index(voxels.argmax(), voxels.shape)] -= 1
        nib.save(nib.Nifti1Image(voxels, image.affine, image.header), file)
    changed = {f["patient"]: Path(f["file"]).name for f in look(folder) if f["kind"] == "changed"}
    assert changed == {"p1": "p1_0001.nii.gz", "p2": "p2.nii.gz"}
