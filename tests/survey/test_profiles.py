"""What is measured of a patient is what other libraries measure, however the volume is stored."""

from __future__ import annotations

import itertools
import pickle
from dataclasses import replace
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from brainseg_unet_scripts.heads import find_head

from monai_brainseg.data.cases import Case
from monai_brainseg.phantoms.patients import STYLES, Phantom, make_phantom
from monai_brainseg.survey.profiles import Profile, profile_case

TURNS = [f"{x}{y}{z}" for axes in itertools.permutations(("LR", "AP", "IS")) for x, y, z in itertools.product(*axes)]


@pytest.fixture(scope="module")
def phantom() -> Phantom:
    return make_phantom(np.random.default_rng(3), size=96, slices=20, style=replace(STYLES["usual"], missing=0))


def store(phantom: Phantom, folder: Path, turn: str = "LPS", unit: str = "mm") -> Case:
    """Write a phantom with its axes turned, as another scanner would store the same patient."""
    affine = np.diag([-phantom.spacing[0], -phantom.spacing[1], phantom.spacing[2], 1])
    path = nib.orientations.ornt_transform(
        nib.orientations.axcodes2ornt("LPS"), nib.orientations.axcodes2ornt(tuple(turn))
    )
    arrays = [*np.moveaxis(phantom.images, -1, 0), phantom.mask.astype(np.uint8)]
    files = []
    for name, array in zip(("pre", "flair", "post", "label"), arrays, strict=True):
        image = nib.Nifti1Image(array, affine).as_reoriented(path)
        image.header.set_xyzt_units(unit)
        files.append(folder / f"{turn}_{name}.nii.gz")
        nib.save(image, files[-1])
    images = {name: (file,) for name, file in zip(("pre", "flair", "post"), files, strict=False)}
    return Case("a", "a", "unknown", images, (files[-1],))


def test_measures_are_those_of_the_file(phantom: Phantom, tmp_path: Path) -> None:
    profile = profile_case(store(phantom, tmp_path))
    image = nib.load(tmp_path / "LPS_flair.nii.gz")
    assert profile.shape == image.shape
    assert profile.spacing == pytest.approx([float(length) for length in image.header.get_zooms()])
    assert profile.study.tumor_voxels == phantom.mask.sum()
    assert profile.study.tumor_size == pytest.approx(phantom.mask.sum() * np.prod(phantom.spacing))
    assert profile.tumor_slices == sum(phantom.mask[..., z].any() for z in range(20))
    assert len(set(profile.slices)) == 20
    assert set(profile.intensities) == set(profile.clipped) == {"pre", "flair", "post"}
    head = phantom.images[..., 1][find_head(phantom.images[..., 1])[0]]
    np.testing.assert_allclose(profile.intensities["flair"], np.percentile(head, (1, 25, 50, 75, 99)))
    assert profile.darker == np.mean(head < np.median(phantom.images[..., 1][phantom.mask]))
    assert profile.clipped["post"] < 0.05


@pytest.mark.parametrize("turn", TURNS)
def test_a_volume_stored_another_way_is_the_same_patient(phantom: Phantom, tmp_path: Path, turn: str) -> None:
    expected, profile = (profile_case(store(phantom, tmp_path, each)) for each in ("LPS", turn))
    assert profile.orientation == turn
    assert profile.picture == expected.picture
    assert sorted(profile.shape) == sorted(expected.shape)
    assert profile.darker == pytest.approx(expected.darker, abs=0.02)


def test_spacing_is_told_only_where_the_file_says_millimetres(phantom: Phantom, tmp_path: Path) -> None:
    profile = profile_case(store(phantom, tmp_path, unit="unknown"))
    assert profile.spacing is None
    assert profile.study.tumor_size == phantom.mask.sum()


def test_voxels_are_not_kept(phantom: Phantom, tmp_path: Path) -> None:
    """Memory stays flat in the number of patients: a profile is a small share of its images."""
    profile = profile_case(store(phantom, tmp_path))
    assert isinstance(profile, Profile)
    assert len(pickle.dumps(profile)) < phantom.images.nbytes / 20
