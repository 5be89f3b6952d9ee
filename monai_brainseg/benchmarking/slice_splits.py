"""A split by slice, as published works make it: slices of one patient are trained on and scored. It leaks.

It is made only to measure the leak, beside a split by patient. So that nothing else differs, as many slices are
trained on as the patient split's fold trains on, and slices are left out of every patient, with and without tumour in
the same share.

Slices of one side are stacked to a volume of their own. The bundle then scales each stack by its own percentiles, not
by those of the whole volume; of 17 LGG patients the scale of the left-out stack was 0.94 to 1.11 times that of the
whole volume, and that of the training stack 0.98 to 1.02 times, where training varies it by a quarter. To exclude even
that, the patient split's networks are scored on the same left-out stacks as well (``SAME_PATIENTS``).
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import nibabel as nib
import numpy as np

from monai_brainseg.data.case_voxels import do_each
from monai_brainseg.data.splits import Datalist, Item, write_datalist
from monai_brainseg.images.display_axes import find_turn
from monai_brainseg.images.volumes import Volume, hash_images, read_nifti, write_nifti

# Folds of the derived folder.
LEFT_FOLD, TRAIN_FOLD = 0, 1
# Endings of the names of cases.
SIDES = ("_train", "_left")
# A second datalist of it: left-out slices of the patients that the patient split leaves out.
SAME_PATIENTS = "same_patients.json"


def deal_slices(tumor: Sequence[np.ndarray], sizes: Sequence[int], rng: np.random.Generator) -> list[np.ndarray]:
    """Deal every slice of every patient to a fold at random.

    Slices are lined up by patient, within a patient those with tumour first, and within these at random. Each fold
    draws one slice from each of as many equal stretches of the line as it has slices (stratified sampling; Cochran,
    Sampling Techniques, 1977), so that every patient is in every fold in about its share.

    Args:
        tumor: of each patient, which slices show tumour: bool, [slices].
        sizes: slices of each fold; they add up to all slices.
        rng: source of the draws.

    Returns:
        the fold of each slice of each patient: int, [slices].
    """
    places = np.concatenate([(np.arange(size) + rng.random(size)) / size for size in sizes])
    dealt = np.repeat(np.arange(len(sizes)), sizes)[np.argsort(places)]
    folds, start = [], 0
    for shows in tumor:
        order = rng.permutation(len(shows))
        order = order[np.argsort(~np.asarray(shows, dtype=bool)[order], kind="stable")]
        fold = np.empty(len(shows), dtype=int)
        fold[order] = dealt[start : start + len(shows)]
        folds.append(fold)
        start += len(shows)
    return folds


def write_slice_split(datalist: Datalist, fold: int, output: Path, rng: np.random.Generator) -> None:
    """Write a prepared folder in which every training patient is a case to train on and one that is left out.

    ``<patient>_train`` is in fold ``TRAIN_FOLD``, ``<patient>_left`` in ``LEFT_FOLD``. The two folds have as many
    slices as those left in and out by the patient split. Left-out slices of a patient that show no tumour at all are
    not listed: two empty masks would count as a Dice of 1. The test part is empty. The datalist says that it is split
    by slice, and people keep their names, so that the leak guard sees the leak. ``datalist.json`` is written last.

    Args:
        datalist: the prepared patients.
        fold: of the patient split, to be matched.
        output: folder to make.
        rng: source of the random split; the same state splits the same way for every fold.

    Raises:
        InputError: a file cannot be read or written.
    """
    items = datalist["training"]
    tumor = list(do_each(_find_tumor, items, "reading masks"))
    folds = sorted({item["fold"] for item in items})
    sizes = [sum(len(t) for t, item in zip(tumor, items, strict=True) if item["fold"] == one) for one in folds]
    dealt = deal_slices(tumor, sizes, rng)
    sides = [deal == folds.index(fold) for deal in dealt]

    def write(work: tuple[Item, np.ndarray, np.ndarray]) -> list[Item]:
        item, left, shows = work
        cases = [(SIDES[0], TRAIN_FOLD, ~left)] + ([(SIDES[1], LEFT_FOLD, left)] if shows[left].any() else [])
        return [_write_stack(item, *case, output) for case in cases if case[2].any()]

    work = list(zip(items, sides, tumor, strict=True))
    stacks = list(do_each(write, work, "splitting by slice"))
    same = [
        stack
        for item, pair in zip(items, stacks, strict=True)
        for stack in pair
        if item["fold"] == fold and stack["fold"] == LEFT_FOLD
    ]
    listed = [stack for pair in stacks for stack in pair]
    for name, training in ((SAME_PATIENTS, same), ("datalist.json", listed)):
        description = f"{datalist.get('name', 'a data set')}, split by slice to measure the leak"
        content = Datalist(name="slices", description=description, split="slice", folds=2, training=training, test=[])
        write_datalist(content, output / name)


def _find_tumor(item: Item) -> np.ndarray:
    return np.asarray(np.any(_read_upright(item["label"]).voxels > 0, axis=(0, 1)))


def _read_upright(file: str) -> Volume:
    """Read a volume and turn it so that the slices the network sees are those along its last axis."""
    volume = read_nifti(Path(file))
    turn = find_turn(volume)
    voxels = nib.orientations.apply_orientation(volume.voxels, turn)
    affine = volume.affine @ nib.orientations.inv_ornt_aff(turn, volume.voxels.shape)
    return Volume(voxels, affine, volume.spacing_known)


def _write_stack(item: Item, side: str, fold: int, kept: np.ndarray, output: Path) -> Item:
    """Write some slices of a patient as a case of that person."""
    name = f"{item['patient']}{side}"

    def stack(file: str, path: Path) -> Volume:
        volume = _read_upright(file)
        volume = Volume(np.ascontiguousarray(volume.voxels[..., kept]), volume.affine, volume.spacing_known)
        write_nifti(volume, path)
        return volume

    images = [output / "imagesTr" / f"{name}_{channel:04}.nii.gz" for channel in range(len(item["image"]))]
    stacks = [stack(file, path) for file, path in zip(item["image"], images, strict=True)]
    label = stack(item["label"], output / "labelsTr" / f"{name}.nii.gz")
    return {
        **item,
        "image": [str(path) for path in images],
        "label": str(output / "labelsTr" / f"{name}.nii.gz"),
        "patient": name,
        "subject": item.get("subject", item["patient"]),
        "fold": fold,
        "tumor_voxels": int(np.count_nonzero(label.voxels)),
        "hash": hash_images(stacks),
    }
