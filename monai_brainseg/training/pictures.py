"""Pictures of patients for a dashboard: a slice of FLAIR with truth in green and prediction in red."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import torch
from matplotlib.colors import ListedColormap
from monai.visualize import blend_images
from PIL import Image, ImageDraw

from monai_brainseg.images.display_axes import find_fullest, turn_to_screen
from monai_brainseg.images.volumes import Volume
from monai_brainseg.scoring.metrics import count_slices, dice, pool

_TINT = 0.4  # share of the colour where tumour is marked
_COLOURS = ListedColormap(["black", "red", "lime", "yellow"])  # nothing, prediction, truth, both
_WIDTH = 256  # pixels that a picture has at least, so that its caption fits
_CAPTION = 40  # pixels below a picture, three lines of text
_LEGEND = "truth green, prediction red, both yellow"
_FLAIR = 1  # channel of the network's input

Pixels = npt.NDArray[np.uint8]


@dataclass(frozen=True)
class Picture:
    """A patient's slice with truth and prediction over it, and the caption below.

    Attributes:
        patient: its name.
        dice: of the whole volume.
        pixels: [row, column, 3].
    """

    patient: str
    dice: float
    pixels: Pixels


def sort_worst(pictures: Iterable[Picture]) -> list[Picture]:
    """Sort by Dice, lowest first, and by name if it is the same."""
    return sorted(pictures, key=lambda picture: (picture.dice, picture.patient))


def draw_patient(patient: str, output: Mapping[str, Any]) -> Picture:
    """Draw the slice with most truth; without any that with most prediction, and without that the middle one.

    Args:
        patient: its name.
        output: ``image`` [channel, x, y, z] in LPS, FLAIR in channel 1; ``pred`` and ``label`` [1, x, y, z] with 0 and
            1, on another grid of the same extent, a MetaTensor whose affine tells where its axes lead.
    """
    predicted, true = (torch.as_tensor(output[name][0]).bool().cpu().numpy() for name in ("pred", "label"))
    label = Volume(true, np.asarray(output["label"].affine, np.float64), spacing_known=False)
    prediction, truth = turn_to_screen(label, predicted, true)
    score, count = dice(pool(count_slices(prediction, truth))), truth.shape[2]
    z = find_fullest(truth if truth.any() else prediction)
    flair = torch.as_tensor(output["image"])[_FLAIR].float().cpu()
    shown = flair[..., z * flair.shape[2] // count] / flair.max().clamp_min(1e-6)
    grey = torch.nn.functional.interpolate(shown[None, None], truth.shape[:2], mode="bilinear")[0, 0].numpy()
    pixels = blend_masks(grey, prediction[..., z], truth[..., z])
    caption = f"{patient}\nDice {score:.3f}, slice {z + 1} of {count}\n{_LEGEND}"
    return Picture(patient, score, add_caption(pixels, caption))


def blend_masks(
    grey: npt.NDArray[np.floating], prediction: npt.NDArray[np.bool_], truth: npt.NDArray[np.bool_]
) -> Pixels:
    """Draw prediction in red and truth in green, so both in yellow, over a grey slice.

    Args:
        grey: [column, row] from 0, black, to 1, white.
        prediction: [column, row].
        truth: [column, row].

    Returns:
        [row, column, 3].
    """
    kinds = (prediction + 2.0 * truth) / 3  # from 0 to 1, as a colour map takes them
    blended = blend_images(grey.clip(0, 1)[None], kinds[None], _TINT, _COLOURS, rescale_arrays=False)
    return np.asarray(255 * blended).round().astype(np.uint8).T


def add_caption(pixels: Pixels, text: str) -> Pixels:
    """Write three lines of text below a picture, which is magnified by a whole number if it is small."""
    factor = max(1, _WIDTH // pixels.shape[1])
    large = pixels.repeat(factor, axis=0).repeat(factor, axis=1)
    page = Image.new("RGB", (large.shape[1], large.shape[0] + _CAPTION))
    page.paste(Image.fromarray(large))
    ImageDraw.Draw(page).multiline_text((3, large.shape[0] + 1), text, fill="white", spacing=2)
    return np.asarray(page)
