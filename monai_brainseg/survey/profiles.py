"""What one patient's volumes look like: grid, intensities, tumour, and a picture."""

from __future__ import annotations

import hashlib
from collections.abc import Collection
from dataclasses import dataclass

import nibabel as nib
import numpy as np
from brainseg_unet_scripts.heads import find_head

from monai_brainseg.data.case_voxels import Study, describe_case, read_images, read_label
from monai_brainseg.data.cases import Case
from monai_brainseg.images.display_axes import find_fullest, measure_aspect, turn_to_screen
from monai_brainseg.images.volumes import Volume
from monai_brainseg.reporting.pages import embed
from monai_brainseg.reporting.slice_pictures import Slice, draw_slices

PERCENTILES = (1, 25, 50, 75, 99)

# Heads are measured on a grid of about so many columns: percentiles stay the same in a quarter of the time.
_COLUMNS = 128
# Pixels of a picture's longer side: 1000 pictures then make a page of about 15 MB.
_PICTURE = 256


@dataclass(frozen=True)
class Profile:
    """What one patient's volumes look like.

    Attributes:
        study: the case and what its voxels show.
        shape: voxels along x, y and z.
        spacing: millimetres between them, None where unknown.
        orientation: where x, y and z lead, such as "LPS": to the left, to the back, upwards.
        intensities: ``PERCENTILES`` of the head's voxels in each sequence that is the patient's own.
        clipped: share of the head's voxels that have the highest value of the sequence, likewise.
        tumor_slices: slices along z that show tumour.
        tumor_share: tumour voxels per voxel of the head.
        outside: share of the tumour that is outside the head.
        darker: share of the head that is darker in FLAIR than the tumour's median; None without tumour.
        slices: a hash of each slice of FLAIR along z, empty where all its pixels are the same.
        picture: of the axial slice with most tumour (the middle one without), its outline drawn, as a data URI.
    """

    study: Study
    shape: tuple[int, ...]
    spacing: tuple[float, ...] | None
    orientation: str
    intensities: dict[str, tuple[float, ...]]
    clipped: dict[str, float]
    tumor_slices: int
    tumor_share: float
    outside: float
    darker: float | None
    slices: tuple[str, ...]
    picture: str


def profile_case(case: Case, tumor_labels: Collection[int] = ()) -> Profile:
    """Read a case, check it as ``examine_case`` does, and measure what it looks like.

    Raises:
        InputError: as ``examine_case``.
    """
    images = read_images(case)
    label = read_label(case, images["flair"], tumor_labels)
    study = describe_case(case, images, label)
    flair, tumor = images["flair"], label.voxels > 0
    step = max(1, round(max(flair.voxels.shape[:2]) / _COLUMNS))
    thin = (slice(None, None, step), slice(None, None, step))
    tissue, head = find_head(flair.voxels[thin])
    own = {sequence: images[sequence].voxels[thin][tissue] for sequence in study.sequences}
    inside = tumor[thin]
    marked = flair.voxels[tumor]
    return Profile(
        study=study,
        shape=flair.voxels.shape,
        spacing=tuple(flair.spacing.tolist()) if flair.spacing_known else None,
        orientation="".join(nib.aff2axcodes(flair.affine)),
        intensities={s: tuple(np.percentile(voxels, PERCENTILES).tolist()) for s, voxels in own.items()},
        clipped={s: float(np.mean(voxels == images[s].voxels.max())) for s, voxels in own.items()},
        tumor_slices=int(tumor.any(axis=(0, 1)).sum()),
        tumor_share=float(inside.sum() / head.sum()),
        outside=float(np.mean(~head[inside])) if inside.any() else 0.0,
        darker=float(np.mean(own["flair"] < np.median(marked))) if marked.size else None,
        slices=tuple(_hash_slice(flair.voxels[..., z]) for z in range(flair.voxels.shape[2])),
        picture=_draw_picture(flair, tumor),
    )


def _hash_slice(pixels: np.ndarray) -> str:
    if pixels.min() == pixels.max():
        return ""
    return hashlib.sha256(pixels.astype("<f4").tobytes()).hexdigest()[:16]


def _draw_picture(flair: Volume, tumor: np.ndarray) -> str:
    image, mask = turn_to_screen(flair, flair.voxels, tumor)
    z = find_fullest(mask)
    shown = Slice(image[..., z].T, {"tumour": mask[..., z].T})
    return embed(draw_slices([shown], measure_aspect(flair), longest=_PICTURE), "webp")
