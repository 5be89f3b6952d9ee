"""Synthetic patients: heads in which a tumour is hard to find, for the demo and the tests.

A head's tissues are painted with three intensities each, given lesions, and scanned: receive bias, Rician noise, gain,
gamma and black level differ from patient to patient. Much that is not tumour is as bright in FLAIR as a lesion: fat,
mucosa, choroid plexus, caps of the ventricles, lipomas. A lesion differs by its compact irregular shape inside one
hemisphere, and it is dark before contrast.
"""

from __future__ import annotations

import shutil
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path

import numpy as np
from tqdm import tqdm

from monai_brainseg.errors import InputError
from monai_brainseg.files import unwritable
from monai_brainseg.images.volumes import Volume, write_nifti, write_slices
from monai_brainseg.phantoms.anatomy import (
    FAT,
    FIELD_OF_VIEW,
    LIPOMA,
    PLEXUS,
    VENTRICLE,
    WHITE,
    Head,
    make_head,
    smooth_noise,
)

SITES = ("NORTH", "EAST", "SOUTH", "WEST")

# Intensities before contrast, in FLAIR and after contrast, one row a tissue in the order of ``anatomy``.
_INTENSITIES = np.array(
    [
        (0.00, 0.00, 0.00),  # air
        (0.40, 0.36, 0.45),  # skin
        (1.00, 0.90, 0.95),  # fat
        (0.08, 0.07, 0.08),  # bone
        (0.55, 0.40, 0.55),  # marrow
        (0.34, 0.30, 0.42),  # muscle
        (0.16, 0.10, 0.17),  # fluid
        (0.15, 0.08, 0.16),  # ventricle
        (0.47, 0.49, 0.50),  # grey matter
        (0.60, 0.40, 0.60),  # white matter
        (0.52, 0.48, 0.54),  # nucleus
        (0.25, 0.45, 1.10),  # vessel
        (0.42, 0.80, 1.00),  # plexus
        (0.53, 0.62, 0.53),  # cap
        (0.38, 1.00, 0.95),  # mucosa
        (1.00, 0.85, 1.00),  # lipoma
    ],
    dtype=np.float32,
)


@dataclass(frozen=True)
class Style:
    """How scanners show heads; a pair is the range that each patient draws from.

    Attributes:
        gain: Grey levels between air and an intensity of 1, log-uniform, drawn for each sequence.
        gamma: Exponent of the intensity curve, log-uniform, drawn for each sequence.
        black: Grey level of air.
        noise: Standard deviation of the Rician noise.
        bias: Standard deviation of the logarithm of the receive field.
        fat: Brightness of fat in FLAIR as a share of its unsuppressed one.
        lesion: Brightness of lesions in FLAIR over that of white matter.
        tint: Standard deviation of the logarithm of each tissue's intensity.
        missing: Share of patients whose first or last sequence is FLAIR once more, as in the LGG data.
    """

    gain: tuple[float, float] = (90.0, 250.0)
    gamma: tuple[float, float] = (0.75, 1.35)
    black: tuple[float, float] = (0.0, 12.0)
    noise: tuple[float, float] = (0.01, 0.03)
    bias: float = 0.18
    fat: tuple[float, float] = (0.8, 1.25)
    lesion: tuple[float, float] = (1.6, 2.3)
    tint: float = 0.06
    missing: float = 0.1


STYLES = {
    "usual": Style(),
    "other": Style(
        gain=(60.0, 120.0),
        gamma=(1.6, 2.2),
        black=(15.0, 40.0),
        noise=(0.04, 0.06),
        bias=0.3,
        fat=(0.1, 0.4),
        lesion=(1.5, 2.0),
        tint=0.1,
    ),
}


@dataclass(frozen=True)
class Phantom:
    """One synthetic patient.

    Attributes:
        images: uint8 ``[x, y, z, 3]``, axes to the patient's left, back and head; pre-contrast, FLAIR, post-contrast.
        mask: bool ``[x, y, z]``, true in the tumour.
        spacing: Millimetres between voxels along x, y and z.
    """

    images: np.ndarray
    mask: np.ndarray
    spacing: tuple[float, ...]


