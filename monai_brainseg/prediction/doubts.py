"""Reasons to doubt a study's mask. They are reported with it, since a wrong mask looks like any other."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass

import numpy as np
from brainseg_unet_scripts.heads import find_head

from monai_brainseg.errors import InputError
from monai_brainseg.images.display_axes import turn_spacing, turn_to_screen
from monai_brainseg.images.volumes import Volume

# Diameter of a circle as large as the head's largest slice, in pixels: over the 68 training patients of the LGG set the
# median is 197 and the range 175 to 247 (``find_head`` on FLAIR, 2026-11). A brain without its skull is 0.75 of that.
USUAL_DIAMETER = 197.0
_FAR_OFF = 1.4
# Adults' heads in millimetres, with and without skull.
_MILLIMETRES = (110.0, 240.0)

_FEW_SLICES = 8
_FEW_VALUES = 10  # the darkest volume of the LGG set has more than 60 different values, a mask has a handful
_SMALL_HEAD = 0.05  # of a slice; in the LGG set the smallest head takes 0.38
_THICK = 2.0  # times the distance of pixels: from here on, an axis counts as that of the slices
_UPSIDE_DOWN = 0.3
_HUGE = 0.5
_NOISE = 0.3  # correlation of every second pixel with the next one; in the LGG set 0.8 or more
_OUTSIDE = 0.1
_COLUMNS = 128


@dataclass(frozen=True)
class Look:
    """What a study looks like.

    Attributes:
        scale: factor for its spacing within slices before the network sees it; 1 if the spacing is known, or if the
            head has about the size that the network knows.
        head: where the head is, ``[x, y, z]`` as on a screen, on every ``step``-th column and row.
        step: see ``head``.
        warnings: in plain words.
    """

    scale: float
    head: np.ndarray
    step: int
    warnings: tuple[str, ...]


def look_at_images(images: Mapping[str, Volume], keep_scale: bool = False) -> Look:
    """Look at a study's sequences before they are segmented.

    Args:
        images: one grid; ``flair`` is among them.
        keep_scale: let the head be of any size.

    Raises:
        InputError: a sequence has one value everywhere, or so few that it is a mask.
    """
    for sequence, volume in images.items():
        _refuse_no_image(sequence, volume.voxels)
    flair = images["flair"]
    (voxels,) = turn_to_screen(flair, flair.voxels)
    step = max(1, round(max(voxels.shape[:2]) / _COLUMNS))
    thin = voxels[::step, ::step]
    _, head = find_head(thin)
    spacing = turn_spacing(flair)
    warnings = [*_judge_unit(flair), *_judge_slices(flair), *_judge_noise(thin), *_judge_head(head, spacing)]
    scale, said = _choose_scale(head, spacing * (step, step, 1), flair.spacing_known)
    scale, said = (1.0, []) if keep_scale else (scale, said)
    return Look(scale, head, step, (*warnings, *said))


def look_at_mask(mask: np.ndarray, flair: Volume, look: Look) -> list[str]:
    """Look at a mask, ``[x, y, z]`` bool on FLAIR's grid, and return what makes it doubtful."""
    if not mask.any():
        return []
    (turned,) = turn_to_screen(flair, mask)
    thin = turned[:: look.step, :: look.step]
    warnings = []
    if thin.any() and np.mean(~look.head[thin]) > _OUTSIDE:
        warnings.append(f"{np.mean(~look.head[thin]):.0%} of the mask is outside the head")
    if thin.sum() > _HUGE * look.head.sum():
        warnings.append(f"the mask covers {thin.sum() / look.head.sum():.0%} of the head")
    return warnings


def _refuse_no_image(sequence: str, voxels: np.ndarray) -> None:
    if voxels.min() == voxels.max():
        raise InputError(sequence, f"has the value {voxels.flat[0]:g} everywhere", "export it again, or leave it out")
    # A thousand voxels of an image differ; of the few that look like a mask all voxels are counted.
    spread = voxels.ravel(order="K")[:: max(1, voxels.size // 20000)]
    if len(np.unique(spread)) < _FEW_VALUES and len(values := np.unique(voxels)) < _FEW_VALUES:
        raise InputError(sequence, f"has only {len(values)} different values, like a mask", "give the image")


def _judge_unit(flair: Volume) -> Iterable[str]:
    spacing = flair.spacing
    if not flair.spacing_known and not np.allclose(spacing, 1):
        size = "x".join(f"{side:g}" for side in spacing.round(2))
        yield f"its header has no unit for voxels of {size}, so volumes are unknown; if it is mm, set xyzt_units"


def _judge_slices(flair: Volume) -> Iterable[str]:
    (count,) = turn_to_screen(flair, flair.voxels)[0].shape[2:]
    if count < _FEW_SLICES:
        yield f"it has few slices ({count}): a tumour between them is not seen"
    spacing = turn_spacing(flair)
    thick = int(spacing.argmax())
    if flair.spacing_known and thick != 2 and spacing[thick] > _THICK * np.median(spacing):
        seen = ("sagittal", "coronal")[thick]
        yield f"it was scanned in {seen} slices; the network sees axial slices, which are coarse here"


def _judge_noise(voxels: np.ndarray) -> Iterable[str]:
    likeness = np.corrcoef(voxels[1:].ravel(), voxels[:-1].ravel())[0, 1] if len(voxels) > 1 else 1.0
    if not likeness > _NOISE:
        yield "no head was found: neighbouring pixels are unrelated, as in noise"


def _judge_head(head: np.ndarray, spacing: np.ndarray) -> Iterable[str]:
    areas = head.mean(axis=(0, 1))
    fullest = head[..., int(areas.argmax())]
    if areas.max() < _SMALL_HEAD:
        yield f"no head was found: the largest object fills {areas.max():.1%} of a slice"
        return
    if areas.max() > 0.98:
        yield "no head was found: there is no air around it"
        return
    width, length = fullest.any(axis=1).sum() * spacing[0], fullest.any(axis=0).sum() * spacing[1]
    # In the LGG set heads are 1.07 to 1.42 times as long as wide.
    if width > 1.02 * length:
        yield "wrong orientation? the head is wider than it is long, as if slices were turned by 90 degrees"
    fifth = max(1, len(areas) // 5)
    top, bottom = areas[-fifth:].mean() / areas.max(), areas[:fifth].mean() / areas.max()
    # In all but 2 of 68 LGG patients the lowest slices show more of the head than the highest.
    if len(areas) >= _FEW_SLICES and top > bottom + _UPSIDE_DOWN:
        yield "wrong orientation? the head gets smaller downwards, as if slices were in reverse order"


def _choose_scale(head: np.ndarray, spacing: np.ndarray, known: bool) -> tuple[float, list[str]]:
    areas = head.sum(axis=(0, 1))
    diameter = float(np.sqrt(areas.max() * spacing[0] * spacing[1] * 4 / np.pi))
    share = areas.max() / head[..., 0].size
    if known:
        odd = not _MILLIMETRES[0] < diameter < _MILLIMETRES[1] and share < 0.98
        return 1.0, [f"wrong spacing? the head is {diameter:.0f} mm across"] if odd else []
    ratio = USUAL_DIAMETER / diameter
    if 1 / _FAR_OFF < ratio < _FAR_OFF or not _SMALL_HEAD < share < 0.98:
        return 1.0, []
    said = f"the head is {diameter:.0f} pixels across, the spacing is unknown: a pixel was taken as {ratio:.2f} mm"
    return ratio, [said]
