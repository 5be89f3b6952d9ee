"""Small data sets as they are published, to be prepared, and the look at what was made of them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np

from monai_brainseg.data.splits import Item, read_datalist

Make = Callable[..., Path]
# Options with which four patients are enough.
FEW: dict[str, Any] = {"folds": 2, "test_share": 0.25}


def list_items(folder: Path) -> dict[str, Item]:
    """Return a prepared folder's patients, of training and test, by their names."""
    datalist = read_datalist(folder)
    return {item["patient"]: item for item in [*datalist["training"], *datalist["test"]]}


def read_all(folder: Path) -> dict[str, bytes]:
    """Return the bytes of every file below a folder."""
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def make_tree(folder: Path, make_slices: Make, count: int = 8) -> Path:
    """Write patients of two sites as kaggle_3m has them, each of other sizes."""
    for index in range(count):
        make_slices(
            folder, f"TCGA_{('CS', 'DU')[index % 2]}_{index:04d}_20000101", count=3 + index, tumor=1 + index % 5
        )
    return folder


def make_brats(folder: Path, make_volume: Make, patients: str = "abcd", names: str = "t1 t1ce flair t2") -> Path:
    """Write patients as BraTS has them, with labels 1 and 4 in each mask."""
    for seed, patient in enumerate(patients):
        for offset, name in enumerate(names.split()):
            make_volume(folder / patient / f"{patient}_{name}.nii.gz", seed=10 * seed + offset)
        labels = np.zeros((6, 7, 4), np.uint8)
        labels[1:3, 1, 1] = (1, 4)
        make_volume(folder / patient / f"{patient}_seg.nii.gz", voxels=labels)
    return folder


def cut(file: Path) -> None:
    """Cut off a file's end."""
    file.write_bytes(file.read_bytes()[:-100])
