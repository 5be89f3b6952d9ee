"""Pictures of a few patients: FLAIR with the outlines of truth and prediction, and the probability as a heat map."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TypeVar

import numpy as np

from monai_brainseg.data.splits import Item
from monai_brainseg.errors import InputError
from monai_brainseg.images.display_axes import find_fullest, measure_aspect, turn_to_screen
from monai_brainseg.images.volumes import Volume, read_nifti
from monai_brainseg.reporting.pages import embed
from monai_brainseg.reporting.slice_pictures import Slice, draw_slices
from monai_brainseg.scoring.patients import find_predictions

_EACH = 3
# The caption of a probability map.
MAP = "probability and truth"

Each = TypeVar("Each")


@dataclass(frozen=True)
class Overlay:
    """Pictures of a patient.

    Attributes:
        patient: name of the case.
        figures: images by caption, as data URIs; none if ``problem``.
        problem: why there are none.
    """

    patient: str
    figures: Mapping[str, str]
    problem: str = ""


def choose_examples(ranked: Sequence[Each]) -> dict[str, list[Each]]:
    """Return the worst, median and best three of a ranking that starts with the worst, nothing twice."""
    worst, best = list(ranked[:_EACH]), list(ranked[max(_EACH, len(ranked) - _EACH) :])
    rest = ranked[_EACH : max(_EACH, len(ranked) - _EACH)]
    start = max(0, (len(rest) - _EACH + 1) // 2)
    groups = {"worst": worst, "median": list(rest[start : start + _EACH]), "best": best}
    return {name: group for name, group in groups.items() if group}


def draw_overlay(item: Item, predictions: Path) -> Overlay:
    """Draw a patient whose truth and prediction were read before; a problem of the images is reported, not raised."""
    image_file = Path(item["image"][1 if len(item["image"]) > 1 else 0])
    truth = read_nifti(Path(item["label"]))
    try:
        flair = read_nifti(image_file)
    except InputError as error:
        return Overlay(item["patient"], {}, str(error))
    if flair.voxels.shape != truth.voxels.shape or not np.isfinite(flair.voxels).all():
        return Overlay(
            item["patient"], {}, f"{image_file}: is not on the truth's grid, or holds NaN or infinite voxels"
        )
    return Overlay(item["patient"], dict(_draw_figures(flair, truth, *find_predictions(item["patient"], predictions))))


def _draw_figures(flair: Volume, truth: Volume, mask: Path, probability: Path) -> Iterable[tuple[str, str]]:
    missing = not mask.exists()
    masks = [truth.voxels == 1, np.zeros(truth.voxels.shape, bool) if missing else read_nifti(mask).voxels == 1]
    # The grid of the masks is the one that was checked; some images do not give theirs.
    image, true, predicted = turn_to_screen(truth, flair.voxels, *masks)
    aspect, count = measure_aspect(truth), image.shape[2]
    shown, wrong = find_fullest(true if true.any() else predicted), find_fullest(true ^ predicted)
    outlines = {"truth": true} if missing else {"truth": true, "prediction": predicted}

    def draw(z: int, lines: Mapping[str, np.ndarray], heat: np.ndarray | None = None) -> str:
        cut = {kind: mask[..., z].T for kind, mask in lines.items()}
        shown = Slice(image[..., z].T, cut, None if heat is None else heat[..., z].T)
        return embed(draw_slices([shown], aspect), "webp")

    most = "most tumour" if true.any() else "most predicted" if predicted.any() else "the middle"
    yield f"FLAIR, slice {shown + 1} of {count} ({most})", draw(shown, {})
    yield "no prediction; truth" if missing else "truth and prediction", draw(shown, outlines)
    if not missing and probability.exists():
        (heat,) = turn_to_screen(truth, read_nifti(probability).voxels)
        yield MAP, draw(shown, {"truth": true}, heat)
    if wrong != shown and (true ^ predicted).any():
        yield f"slice {wrong + 1} (most error)", draw(wrong, outlines)
