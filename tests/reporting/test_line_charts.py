"""Lines lie where their points are."""

from __future__ import annotations

import re

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.html_pages import read_page

from monai_brainseg.reporting.line_charts import draw_lines

VALUES = st.floats(-1e6, 1e6, allow_subnormal=False)


def read_points(svg: str, line: int = 0) -> np.ndarray:
    path = re.search(rf'class="s{line}" d="M([^"]*)"', svg)
    assert path
    return np.array([pair.split(",") for pair in path[1].split()], dtype=float)


def read_ticks(svg: str, anchor: str) -> list[tuple[float, float]]:
    """Return (place, number) of the ticks of y ("end") or of x ("middle")."""
    found = re.findall(rf'<text x="([\d.]+)" y="([\d.]+)" text-anchor="{anchor}">([-+.e\d]+)</text>', svg)
    return [(float(y) - 4 if anchor == "end" else float(x), float(number)) for x, y, number in found]


@pytest.mark.parametrize("limits", [None, ((0.0, 10.0), (0.0, 1.0))])
def test_points_can_be_read_off_by_the_ticks(limits: tuple[tuple[float, float], tuple[float, float]] | None) -> None:
    points = [(1.0, 0.2), (4.0, 0.9), (9.0, 0.55)]
    svg = draw_lines({"a": points}, "t", "x", limits=limits)
    for axis, anchor in enumerate(("middle", "end")):
        places, numbers = zip(*read_ticks(svg, anchor), strict=True)
        order = np.argsort(places)
        read = np.interp(read_points(svg)[:, axis], np.array(places)[order], np.array(numbers)[order])
        np.testing.assert_allclose(read, [point[axis] for point in points], atol=0.02)


@given(st.lists(st.tuples(VALUES, VALUES), min_size=1, max_size=20))
def test_no_line_leaves_the_frame(points: list[tuple[float, float]]) -> None:
    placed = read_points(draw_lines({"a": points}, "t", "x"))
    assert (placed >= (52, 10)).all()
    assert (placed <= (52 + 380, 10 + 220)).all()


def test_names_are_text_and_marks_are_named() -> None:
    svg = draw_lines({"<a>": [(0, 0), (1, 1)], "b": [(0, 1)]}, "<t>", "<x>", marks={"<m>": (0.5, 0.5)})
    page = read_page(svg.encode())
    assert page.titles == ["<t>"]
    assert not page.tags & {"a", "t", "x", "m"}
    assert "&lt;m&gt;" in svg
    assert svg.count("<circle") == 1
