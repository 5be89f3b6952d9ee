"""Pages of one file that show figures and pictures without a network: HTML with inline SVG and PNG."""

from __future__ import annotations

import base64
import hashlib
import math
from collections.abc import Iterable, Mapping, Sequence
from html import escape

import numpy as np
from skimage.measure import find_contours
from skimage.transform import downscale_local_mean

from monai_brainseg.data.slices import encode_slice

# A picture's longer side in pixels, at most: 1000 pictures then make a page of 15 MB.
_PICTURE = 160
_BINS = 16

# Colours of 0 to 1, red, green, blue: five of matplotlib's inferno, whose lightness rises throughout.
HEAT = ((0, 0, 4), (87, 16, 110), (188, 55, 84), (249, 142, 9), (252, 255, 164))

# Sorts a table by the heading that was clicked, and the other way when clicked again; what is no number stays last.
SORT = """
for (const button of document.querySelectorAll("th button")) button.addEventListener("click", () => {
  const head = button.parentElement, body = head.closest("table").tBodies[0];
  const sign = head.getAttribute("aria-sort") === "ascending" ? -1 : 1;
  for (const other of head.parentElement.cells) other.removeAttribute("aria-sort");
  head.setAttribute("aria-sort", sign > 0 ? "ascending" : "descending");
  const rows = [...body.rows].map(row => [row, row.cells[head.cellIndex].textContent.trim()]);
  const numeric = rows.some(([, text]) => text !== "" && !isNaN(text));
  const number = text => text === "" || isNaN(text) ? sign * Infinity : Number(text);
  rows.sort(([, a], [, b]) => sign * (numeric ? (number(a) - number(b) || 0) : a.localeCompare(b)));
  body.append(...rows.map(([row]) => row));
});
"""

_STYLE = """
:root { color-scheme: light dark; --line: #8884; --bar: #3b7dd8; --mark: #ff4d00; --faint: #8882 }
body { font: 15px/1.45 system-ui, sans-serif; margin: 2rem auto; max-width: 90rem; padding: 0 1.5rem }
h1 { font-size: 1.5rem; margin-bottom: .2rem } h2 { font-size: 1.15rem; margin: 2rem 0 .6rem }
dl { display: grid; grid-template-columns: max-content 1fr; gap: .15rem 1.2rem } dt { color: GrayText } dd { margin: 0 }
table { border-collapse: collapse; font-variant-numeric: tabular-nums; width: 100% }
th, td { border-bottom: 1px solid var(--line); padding: .3rem .6rem; text-align: left; vertical-align: top }
td { scroll-margin-top: 3rem; white-space: nowrap } td:last-child { min-width: 14rem; white-space: normal }
th { background: Canvas; position: sticky; top: 0; z-index: 1 } tbody tr:hover, tr:target { background: var(--faint) }
ul { margin: 0; padding-left: 1.1rem } figure { margin: 0 } figcaption, .note { color: GrayText; font-size: .85rem }
details { border-left: 3px solid var(--mark); margin: .4rem 0; padding-left: .8rem } summary { cursor: pointer }
.charts { display: grid; gap: 1.5rem; grid-template-columns: repeat(auto-fit, minmax(22rem, 1fr)) }
.chart { background: var(--faint); width: 100% } .chart text { fill: currentColor; font: 11px system-ui, sans-serif }
.bar { fill: var(--bar) } .thin { stroke: var(--bar); stroke-width: 1 } .thick { stroke: var(--bar); stroke-width: 4 }
.dot { fill: currentColor } .slice { background: #000; display: block; max-height: 10rem; width: 8rem }
.slice:hover { position: relative; transform: scale(3); transform-origin: left center; z-index: 2 }
.outline { fill: none; stroke: var(--mark); stroke-width: 1.5; vector-effect: non-scaling-stroke }
.truth { stroke: #00e05a } .prediction { stroke: #ff2d2d; stroke-dasharray: 4 2 }
.numbers { width: auto } .numbers :is(td, th) { padding: .3rem .5rem; text-align: right }
.numbers th { vertical-align: bottom }
.numbers :is(td, th):first-child { text-align: left } .numbers td:last-child { min-width: 0; white-space: nowrap }
.numbers td b { display: block } .wide { margin-bottom: 1.5rem; overflow-x: auto }
th button { background: none; border: 0; color: inherit; cursor: pointer; font: inherit }
th button { padding: 0; text-align: inherit }
th button::after { content: "\\a0\\2195"; opacity: .35 } th[aria-sort] button::after { opacity: 1 }
th[aria-sort=ascending] button::after { content: "\\a0\\2191" }
th[aria-sort=descending] button::after { content: "\\a0\\2193" }
.line { max-width: 44rem } .line path { fill: none; stroke-width: 1.8 } .grid { stroke: var(--line) }
.s0 { stroke: var(--bar); color: var(--bar) } .s1 { stroke: var(--mark); color: var(--mark); stroke-dasharray: 5 2 }
.point { fill: var(--mark); stroke: Canvas }
.pictures { display: flex; flex-wrap: wrap; gap: 1rem; margin: .3rem 0 1.5rem }
.pictures .slice { height: auto; max-height: none; width: 17rem } .pictures .slice:hover { transform: none }
h3 { font-size: 1rem; margin: .6rem 0 .2rem }
.headline { font-size: 1.35rem; margin: .8rem 0 } .headline b { font-size: 1.8rem }
.warning { border-left: 4px solid #d00; color: #d00; color: light-dark(#b00000, #ff7b72) }
.warning { font-weight: 600; padding-left: .8rem }
.ramp { border-radius: 2px; display: inline-block; height: .7em; vertical-align: baseline; width: 8rem }
"""


