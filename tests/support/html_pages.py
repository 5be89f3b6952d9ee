"""Pages as their readers see them: rows of text, pictures, and what they would load."""

from __future__ import annotations

import base64
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np

from monai_brainseg.data.slices import decode_slice

_VOID = {"meta", "img", "br", "link", "rect", "circle", "image", "path"}


class Page(HTMLParser):
    """What a page holds; a tag that is closed by another one is an error.

    Attributes:
        tags: every kind of tag.
        rows: the text of each cell of each row of its table.
        pictures: the bytes of each PNG in it.
        titles: text of every title.
        links: every address but those within the page.
        policy: what the page lets the browser do.
    """

    def __init__(self) -> None:
        super().__init__()
        self.tags: set[str] = set()
        self.rows: list[list[str]] = []
        self.pictures: list[bytes] = []
        self.titles: list[str] = []
        self.links: list[str] = []
        self.policy = ""
        self._open: list[str] = []

    def handle_starttag(self, tag: str, attributes: list[tuple[str, str | None]]) -> None:
        self.tags.add(tag)
        if tag not in _VOID:
            self._open.append(tag)
        if tag == "tr":
            self.rows.append([])
        elif tag in ("td", "th"):
            self.rows[-1].append("")
        elif tag == "title":
            self.titles.append("")
        elif tag == "meta" and ("http-equiv", "Content-Security-Policy") in attributes:
            self.policy = dict(attributes)["content"] or ""
        for name, value in attributes:
            if name in ("src", "href", "data", "srcset", "xlink:href"):
                self._follow(value or "")

    def _follow(self, address: str) -> None:
        kind, _, data = address.partition(",")
        if kind == "data:image/png;base64":
            self.pictures.append(base64.b64decode(data, validate=True))
        elif not address.startswith("#"):
            self.links.append(address)

    def handle_endtag(self, tag: str) -> None:
        if tag not in _VOID:
            assert self._open.pop() == tag

    def handle_data(self, data: str) -> None:
        if "title" in self._open:
            self.titles[-1] += data
        elif {"td", "th"} & set(self._open):
            self.rows[-1][-1] += data


def read_page(content: bytes) -> Page:
    """Return a page; one that closes a tag that is not open, or leaves one open, is an error."""
    page = Page()
    page.feed(content.decode())
    page.close()
    assert page._open == []
    return page


def read_picture(svg: str, folder: Path) -> tuple[np.ndarray, np.ndarray]:
    """Return the picture's pixels, and the points (x, y) of the outline."""
    (png,) = read_page(svg.encode()).pictures
    (folder / "picture.png").write_bytes(png)
    path = re.search(r'd="([^"]*)"', svg)
    assert path
    points = np.array([pair.split(",") for pair in re.findall(r"[\d.]+,[\d.]+", path[1])], dtype=float).reshape(-1, 2)
    return decode_slice(folder / "picture.png"), points
