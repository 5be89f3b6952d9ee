"""Line charts as inline SVG, for pages."""

from __future__ import annotations

import math
from collections.abc import Callable, Iterable, Mapping, Sequence
from html import escape

Point = tuple[float, float]
Limits = tuple[float, float]

_LEFT, _TOP, _WIDTH, _HEIGHT = 52, 10, 380, 220
_TICKS = 5


def draw_lines(
    lines: Mapping[str, Sequence[Point]],
    title: str,
    x_name: str,
    *,
    marks: Mapping[str, Point] | None = None,
    limits: tuple[Limits, Limits] | None = None,
) -> str:
    """Return a figure of lines over one pair of axes.

    Args:
        lines: points (x, y) by the line's name, one point at least in all.
        title: the caption.
        x_name: what x is.
        marks: points with a name, drawn as dots.
        limits: of x and of y; those of the points unless given.
    """
    points = [point for line in lines.values() for point in line]
    across, up = (
        _find_ticks(*each) for each in limits or [_find_limits(values) for values in zip(*points, strict=True)]
    )

    def place(point: Point) -> Point:
        x = _LEFT + _WIDTH * (point[0] - across[0]) / (across[-1] - across[0])
        return x, _TOP + _HEIGHT * (1 - (point[1] - up[0]) / (up[-1] - up[0]))

    drawn = [
        f'<path class="s{index}" d="M{" ".join(f"{x:.1f},{y:.1f}" for x, y in map(place, line))}"/>'
        for index, line in enumerate(lines.values())
        if line
    ]
    dots = [_draw_mark(name, place(point), row) for row, (name, point) in enumerate((marks or {}).items())]
    name = f'<text x="{_LEFT + _WIDTH / 2}" y="{_TOP + _HEIGHT + 34}" text-anchor="middle">{escape(x_name)}</text>'
    keys = [f'<span class="s{index}">━</span> {escape(line)}' for index, line in enumerate(lines)]
    caption = f"{escape(title)}" + (f": {', '.join(keys)}" if len(keys) > 1 else "")
    drawing = "".join([*_draw_grid(across, up, place), name, *drawn, *dots])
    return (
        f'<figure class="line"><svg class="chart" viewBox="0 0 {_LEFT + _WIDTH + 16} {_TOP + _HEIGHT + 40}">'
        f"<title>{escape(title)}</title>{drawing}</svg><figcaption>{caption}</figcaption></figure>"
    )


def _find_limits(values: Iterable[float]) -> Limits:
    listed = list(values)
    low, high = min(listed), max(listed)
    size = max(abs(low), abs(high)) or 1.0
    # What differs by less is as good as equal, and ticks between would all be written alike.
    return (low, high) if high - low > 1e-6 * size else (low - size / 2, high + size / 2)


def _find_ticks(low: float, high: float) -> list[float]:
    """Return round numbers, the first at most ``low`` and the last at least ``high``, 1, 2 or 5 of a decade apart."""
    rough = (high - low) / _TICKS
    decade = 10 ** math.floor(math.log10(rough))
    step = next(decade * times for times in (1, 2, 5, 10) if decade * times >= rough * (1 - 1e-9))
    first, last = math.floor(low / step + 1e-9), math.ceil(high / step - 1e-9)
    return [index * step for index in range(first, last + 1)]


def _draw_grid(across: Sequence[float], up: Sequence[float], place: Callable[[Point], Point]) -> Iterable[str]:
    for value in up:
        _, y = place((across[0], value))
        yield f'<path class="grid" d="M{_LEFT},{y:.1f}h{_WIDTH}"/>'
        yield f'<text x="{_LEFT - 6}" y="{y + 4:.1f}" text-anchor="end">{value:.4g}</text>'
    for value in across:
        x, _ = place((value, up[0]))
        yield f'<path class="grid" d="M{x:.1f},{_TOP}v{_HEIGHT}"/>'
        yield f'<text x="{x:.1f}" y="{_TOP + _HEIGHT + 17}" text-anchor="middle">{value:.4g}</text>'


def _draw_mark(name: str, at: Point, row: int) -> str:
    """Draw a dot with its name to the left, one row lower for each, so that near ones can be told apart."""
    x, y = at
    side, anchor = (-1, "end") if x > _LEFT + _WIDTH / 2 else (1, "start")
    text_x, text_y = x + side * 26, y + 24 + 18 * row
    return (
        f'<path class="grid" d="M{x:.1f},{y:.1f}L{text_x:.1f},{text_y - 4:.1f}"/>'
        f'<circle class="point" cx="{x:.1f}" cy="{y:.1f}" r="4"/>'
        f'<text x="{text_x + 3 * side:.1f}" y="{text_y:.1f}" text-anchor="{anchor}">{escape(name)}</text>'
    )
