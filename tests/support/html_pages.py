"""Pages as their readers see them: rows of text, pictures, charts, and what they would load."""

from __future__ import annotations

import base64
import io
import json
from dataclasses import dataclass
from pathlib import Path
from typing import Any
from xml.etree import ElementTree

import numpy as np
from bs4 import BeautifulSoup
from PIL import Image

_LOADING = ("src", "href", "data", "srcset", "xlink:href")


@dataclass(frozen=True)
class Page:
    """What a page holds.

    Attributes:
        soup: its elements.
    """

    soup: BeautifulSoup

    @property
    def text(self) -> str:
        """All text, without markup; runs of spaces are one."""
        return " ".join(self.soup.get_text().split())

    @property
    def tags(self) -> set[str]:
        """Every kind of tag."""
        return {tag.name for tag in self.soup.find_all(True)}

    @property
    def rows(self) -> list[list[str]]:
        """The text of each cell of each row of its tables."""
        return [[cell.get_text().strip() for cell in row.find_all(["td", "th"])] for row in self.soup.find_all("tr")]

    @property
    def captions(self) -> list[str]:
        """What is written below its figures."""
        return [caption.get_text() for caption in self.soup.find_all("figcaption")]

    @property
    def pictures(self) -> list[np.ndarray]:
        """The pixels [row, column, 3] of each picture."""
        return [read_picture(str(image["src"])) for image in self.soup.select('img[src^="data:image/webp"]')]

    @property
    def charts(self) -> list[set[str]]:
        """The texts of each chart."""
        return [read_chart(str(image["src"])) for image in self.soup.select('img[src^="data:image/svg+xml"]')]

    @property
    def links(self) -> list[str]:
        """Every address but those within the page."""
        addresses = [str(tag[name]) for tag in self.soup.find_all(True) for name in _LOADING if tag.has_attr(name)]
        return [address for address in addresses if not address.startswith(("#", "data:image/"))]

    @property
    def policy(self) -> str:
        """What the page lets the browser do."""
        meta = self.soup.find("meta", {"http-equiv": "Content-Security-Policy"})
        assert meta is not None
        return str(meta["content"])


def read_page(content: bytes) -> Page:
    """Return a page."""
    return Page(BeautifulSoup(content, "html.parser"))


def read_picture(address: str) -> np.ndarray:
    """Return the pixels [row, column, 3] of a picture within a page."""
    return np.asarray(Image.open(io.BytesIO(_decode(address))).convert("RGB"))


def read_chart(address: str) -> set[str]:
    """Return every text of a chart within a page."""
    return {
        "".join(text.itertext()).strip() for text in ElementTree.fromstring(_decode(address)).iterfind(".//{*}text")
    }


def _decode(address: str) -> bytes:
    return base64.b64decode(address.partition(",")[2], validate=True)


def read_results(output: Path) -> tuple[Page, str, dict[str, Any]]:
    """Return the page, its text without markup, and the summary."""
    page = read_page((output / "report.html").read_bytes())
    return page, page.text, json.loads((output / "summary.json").read_text())
