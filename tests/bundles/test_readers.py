"""A reader that threads share gives each what it asked for; MONAI's own, shared, drops files of a case."""

from __future__ import annotations

from multiprocessing.pool import ThreadPool
from pathlib import Path

import nibabel as nib
import numpy as np
import pytest
from brainseg_unet_scripts.errors import BundleError
from brainseg_unet_scripts.readers import CaseLoadImaged


def test_each_of_many_threads_gets_the_files_that_it_asked_for(tmp_path: Path) -> None:
    cases = []
    for number in range(16):
        files = [tmp_path / f"{number}_{sequence}.nii.gz" for sequence in range(3 if number % 2 else 1)]
        for sequence, file in enumerate(files):
            voxels = np.full((96, 96, 8), 10 * number + sequence, np.int16)
            nib.save(nib.Nifti1Image(voxels, np.diag([1.0 + number, 1, 1, 1])), file)
        cases.append(files)
    load = CaseLoadImaged(keys="image")
    with ThreadPool(8) as pool:
        images = [item["image"] for item in pool.map(load, [{"image": files} for files in cases] * 8, chunksize=1)]
    for index, image in enumerate(images):
        number = index % len(cases)
        values = image.mean((1, 2, 3)).tolist() if number % 2 else [image.mean().item()]
        assert values == [10 * number + sequence for sequence in range(len(cases[number]))]
        assert image.affine[0, 0] == 1 + number
        assert image.meta["filename_or_obj"] == str(cases[number][0])


def test_a_file_that_is_cut_off_or_not_there_is_named(tmp_path: Path) -> None:
    file = tmp_path / "case.nii.gz"
    nib.save(nib.Nifti1Image(np.arange(4096, dtype=np.int16).reshape(16, 16, 16), np.eye(4)), file)
    file.write_bytes(file.read_bytes()[:200])
    whole = tmp_path / "whole.nii.gz"
    nib.save(nib.Nifti1Image(np.zeros((16, 16, 16), np.int16), np.eye(4)), whole)
    empty = tmp_path / "empty.nii"
    empty.touch()
    for broken, said in ((file, "cannot be read"), (empty, "cannot be read"), (tmp_path / "gone.nii", "no such file")):
        with pytest.raises(BundleError, match=f"^{broken}: {said}"):
            CaseLoadImaged(keys="image")({"image": broken})
    with pytest.raises(BundleError, match=f"^{file}: cannot be read"):
        CaseLoadImaged(keys=["image", "label"])({"image": [str(whole), str(file), str(whole)], "label": str(whole)})