def format_number(value: float) -> str:
    """Return a number with three digits or more, without an exponent where it is large."""
    return f"{value:.0f}" if abs(value) >= 100 else f"{value:.3g}"


def make_page(title: str, parts: Iterable[str], script: str = "") -> bytes:
    """Return a page of HTML parts; its policy keeps browsers from loading anything else.

    Args:
        title: of the page.
        parts: of its body.
        script: what it may run, and nothing else: the policy names its hash (Content Security Policy level 2).
    """
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    allowed = f"; script-src 'sha256-{digest}'" if script else ""
    policy = f"default-src 'none'; img-src data:; style-src 'unsafe-inline'{allowed}"
    head = (
        f'<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8"><title>{escape(title)}</title>\n'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">\n'
        f'<meta name="viewport" content="width=device-width"><style>{_STYLE}</style></head>\n'
    )
    tail = f"\n<script>{script}</script>" if script else ""
    return (head + "<body>\n" + "\n".join(parts) + tail + "\n</body></html>\n").encode()


def list_facts(facts: Mapping[str, str]) -> str:
    """Return a list of names and what is said of each."""
    return "<dl>" + "".join(f"<dt>{escape(name)}</dt><dd>{escape(fact)}</dd>" for name, fact in facts.items()) + "</dl>"


def list_items(items: Iterable[str]) -> str:
    """Return a list of items, which are HTML; nothing where there are none."""
    lines = "".join(f"<li>{item}</li>" for item in items)
    return f"<ul>{lines}</ul>" if lines else ""