def make_phantom(
    rng: np.random.Generator, *, size: int = 128, slices: int = 24, style: Style = STYLES["usual"]
) -> Phantom:
    """Return one synthetic patient with a tumour.

    Args:
        rng: Decides everything; the same state gives the same patient.
        size: Columns and rows of a slice, over a field of view of 224 mm.
        slices: Slices from the eyes to the vertex, over 120 mm.
        style: How the scanner shows it.

    Raises:
        InputError: The grid is too coarse to hold a head, or larger than a scanner's.
    """
    for name, value, low, high in (("size", size, 48, 512), ("slices", slices, 8, 256)):
        if not low <= value <= high:
            raise InputError(f"{name} {value}", f"phantoms have {low} to {high}", "choose a number in this range")
    shape = (size, size, slices)
    head = make_head(rng, shape)
    intensities = _INTENSITIES * np.exp(style.tint * rng.standard_normal(_INTENSITIES.shape, dtype=np.float32))
    intensities[[FAT, LIPOMA], 1] *= rng.uniform(*style.fat)
    images = intensities[head.labels]
    mask = _grow_lesions(rng, head, images, style)
    return Phantom(_scan(rng, images, style), mask, tuple(w / n for w, n in zip(FIELD_OF_VIEW, shape, strict=True)))


def write_phantoms(
    output: Path,
    patients: int,
    seed: int = 0,
    layout: str = "kaggle_3m",
    *,
    size: int = 128,
    slices: int = 24,
    style: Style = STYLES["usual"],
) -> list[str]:
    """Write patients 1 to ``patients`` below ``output``, each a folder, and return their names.

    A patient depends on the seed and its number alone: more of them leave the first as they were. A patient that exists
    already is replaced completely.

    Args:
        output: The folder; it is made if it is missing.
        patients: How many.
        seed: Another seed gives other patients of the same names.
        layout: A key of ``WRITERS``: ``kaggle_3m``, slices without spacing, or ``nifti``, BraTS names and millimetres.
        size: As in ``make_phantom``.
        slices: As in ``make_phantom``.
        style: As in ``make_phantom``.

    Raises:
        InputError: An argument is out of range, or the folder cannot be written.
    """
    if layout not in WRITERS:
        raise InputError(f"layout {layout!r}", "there is no such layout", f"choose {' or '.join(WRITERS)}")
    if patients < 1 or seed < 0:
        raise InputError(f"patients {patients}, seed {seed}", "must be at least 1 patient and a seed of 0 or more")
    names = [f"PHANTOM_{SITES[number % len(SITES)]}_{number:04d}" for number in range(1, patients + 1)]
    try:
        output.mkdir(parents=True, exist_ok=True)
        for number, name in enumerate(tqdm(names, "phantoms", unit="patient", disable=None), start=1):
            phantom = make_phantom(np.random.default_rng([seed, number]), size=size, slices=slices, style=style)
            with tempfile.TemporaryDirectory(prefix=".unfinished-", dir=output) as folder:
                WRITERS[layout](phantom, Path(folder) / name)
                shutil.rmtree(output / name, ignore_errors=True)
                (Path(folder) / name).replace(output / name)
    except OSError as error:
        raise unwritable(output, error) from error
    return names


def _write_slice_tree(phantom: Phantom, folder: Path) -> None:
    files = [folder / f"{folder.name}_{number}.tif" for number in range(1, phantom.mask.shape[2] + 1)]
    write_slices(phantom.images, files)
    masks = phantom.mask.astype(np.uint8) * np.uint8(255)
    write_slices(masks, [file.with_name(f"{file.stem}_mask.tif") for file in files])


def _write_volumes(phantom: Phantom, folder: Path) -> None:
    affine = np.diag([-1.0, -1.0, 1.0, 1.0]) * (*phantom.spacing, 1.0)
    affine[:3, 3] = -affine[:3, :3] @ (np.array(phantom.mask.shape) - 1) / 2
    volumes = (*np.moveaxis(phantom.images, -1, 0), phantom.mask.astype(np.uint8))
    for name, voxels in zip(("t1n", "t2f", "t1c", "seg"), volumes, strict=True):
        write_nifti(Volume(voxels, affine, spacing_known=True), folder / f"{folder.name}-{name}.nii.gz")


