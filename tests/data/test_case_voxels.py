"""What a published case holds, from its files to its study."""

from __future__ import annotations

import re
from contextlib import nullcontext
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest

from monai_brainseg.data.case_voxels import examine_case, read_images, read_label
from monai_brainseg.data.cases import Case
from monai_brainseg.data.layouts import find_cases
from monai_brainseg.errors import InputError


@pytest.mark.parametrize(
    ("unit", "spacing", "columns", "refused"),
    [
        ("unknown", 1.0, 2048, None),
        ("mm", 0.5, 2048, None),
        ("mm", 1.0, 2048, "1 x 1 x 1 mm and is 2048 mm across"),
        ("unknown", 40.0, 512, "40 x 40 x 40 and is 2.048e+04 across"),
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


def test_a_mask_of_most_of_the_image_and_what_finding_it_showed_are_notes(tmp_path: Path) -> None:
    voxels = np.arange(168, dtype=np.int16).reshape(6, 7, 4)
    for name, array in {"flair": voxels, "seg": (voxels < 150).astype(np.uint8)}.items():
        nib.save(nib.Nifti1Image(array, np.eye(4)), tmp_path / f"{name}.nii.gz")
    images, label = {"flair": (tmp_path / "flair.nii.gz",)}, (tmp_path / "seg.nii.gz",)
    case = Case("a", "a", "unknown", images, label, notes=("it has a copy",), doubts=("it may be T1",))
    expected = ("it may be T1", "it has a copy", "more than half of the image is tumour: is the mask inverted?")
    assert examine_case(case).notes == expected