def make_table(headings: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """Return a table; headings are text, and cells are HTML. Rows are anchors, named "row0" and so on."""
    head = "".join(f"<th>{escape(heading)}</th>" for heading in headings)
    cells = ("".join(f"<td>{cell}</td>" for cell in row) for row in rows)
    body = "\n".join(f'<tr id="row{index}">{row}</tr>' for index, row in enumerate(cells))
    return f"<table><thead><tr>{head}</tr></thead>\n<tbody>\n{body}\n</tbody></table>"


def make_number_table(headings: Sequence[str], rows: Iterable[Sequence[str]], sorted_by: int | None = None) -> str:
    """Return a table of numbers; headings are text, and cells are HTML, the first of a row its name.

    Args:
        headings: of the columns.
        rows: of cells.
        sorted_by: the column that the rows rise by; headings are then buttons, for a page with ``SORT``.
    """
    heads = []
    for index, heading in enumerate(map(escape, headings)):
        text = heading if sorted_by is None else f'<button type="button">{heading}</button>'
        order = ' aria-sort="ascending"' if index == sorted_by else ""
        heads.append(f'<th scope="col"{order}>{text}</th>')
    body = "\n".join("<tr>" + "".join(f"<td>{cell}</td>" for cell in row) + "</tr>" for row in rows)
    table = f"<thead><tr>{''.join(heads)}</tr></thead>\n<tbody>\n{body}\n</tbody>"
    return f'<div class="wide"><table class="numbers">{table}</table></div>'


def draw_slice(
    image: np.ndarray,
    outlines: Mapping[str, np.ndarray],
    aspect: float,
    title: str,
    *,
    heat: np.ndarray | None = None,
    longest: int = _PICTURE,
) -> str:
    """Return SVG of a slice in grey, from its 0.5th to its 99.5th percentile, with outlines of masks.

    Args:
        image: ``[row, column]``, of any scale.
        outlines: masks by the class of their line, bool of the same shape.
        aspect: height of a pixel over its width.
        title: shown when the mouse rests on it.
        heat: 0 to 1, of the same shape, laid over it in colour; 0 is clear.
        longest: pixels of the longer side, at most.
    """
    rows, columns = image.shape
    step = math.ceil(max(image.shape) / longest)
    low, high = np.percentile(image, (0.5, 99.5))
    grey = np.clip((image.astype(np.float64) - low) / max(high - low, 1e-12), 0, 1)
    small = _reduce(grey, step)
    height, width = small.shape[0] * step * aspect, small.shape[1] * step
    pixels = small * 255 if heat is None else _heat(small, _reduce(heat, step))
    png = base64.b64encode(encode_slice(pixels.round().astype(np.uint8), ".png")).decode()
    paths = "".join(f'<path class="outline {name}" d="{_trace(mask, aspect)}"/>' for name, mask in outlines.items())
    return (
        f'<svg class="slice" viewBox="0 0 {columns} {rows * aspect:.1f}"><title>{escape(title)}</title>'
        f'<image width="{width}" height="{height:.1f}" preserveAspectRatio="none" '
        f'href="data:image/png;base64,{png}"/>{paths}</svg>'
    )


def _reduce(pixels: np.ndarray, step: int) -> np.ndarray:
    padded = np.pad(pixels, [(0, -length % step) for length in pixels.shape], "edge")
    return np.asarray(downscale_local_mean(padded, (step, step)))


def _heat(grey: np.ndarray, heat: np.ndarray) -> np.ndarray:
    """Lay colours over grey, the more solid the higher: ``[row, column, 3]``, 0 to 255."""
    colours = np.stack(
        [np.interp(heat, np.linspace(0, 1, len(HEAT)), channel) for channel in zip(*HEAT, strict=True)], -1
    )
    solid = np.clip(2 * heat, 0, 0.8)[..., None]
    return np.asarray((1 - solid) * grey[..., None] * 255 + solid * colours)


def _trace(mask: np.ndarray, aspect: float) -> str:
    # A pixel's middle lies at .5; the rim of 0 closes outlines at the border and moves them by one.
    outlines = ((line - 0.5) * (aspect, 1) for line in find_contours(np.pad(mask, 1).astype(np.float32), 0.5))
    return "".join("M" + " ".join(f"{column:.1f},{row:.1f}" for row, column in line) + "z" for line in outlines)


def draw_histogram(values: Sequence[float], title: str) -> str:
    """Return a figure of how many patients have which value; whole numbers that lie close get a bar each."""
    low, high = min(values), max(values)
    width = max((high - low) / _BINS, 1 if all(value == int(value) for value in values) else 1e-9)
    counts, edges = np.histogram(values, np.arange(low - width / 2, high + width, width))
    bars = "".join(
        f'<rect class="bar" x="{30 + 360 * i / len(counts):.1f}" y="{130 - 110 * n / counts.max():.1f}" '
        f'width="{352 / len(counts):.1f}" height="{110 * n / counts.max():.1f}">'
        f"<title>about {format_number((edges[i] + edges[i + 1]) / 2)}: {n}</title></rect>"
        for i, n in enumerate(counts)
    )
    return _frame(bars + _write(30, 146, low, "start") + _write(390, 146, high) + _write(26, 26, counts.max()), title)


def draw_ranges(ranges: Mapping[str, Sequence[float]], title: str) -> str:
    """Return a figure with a stroke a patient: percentiles 1 to 99 thin, 25 to 75 thick, the median a dot.

    Args:
        ranges: these five percentiles of each patient, in rising order.
        title: the caption.
    """
    low = min(values[0] for values in ranges.values())
    high = max(values[-1] for values in ranges.values())
    strokes = []
    for index, (name, values) in enumerate(sorted(ranges.items(), key=lambda item: item[1][2])):
        x = 36 + 354 * (index + 0.5) / len(ranges)
        y = [130 - 110 * (value - low) / max(high - low, 1e-12) for value in values]
        strokes.append(
            f"<g><title>{escape(name)}: {', '.join(map(format_number, values))}</title>"
            f'<path class="thin" d="M{x:.1f},{y[0]:.1f}V{y[4]:.1f}"/><path class="thick" '
            f'd="M{x:.1f},{y[1]:.1f}V{y[3]:.1f}"/><circle class="dot" cx="{x:.1f}" cy="{y[2]:.1f}" r="1.6"/></g>'
        )
    return _frame("".join(strokes) + _write(30, 134, low) + _write(30, 26, high), title)


def _write(x: int, y: int, number: float, anchor: str = "end") -> str:
    return f'<text x="{x}" y="{y}" text-anchor="{anchor}">{format_number(number)}</text>'


def _frame(drawing: str, title: str) -> str:
    return (
        f'<figure><svg class="chart" viewBox="0 0 400 152">{drawing}</svg><figcaption>{escape(title)}</figcaption>'
        "</figure>"
    )
