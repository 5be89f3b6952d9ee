"""Of each published layout, its sequences, channels and labels become those of a volume."""

from __future__ import annotations

import json
import subprocess
import sys
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from support.published_sets import FEW, Make, list_items, make_brats

from monai_brainseg.data.prepare import prepare
from monai_brainseg.errors import InputError
from monai_brainseg.images.volumes import read_nifti, write_slices


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
    assert "pre: 2 patients; missing in b, d" in capsys.readouterr().out


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


def test_links_of_datalad_are_prepared_by_their_own_names_and_a_lost_file_is_said(
    tmp_path: Path, make_volume: Make
) -> None:
    source = make_brats(tmp_path / "source", make_volume)
    prepare(source, tmp_path / "plain", **FEW)
    annex = source / ".git" / "annex"
    annex.mkdir(parents=True)
    for number, file in enumerate(sorted(source.rglob("*.nii.gz"))):
        file.rename(annex / f"MD5E-s1--{number}")
        file.symlink_to(annex / f"MD5E-s1--{number}")
    prepare(source, tmp_path / "out", **FEW)
    for file in (tmp_path / "plain").rglob("*.*"):
        assert file.read_bytes() == (tmp_path / "out" / file.relative_to(tmp_path / "plain")).read_bytes()
    lost = source / "a" / "a_flair.nii.gz"
    lost.resolve().unlink()
    with pytest.raises(InputError, match=f"{lost}: is a link to a file that is not there; fetch it"):
        prepare(source, tmp_path / "again", **FEW)


@pytest.mark.parametrize(("labels", "voxels"), [((), 2), ((4,), 1), ((1, 4), 2), ((2,), 0)])
def test_tumor_labels(labels: tuple[int, ...], voxels: int, tmp_path: Path, make_volume: Make) -> None:
    source = make_brats(tmp_path / "source", make_volume)
    prepare(source, tmp_path / "out", tumor_labels=labels, **FEW)
    item = list_items(tmp_path / "out")["a"]
    assert item["tumor_voxels"] == voxels == nib.load(item["label"]).get_fdata().sum()


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
