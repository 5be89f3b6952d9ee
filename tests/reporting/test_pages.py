"""Pages stand alone, show what they are given, and cannot be broken by a name."""

from __future__ import annotations

import numpy as np
import pytest
from support.html_pages import read_page

from monai_brainseg.reporting.charts import draw_histogram
from monai_brainseg.reporting.pages import Table, embed, render_page
from monai_brainseg.reporting.slice_pictures import Slice, draw_slices

# A page of tables alone is that of a benchmark.
TABLES = "benchmarking/table.html"


def test_names_are_text_and_never_markup() -> None:
    evil = '</title><script>alert("1")</script>'
    page = read_page(render_page(TABLES, facts={evil: evil}, tables={evil: Table([evil], [[evil]])}))
    assert page.rows == [[evil], [evil]]
    assert "script" not in page.tags
    assert page.text.count(evil) == 5


def test_only_a_table_that_sorts_has_buttons() -> None:
    tables = {"plain": Table(["n", "x"], [["a", "1"]]), "sorting": Table(["n", "x"], [["a", "1"]], sorted_by=1)}
    plain, sorting = read_page(render_page(TABLES, facts={}, tables=tables)).soup.find_all("table")
    assert plain.find("button") is None
    assert [button.text for button in sorting.find_all("button")] == ["n", "x"]
    assert [head.text for head in sorting.select("th[aria-sort=ascending]")] == ["x"]


def test_a_page_without_a_script_allows_none_and_loads_nothing() -> None:
    page = read_page(render_page(TABLES, facts={}, tables={}))
    assert page.links == []
    assert page.policy == "default-src 'none'; img-src data:; style-src 'unsafe-inline'"


def test_a_text_that_the_template_lacks_is_an_error() -> None:
    with pytest.raises(Exception, match="'facts' is undefined"):
        render_page(TABLES, tables={})


def test_figures_are_images_within_the_page() -> None:
    chart, picture = draw_histogram([1, 2], "slices"), draw_slices([Slice(np.eye(3))], 1.0)
    assert embed(chart, "svg+xml").startswith("data:image/svg+xml;base64,")
    assert embed(picture, "webp").startswith("data:image/webp;base64,")
