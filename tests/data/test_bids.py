"""BIDS data sets: sequences, sessions and runs by their entities, masks of derivatives, and masks as derivatives."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import nibabel as nib
import numpy as np
import pytest
from support.fixed_bundles import draw_phantom, make_affine

from monai_brainseg.cli.main import main
from monai_brainseg.data.bids import Named, place_mask, read_bids
from monai_brainseg.data.layouts import find_cases
from monai_brainseg.errors import InputError
from monai_brainseg.inputs.search import find_studies

SEQUENCES = {"T1w": 0, "FLAIR": 1, "ce-gadolinium_T1w": 2}


def save(root: Path, name: str, seed: int = 0, datatype: str = "anat") -> Path:
    """Write a file where its entities put it; what it holds follows from its suffix."""
    phantom = draw_phantom(seed=seed)
    folders = [part for part in name.split("_") if part.startswith(("sub-", "ses-"))]
    file = root.joinpath(*folders, datatype, f"{name}.nii.gz")
    file.parent.mkdir(parents=True, exist_ok=True)
    sequence = next((n for suffix, n in SEQUENCES.items() if name.endswith(f"_{suffix}")), 1)
    voxels = phantom.images[..., 2 if "_ce-" in name else sequence].astype("int16")
    if name.endswith(("mask", "dseg", "seg")):
        voxels = phantom.mask.astype("uint8")
    image = nib.Nifti1Image(voxels, make_affine(phantom))
    image.header.set_xyzt_units("mm")
    nib.save(image, file)
    return file


def write_set(root: Path, count: int = 2, derived: str = "label-tumor_mask") -> Path:
    for number in range(1, count + 1):
        for suffix in SEQUENCES:
            save(root, f"sub-{number:02d}_{suffix}", number)
        if derived:
            save(root / "derivatives" / "manual", f"sub-{number:02d}_{derived}", number)
    (root / "dataset_description.json").write_text('{"Name": "x", "BIDSVersion": "1.8.0"}')
    return root


def images(found: Any) -> dict[str, dict[str, str]]:
    return {case.patient: {role: f[0].name for role, f in case.images.items()} for case in found.cases}


def test_sequences_are_read_by_their_entities_and_derivatives_are_left_out(tmp_path: Path) -> None:
    write_set(tmp_path)
    save(tmp_path, "sub-01_T2w")
    save(tmp_path, "sub-01_task-rest_bold", datatype="func")
    found = find_studies([tmp_path])
    assert images(found)["sub-01"] == {
        "pre": "sub-01_T1w.nii.gz", "flair": "sub-01_FLAIR.nii.gz", "post": "sub-01_ce-gadolinium_T1w.nii.gz",
    }  # fmt: skip
    assert list(images(found)) == ["sub-01", "sub-02"]
    left_out = {reason: [Path(file).name for file in files] for reason, files in found.left_out.items() if files}
    assert left_out == {
        "are in derivatives, sourcedata, code: name that folder to use them": [
            "sub-01_label-tumor_mask.nii.gz", "sub-02_label-tumor_mask.nii.gz",
        ],
        "are not FLAIR, pre- or post-contrast images": [
            "dataset_description.json", "sub-01_T2w.nii.gz", "sub-01_task-rest_bold.nii.gz",
        ],
    }  # fmt: skip
    assert not found.bad


def test_sessions_and_runs_are_studies_of_their_own(tmp_path: Path) -> None:
    for name in ("ses-a_T1w", "ses-a_FLAIR", "ses-b_FLAIR", "ses-c_run-1_FLAIR", "ses-c_run-2_FLAIR", "ses-c_T1w"):
        save(tmp_path, f"sub-01_{name}")
    assert {name: sorted(roles) for name, roles in images(find_studies([tmp_path])).items()} == {
        "sub-01_ses-a": ["flair", "pre"],
        "sub-01_ses-b": ["flair"],
        "sub-01_ses-c_run-1": ["flair", "pre"],
        "sub-01_ses-c_run-2": ["flair", "pre"],
    }


def test_runs_take_the_files_of_their_run_and_several_that_fit_alike_are_not_used(tmp_path: Path) -> None:
    for name in ("run-1_FLAIR", "run-2_FLAIR", "run-1_T1w", "run-2_T1w", "acq-a_ce-gd_T1w", "acq-b_ce-gd_T1w"):
        save(tmp_path, f"sub-01_{name}")
    first, second = find_studies([tmp_path]).cases
    assert first.images["pre"][0].name == "sub-01_run-1_T1w.nii.gz"
    assert second.images["pre"][0].name == "sub-01_run-2_T1w.nii.gz"
    assert "post" not in first.images
    assert "2 post images could belong to it" in first.notes[0]


def test_a_session_without_flair_fails_alone(tmp_path: Path) -> None:
    write_set(tmp_path)
    save(tmp_path, "sub-03_T1w")
    found = find_studies([tmp_path])
    assert len(found.cases) == 2
    assert "sub-03 has no FLAIR" in str(found.bad["sub-03"])


def test_derivatives_that_are_named_are_used(tmp_path: Path) -> None:
    write_set(tmp_path)
    prep = tmp_path / "derivatives" / "prep"
    for name in ("space-MNI_desc-brain_FLAIR", "space-MNI_desc-brain_T1w", "desc-preproc_T1w", "desc-brain_mask"):
        save(prep, f"sub-01_{name}")
    assert images(find_studies([prep])) == {
        "sub-01": {
            "pre": "sub-01_space-MNI_desc-brain_T1w.nii.gz", "flair": "sub-01_space-MNI_desc-brain_FLAIR.nii.gz",
        }
    }  # fmt: skip


@pytest.mark.parametrize(
    ("name", "role"),
    [
        ("sub-1_T1w", "pre"),
        ("sub-1_ce-none_T1w", "pre"),
        ("sub-1_ce-Gd_T1w", "post"),
        ("sub-1_acq-postcontrast_T1w", "post"),
        ("sub-1_acq-T1_FLAIR", "T1 FLAIR"),
        ("sub-1_acq-sag_FLAIR", "flair"),
        ("sub-1_T2w", "unused"),
        ("sub-1_dseg", "label"),
        ("sub-1_UNIT1", None),
    ],
)
def test_entities_say_the_role(name: str, role: str | None) -> None:
    named = read_bids(Path("sub-1/anat", f"{name}.nii.gz"))
    assert isinstance(named, Named)
    assert named.role == role


@pytest.mark.parametrize("derived", ["label-tumor_mask", "desc-lesion_dseg", "space-orig_seg"])
def test_prepare_and_check_take_the_mask_of_the_derivatives(derived: str, tmp_path: Path) -> None:
    write_set(tmp_path / "set", 4, derived)
    save(tmp_path / "set" / "derivatives" / "fmriprep", "sub-01_desc-brain_mask")
    save(tmp_path / "set" / "derivatives" / "fmriprep", "sub-01_label-GM_mask")
    save(tmp_path / "set", "sub-04_ses-2_FLAIR", 4)
    save(tmp_path / "set" / "derivatives" / "manual", f"sub-04_ses-2_{derived}", 4)
    found = find_cases(tmp_path / "set")
    assert found.layout == "bids"
    assert not found.bad
    assert [(case.patient, case.subject) for case in found.cases][-2:] == [
        ("sub-04", "sub-04"),
        ("sub-04_ses-2", "sub-04"),
    ]
    words = [str(tmp_path / "set"), "--output"]
    assert main(["prepare", *words, str(tmp_path / "data"), "--folds", "2", "--test-share", "0"]) == 0
    listed = json.loads((tmp_path / "data" / "datalist.json").read_text())["training"]
    assert [item["patient"] for item in listed] == ["sub-01", "sub-02", "sub-03", "sub-04", "sub-04_ses-2"]
    assert all(item["tumor_voxels"] for item in listed)
    assert listed[3]["fold"] == listed[4]["fold"]


def test_masks_that_cannot_be_told_apart_are_bad(tmp_path: Path) -> None:
    write_set(tmp_path)
    save(tmp_path / "derivatives" / "other", "sub-01_label-tumor_mask")
    write_set(tmp_path / "unlabelled", derived="")
    found = find_cases(tmp_path)
    assert [case.patient for case in found.cases] == ["sub-02"]
    assert "sub-01 has 2 masks" in str(found.bad["sub-01"])


def test_masks_are_written_as_derivatives(predict: Callable[..., Any], tmp_path: Path) -> None:
    write_set(tmp_path / "set")
    flair = save(tmp_path / "set", "sub-02_ses-x_run-1_FLAIR")
    record = predict(tmp_path / "set", "--bids", "--probability")
    masks = tmp_path / "masks"
    names = {file.relative_to(masks).as_posix() for file in masks.rglob("*.nii.gz")}
    starts = ("sub-01/anat/sub-01", "sub-02/anat/sub-02", "sub-02/ses-x/anat/sub-02_ses-x_run-1")
    kinds = ("mask", "probseg")
    assert names == {f"{start}_space-orig_label-tumor_{kind}.nii.gz" for start in starts for kind in kinds}
    description = json.loads((masks / "dataset_description.json").read_text())
    assert description["DatasetType"] == "derivative"
    assert description["GeneratedBy"][0]["Name"] == "brainseg"
    beside = json.loads((masks / f"{starts[2]}_space-orig_label-tumor_mask.json").read_text())
    assert beside == {"Type": "Lesion", "RawSources": ["sub-02/ses-x/anat/sub-02_ses-x_run-1_FLAIR.nii.gz"]}
    mask = nib.load(masks / f"{starts[2]}_space-orig_label-tumor_mask.nii.gz")
    assert np.array_equal(mask.affine, nib.load(flair).affine)
    assert np.asarray(mask.dataobj).any()
    assert all((masks / name).exists() for case in record["cases"] for name in case["output"])
    made = (masks / f"{starts[0]}_space-orig_label-tumor_mask.nii.gz").stat().st_mtime_ns
    predict(tmp_path / "set", "--bids", "--probability")
    assert (masks / f"{starts[0]}_space-orig_label-tumor_mask.nii.gz").stat().st_mtime_ns == made


def test_a_study_that_is_not_bids_gets_a_name_of_letters(tmp_path: Path) -> None:
    assert place_mask(tmp_path / "my scan.nii", "my scan") == (Path("sub-myscan/anat"), "sub-myscan_space-orig")
    with pytest.raises(InputError, match="leave out --bids"):
        place_mask(tmp_path / "é.nii", "é")
