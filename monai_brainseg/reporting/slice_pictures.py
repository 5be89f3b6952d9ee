"""Pictures of slices: an image in grey, masks as outlines, a probability in colour."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure

# Pixels of a slice's longer side.
_LONGEST = 384
_DPI = 100
_OUTLINES: dict[str, dict[str, Any]] = {
    "tumour": {"colors": "#ff4d00"},
    "truth": {"colors": "#00e05a"},
    "prediction": {"colors": "#ff2d2d", "linestyles": [(0, (4, 2))]},
}
# Its lightness rises throughout.
HEAT = "inferno"


@dataclass(frozen=True)
class Slice:
    """What a picture of a slice shows.

    Attributes:
        image: ``[row, column]``, of any scale.
        outlines: masks by the kind of their line: tumour, truth or prediction; bool of the same shape.
        heat: 0 to 1, of the same shape, shown in colour; 0 is clear.
    """

    image: np.ndarray
    outlines: Mapping[str, np.ndarray] = field(default_factory=dict)
    heat: np.ndarray | None = None


def draw_slices(slices: Sequence[Slice], aspect: float, *, columns: int = 1, longest: int = _LONGEST) -> Figure:
    """Return a figure of slices side by side, in grey from their 0.5th to their 99.5th percentile.

    Args:
        slices: one at least, of one shape.
        aspect: height of a pixel over its width.
        columns: slices in a row.
        longest: pixels of a slice's longer side.
    """
    height, width = slices[0].image.shape[0] * aspect, slices[0].image.shape[1]
    scale = longest / max(height, width)
    rows = -(-len(slices) // columns)
    size = columns * max(1, round(width * scale)) / _DPI, rows * max(1, round(height * scale)) / _DPI
    figure = Figure(figsize=size, dpi=_DPI, facecolor="black")
    spaces = {"left": 0, "right": 1, "bottom": 0, "top": 1, "wspace": 0, "hspace": 0}
    grid = figure.subplots(rows, columns, squeeze=False, gridspec_kw=spaces).ravel()
    window = np.percentile([each.image for each in slices], (0.5, 99.5))
    for axes, each in zip(grid, slices, strict=False):
        _show_slice(axes, each, *window)
    for axes in grid:
        axes.set_axis_off()
    return figure


def _show_slice(axes: Axes, shown: Slice, low: float, high: float) -> None:
    rows, columns = shown.image.shape
    axes.imshow(np.clip(shown.image.astype(np.float64), low, high), cmap="gray", vmin=low, vmax=high, aspect="auto")
    if shown.heat is not None:
        clear = np.clip(2 * shown.heat, 0, 0.8)
        axes.imshow(shown.heat, cmap=HEAT, vmin=0, vmax=1, alpha=clear, aspect="auto")
    for kind, mask in shown.outlines.items():
        if mask.any():
            # The rim of 0 closes outlines at the border.
            around = np.arange(-1, columns + 1), np.arange(-1, rows + 1)
            axes.contour(*around, np.pad(mask, 1), [0.5], linewidths=1.5, **_OUTLINES[kind])
    axes.set(xlim=(-0.5, columns - 0.5), ylim=(rows - 0.5, -0.5))