WRITERS: dict[str, Callable[[Phantom, Path], None]] = {"kaggle_3m": _write_slice_tree, "nifti": _write_volumes}


def _grow_lesions(rng: np.random.Generator, head: Head, images: np.ndarray, style: Style) -> np.ndarray:
    """Paint one large lesion and up to two small ones near it into ``images``; return their mask."""
    room = (head.brain_depth > 1) & ~np.isin(head.labels, (VENTRICLE, PLEXUS)) & (np.abs(head.x) > 1.5)
    deep = (head.labels == WHITE) & (head.brain_depth > 9) & (np.abs(head.x) > 13)
    home = np.argwhere(deep & (head.z > 28) & (head.z < 96))
    mask = np.zeros(head.labels.shape, dtype=bool)
    for radius in (_log_uniform(rng, (13, 32)), *rng.uniform(4.5, 9, rng.choice(3, p=(0.5, 0.3, 0.2)))):
        middle = home[rng.integers(len(home))]
        reach = head.distance(middle, radius * np.exp(rng.normal(0, 0.15, 3)))
        hemisphere = head.x * head.x[tuple(middle)] > 0
        home = home[(hemisphere & (reach < 1 + 30 / radius))[tuple(home.T)]]
        reach += 0.2 * smooth_noise(rng, mask.shape, (10, 10, 6)) + 0.1 * smooth_noise(rng, mask.shape, (24, 24, 8))
        share = np.clip(0.5 + (1 - reach) * radius / rng.uniform(1.5, 3), 0, 1) * (room & hemisphere)
        images += share[..., None] * (_paint_lesion(rng, reach, style) - images)
        mask |= share >= 0.5
    return mask


def _paint_lesion(rng: np.random.Generator, reach: np.ndarray, style: Style) -> np.ndarray:
    """Return a lesion's intensities: bright in FLAIR, dark before contrast, some with a fluid core or a bright rim."""
    lesion = _INTENSITIES[WHITE] * (rng.uniform(0.55, 0.8), rng.uniform(*style.lesion), rng.uniform(0.65, 0.95))
    coarse, fine = (smooth_noise(rng, reach.shape, cells) for cells in ((16, 16, 8), (40, 40, 12)))
    tumour = ((1 + 0.12 * coarse + 0.08 * fine)[..., None] * lesion).astype(np.float32)
    core, rim = rng.uniform(0.25, 0.45), rng.uniform(0.1, 0.25)
    if rng.random() < 0.3:
        tumour[reach < core] = (0.22, rng.uniform(0.2, 0.5), 0.22)
    if rng.random() < 0.35:
        tumour[(reach > core) & (reach < core + rim), 2] = rng.uniform(0.8, 1.1)
    return tumour


def _scan(rng: np.random.Generator, images: np.ndarray, style: Style) -> np.ndarray:
    """Return what a scanner makes of true intensities: uint8 of the same shape."""
    for axis in (0, 1):  # voxels share tissues with their neighbours
        images = (np.roll(images, 1, axis) + 2 * images + np.roll(images, -1, axis)) / 4
    shape, scans = images.shape[:3], []
    coil = smooth_noise(rng, shape, (2, 2, 2))
    for sequence in np.moveaxis(images, -1, 0):
        bias = np.exp(style.bias * (0.9 * coil + 0.4 * smooth_noise(rng, shape, (3, 3, 2))))
        real, imaginary = rng.uniform(*style.noise) * rng.standard_normal((2, *shape), dtype=np.float32)
        signal = np.hypot(sequence * bias + real, imaginary)  # a magnitude image, hence Rician
        black, gain = rng.uniform(*style.black), _log_uniform(rng, style.gain)
        scans.append(black + gain * signal ** _log_uniform(rng, style.gamma))
    if rng.random() < style.missing:
        scans[rng.choice((0, 2))] = scans[1]
    return np.stack(scans, -1).round().clip(0, 255).astype(np.uint8)


def _log_uniform(rng: np.random.Generator, bounds: tuple[float, float]) -> float:
    return float(np.exp(rng.uniform(*np.log(bounds))))
