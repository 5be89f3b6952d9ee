"""Charts show every value that they are given."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st
from support.html_pages import read_chart

from monai_brainseg.reporting.charts import draw_histogram, draw_lines, draw_ranges
from monai_brainseg.reporting.pages import embed


def test_lines_and_marks_are_drawn_with_their_names() -> None:
    points = [(1.0, 0.2), (4.0, 0.9), (9.0, 0.55)]
    limits = ((0.0, 10.0), (0.0, 1.0))
    figure = draw_lines({"Dice": points, "F2": [(2.0, 0.5)]}, "epoch", marks={"best": (4.0, 0.9)}, limits=limits)
    (axes,) = figure.axes
    np.testing.assert_array_equal(axes.lines[0].get_xydata(), points)
    assert (axes.get_xlim(), axes.get_ylim()) == limits
    assert {"Dice", "F2", "epoch", "best"} <= read_chart(embed(figure, "svg+xml"))


def test_the_same_values_give_the_same_chart() -> None:
    first, second = (embed(draw_lines({"a": [(0, 0), (1, 1)]}, "x"), "svg+xml") for _ in range(2))
    assert first == second


def test_epochs_are_whole_numbers() -> None:
    ticks = draw_lines({"a": [(1, 0.5), (2, 0.1), (3, 0.2)]}, "epoch").axes[0].get_xticks()
    np.testing.assert_array_equal(ticks, ticks.round())


@settings(max_examples=25, deadline=None)
@given(st.lists(st.one_of(st.integers(0, 10**6), st.floats(0, 1e4, allow_subnormal=False)), min_size=1))
def test_every_patient_is_in_a_bar_of_the_histogram(values: list[float]) -> None:
    (axes,) = draw_histogram(values, "slices").axes
    assert sum(bar.get_height() for bar in axes.patches) == len(values)  # type: ignore[attr-defined]


def test_ranges_are_strokes_from_left_to_right() -> None:
    (axes,) = draw_ranges([(0, 1, 2, 3, 4), (0, 2, 4, 6, 9)]).axes
    thin, thick = (
        [np.asarray(path.vertices)[:, 1].tolist() for path in strokes.get_paths()] for strokes in axes.collections
    )
    assert (thin, thick) == ([[0, 4], [0, 9]], [[1, 3], [2, 6]])
    np.testing.assert_array_equal(axes.lines[0].get_ydata(), [2, 4])
