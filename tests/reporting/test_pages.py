"""Pages stand alone, show what they are given, and cannot be broken by a name."""

from __future__ import annotations

import base64
import hashlib
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from support.html_pages import Page, read_page, read_picture

from monai_brainseg.reporting.pages import (
    SORT,
    draw_histogram,
    draw_ranges,
    draw_slice,
    list_facts,
    make_number_table,
    make_page,
    make_table,
)


def test_a_picture_shows_the_slice_and_the_outline_of_its_mask(tmp_path: Path) -> None:
    image = np.zeros((40, 60))
    image[10:20, 30:50] = 1000
    mask = image > 0
    pixels, points = read_picture(draw_slice(image, {"tumour": mask}, 1.0, ""), tmp_path)
    np.testing.assert_array_equal(pixels, mask * np.uint8(255))
    assert points.min(axis=0).tolist() == [30, 10]
    assert points.max(axis=0).tolist() == [50, 20]


@pytest.mark.parametrize(("shape", "aspect"), [((512, 512), 1.0), ((301, 640), 1.0), ((20, 512), 6.0), ((2, 900), 9.0)])
def test_large_pictures_are_reduced_and_keep_their_proportions(
    tmp_path: Path, shape: tuple[int, int], aspect: float
) -> None:
    image = np.random.default_rng(0).normal(size=shape)
    svg = draw_slice(image, {"tumour": np.ones(shape, dtype=bool)}, aspect, "")
    pixels, points = read_picture(svg, tmp_path)
    assert max(pixels.shape) <= 160
    assert np.ptp(pixels) > 50
    np.testing.assert_allclose(points.max(axis=0), [shape[1], shape[0] * aspect])
    assert f'viewBox="0 0 {shape[1]} {shape[0] * aspect:.1f}"' in svg


def test_a_blank_slice_without_tumour_is_a_picture_too(tmp_path: Path) -> None:
    pixels, points = read_picture(
        draw_slice(np.full((9, 7), 3), {"tumour": np.zeros((9, 7), dtype=bool)}, 1.0, ""), tmp_path
    )
    assert pixels.shape == (9, 7)
    assert len(points) == 0


@given(st.lists(st.one_of(st.integers(0, 10**6), st.floats(0, 1e4, allow_subnormal=False)), min_size=1))
def test_every_patient_is_in_a_bar_of_the_histogram(values: list[float]) -> None:
    page = read_page(draw_histogram(values, "sizes").encode())
    assert sum(int(title.rpartition(": ")[2]) for title in page.titles) == len(values)


def test_ranges_are_strokes_in_the_order_of_the_median() -> None:
    figure = read_page(draw_ranges({"b": (0, 2, 4, 6, 9), "<a>": (0, 1, 2, 3, 4)}, "flair").encode())
    assert figure.titles == ["<a>: 0, 1, 2, 3, 4", "b: 0, 2, 4, 6, 9"]


def test_names_are_text_and_never_markup() -> None:
    evil = '</title><script>alert("1")</script>'
    page = read_page(make_page(evil, [list_facts({evil: evil}), make_table([evil], [["cell"]])]))
    assert page.rows == [[evil], ["cell"]]
    assert "script" not in page.tags
    assert page.titles == [evil]


def test_a_page_without_a_script_allows_none_and_one_with_it_allows_that_one_alone() -> None:
    assert "script" not in read_page(make_page("a", [])).policy
    page = read_page(make_page("a", [make_number_table(["<n>", "x"], [["a", "1"]], sorted_by=1)], SORT))
    digest = base64.b64encode(hashlib.sha256(SORT.encode()).digest()).decode()
    assert page.policy.endswith(f"script-src 'sha256-{digest}'")
    assert page.rows == [["<n>", "x"], ["a", "1"]]


def test_only_a_table_that_sorts_has_buttons() -> None:
    plain, sorting = (make_number_table(["n", "x"], [["a", "1"]], sorted_by=by) for by in (None, 1))
    assert "<button" not in plain
    assert "aria-sort" not in plain
    assert sorting.count("<button") == 2
    assert '<th scope="col" aria-sort="ascending"><button type="button">x</button>' in sorting


def test_a_heat_map_is_clear_at_0_and_solid_at_1(tmp_path: Path) -> None:
    heat = np.zeros((8, 8))
    heat[:, 4:] = 1
    pixels, _ = read_picture(draw_slice(np.eye(8), {"tumour": heat > 0}, 1.0, "", heat=heat), tmp_path)
    np.testing.assert_array_equal(pixels[:, :4], np.eye(8)[:, :4, None].repeat(3, -1) * 255)
    assert (pixels[:, 4:, 0] > 200).all()
    assert (pixels[:, 4:, 1] > pixels[:, 4:, 2]).all()


def test_a_page_loads_nothing_from_elsewhere() -> None:
    page = read_page(
        make_page("a", [draw_histogram([1, 2], ""), draw_slice(np.eye(3), {"tumour": np.eye(3) > 0}, 1.0, "")])
    )
    assert page.links == []
    assert "default-src 'none'" in page.policy


def test_the_reader_of_these_tests_sees_what_would_be_wrong() -> None:
    page: HTMLParser = Page()
    page.feed('<script src="http://a/b.js"></script><img src="http://a/b.png"><a href="#row1">x</a>')
    assert isinstance(page, Page)
    assert page.links == ["http://a/b.js", "http://a/b.png"]
    assert page.tags == {"script", "img", "a"}
