"""Pages of one file that need no network: Jinja templates, with figures as images inside them."""

from __future__ import annotations

import base64
import hashlib
import io
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any, Literal

import matplotlib
from jinja2 import Environment, PackageLoader, StrictUndefined
from matplotlib.figure import Figure

from monai_brainseg.scoring.summary_text import count_patients, show, span, state_headline

# Text of a chart stays text, in the reader's font, and equal figures are equal files. WebP is a tenth as large as PNG
# here.
_OPTIONS: dict[str, dict[str, Any]] = {
    "svg+xml": {"format": "svg", "metadata": {"Date": None}, "transparent": True},
    "webp": {"format": "webp", "pil_kwargs": {"quality": 90}},
}


@dataclass(frozen=True)
class Table:
    """A table of numbers.

    Attributes:
        headings: of the columns.
        rows: of cells, the first of a row its name.
        sorted_by: the column by which the rows ascend; the reader can then sort by any column.
    """

    headings: Sequence[str]
    rows: Sequence[Sequence[str]]
    sorted_by: int | None = None


def render_page(template: str, **content: object) -> bytes:
    """Return a page of a template that extends ``reporting/page.html``, which keeps browsers from loading anything.

    Args:
        template: path within the package; every text that it shows is escaped.
        content: what it shows, by name.
    """
    return _TEMPLATES.get_template(template).render(content).encode()


def embed(figure: Figure, kind: Literal["svg+xml", "webp"]) -> str:
    """Return a figure as a data URI (RFC 2397): charts as SVG, pictures of slices, for looking, as WebP."""
    file = io.BytesIO()
    with matplotlib.rc_context({"svg.fonttype": "none", "svg.hashsalt": "brainseg"}):
        figure.savefig(file, **_OPTIONS[kind])
    return f"data:image/{kind};base64,{base64.b64encode(file.getvalue()).decode()}"


def _hash_script(script: str) -> str:
    """Return the hash by which a content security policy allows a script (CSP level 2)."""
    return base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()


_TEMPLATES = Environment(
    loader=PackageLoader("monai_brainseg", "."),
    autoescape=True,
    undefined=StrictUndefined,
    trim_blocks=True,
    lstrip_blocks=True,
)
_TEMPLATES.filters |= {"show": show, "span": span, "count_patients": count_patients}
_TEMPLATES.filters |= {"state_headline": state_headline, "hash_script": _hash_script}
