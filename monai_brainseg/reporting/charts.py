"""Charts for pages: lines, a histogram, and ranges of patients."""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from itertools import cycle

import numpy as np
from matplotlib.axes import Axes
from matplotlib.figure import Figure
from matplotlib.ticker import MaxNLocator

Point = tuple[float, float]
Limits = tuple[float, float]

_BINS = 16
_BLUE, _ORANGE = "#3b7dd8", "#ff4d00"


def draw_lines(
    lines: Mapping[str, Sequence[Point]],
    x_name: str,
    *,
    marks: Mapping[str, Point] | None = None,
    limits: tuple[Limits, Limits] | None = None,
) -> Figure:
    """Return lines over one pair of axes.

    Args:
        lines: points (x, y), one at least, by the name of the line.
        x_name: what x is.
        marks: points with a name.
        limits: of x and of y; those of the points unless given.
    """
    figure, axes = _make_axes(4.8, 3.0, xlabel=x_name, ylabel=next(iter(lines)) if len(lines) == 1 else "")
    for (name, points), (colour, style) in zip(lines.items(), cycle(((_BLUE, "-"), (_ORANGE, "--"))), strict=False):
        marker = "." if len(points) == 1 else ""
        axes.plot(*zip(*points, strict=True), label=name, color=colour, linestyle=style, marker=marker)
    for row, (name, point) in enumerate((marks or {}).items()):
        _mark(axes, name, point, row)
    if limits:
        axes.set(xlim=limits[0], ylim=limits[1])
    if len(lines) > 1:
        axes.legend(frameon=False)
    axes.grid(alpha=0.3)
    _set_ticks(axes, (x for line in lines.values() for x, _ in line))
    return figure


def draw_histogram(values: Sequence[float], x_name: str) -> Figure:
    """Return a histogram of patients by value; whole numbers in a small range get a bar each.

    Args:
        values: of the patients.
        x_name: what they are.
    """
    figure, axes = _make_axes(4.0, 2.0, xlabel=x_name, ylabel="patients")
    low, high = min(values), max(values)
    width = max((high - low) / _BINS, 1 if _are_whole(values) else 1e-9)
    edges = np.arange(low - width / 2, high + width, width)
    axes.hist(values, edges.tolist(), color=_BLUE, rwidth=0.94)
    _set_ticks(axes, values)
    axes.yaxis.set_major_locator(MaxNLocator("auto", integer=True))
    return figure


def draw_ranges(ranges: Iterable[Sequence[float]]) -> Figure:
    """Return a stroke for each patient, in a row: percentiles 1 to 99 thin, 25 to 75 thick, the median a dot.

    Args:
        ranges: these five percentiles of each patient, in rising order.
    """
    figure, axes = _make_axes(4.0, 2.0, ylabel="intensity", xticks=[])
    low, quarter, middle, three_quarters, high = np.array(list(ranges)).T
    places = np.arange(len(middle))
    axes.vlines(places, low, high, color=_BLUE, linewidth=0.8)
    axes.vlines(places, quarter, three_quarters, color=_BLUE, linewidth=3)
    axes.plot(places, middle, ".", color="black", markersize=3)
    return figure


def _make_axes(width: float, height: float, **options: object) -> tuple[Figure, Axes]:
    figure = Figure(figsize=(width, height), layout="constrained")
    axes = figure.add_subplot(**options)
    axes.spines[["top", "right"]].set_visible(False)
    return figure, axes


def _mark(axes: Axes, name: str, point: Point, row: int) -> None:
    """Draw a dot with its name beside it, one row lower for each, so that close ones can be distinguished."""
    axes.plot(*point, "o", color=_ORANGE, clip_on=False)
    side, align = (-1, "right") if point[0] > 0.5 else (1, "left")
    axes.annotate(
        name,
        point,
        xytext=(16 * side, -16 * (row + 1)),
        textcoords="offset points",
        horizontalalignment=align,
        arrowprops={"arrowstyle": "-", "color": "gray"},
    )


def _set_ticks(axes: Axes, values: Iterable[float]) -> None:
    """Set ticks along x at whole numbers where all values are."""
    axes.xaxis.set_major_locator(MaxNLocator("auto", integer=_are_whole(values), min_n_ticks=1))


def _are_whole(values: Iterable[float]) -> bool:
    return all(value == int(value) for value in values)
