"""The page of an evaluation as its readers see it, in a real browser too; names and images that are odd or gone."""

from __future__ import annotations

import base64
import csv
import hashlib
import json
import re
import shutil
from collections.abc import Callable
from html import unescape
from pathlib import Path
from typing import Any

import numpy as np
import pytest
from support.browsers import open_page
from support.evaluated_phantoms import evaluate, write_predictions
from support.html_pages import read_page, read_results

from monai_brainseg.data.splits import read_datalist
from monai_brainseg.images.slices import decode_slices
from monai_brainseg.reporting.report import Evidence, make_report

ODD = "p&lt;i&gt;'&amp;"  # as hostile as a patient's name may be
EVIL = 'p"><img src=x onerror=alert(1)>&amp;'


def test_the_page_shows_learning_curves_and_the_run(tested: Path) -> None:
    page, text, _ = read_results(tested)
    titles = {"loss by epoch", "learning rate by epoch", "mean Dice of the validation patients by epoch"}
    assert titles <= set(page.captions)
    assert len(page.charts) == 6
    assert "epochs: 4 # <b>" in text
    assert "run '<b>'" in text


def test_pictures_are_of_the_worst_median_and_best(folds: Path) -> None:
    page, text, summary = read_results(folds)
    order = [each["patient"] for each in summary["patients"]]
    named = [re.findall(r"(\w+): (\w+), Dice ([\d.]+)", heading.text)[0] for heading in page.soup.find_all("h3")]
    assert [patient for _, patient, _ in named] == order
    assert [group for group, _, _ in named] == ["worst"] * 3 + ["median"] * 2 + ["best"] * 3
    assert [dice for _, _, dice in named] == [f"{each['dice']:.3f}" for each in summary["patients"]]
    assert len(page.pictures) >= 3 * len(order)


def copy_data(prepared: Path, folder: Path, change: Callable[[dict[str, Any]], Any]) -> Path:
    shutil.copytree(prepared, folder)
    content = json.loads((folder / "datalist.json").read_text())
    change(content)
    (folder / "datalist.json").write_text(json.dumps(content))
    return folder


def test_a_hostile_name_is_text(prepared_phantoms: Path, tmp_path: Path) -> None:
    def rename(content: dict[str, Any]) -> None:
        for number, item in enumerate(content["test"]):
            item.update(patient=f"{ODD}{number}", subject=f"s{number}", site=f"{EVIL}site")

    data = copy_data(prepared_phantoms, tmp_path / "data", rename)
    write_predictions(read_datalist(data)["test"][:1], tmp_path / "masks")
    assert evaluate(data, tmp_path / "masks", tmp_path / "out") == 0
    page, text, summary = read_results(tmp_path / "out")
    assert summary["missing"] == [f"{ODD}1"]
    assert not page.soup.select("[onerror]")
    assert [f"{ODD}1 (no prediction)", f"{EVIL}site"] in [row[:2] for row in page.rows]
    assert f"{EVIL}site" in [row[0] for row in page.rows]


def test_missing_images_are_said_and_the_scores_stand(
    prepared_phantoms: Path, phantom_masks: Path, tmp_path: Path
) -> None:
    data = copy_data(prepared_phantoms, tmp_path / "data", lambda content: None)
    shutil.rmtree(data / "imagesTs")
    assert evaluate(data, phantom_masks, tmp_path / "out") == 0
    page, text, _ = read_results(tmp_path / "out")
    assert page.pictures == []
    assert text.count("No picture: ") == 2
    assert "_0001.nii.gz: no such file" in text


@pytest.mark.parametrize(("state", "red"), [("clean", False), ("seen", True), ("unknown", True)])
def test_provenance_is_told_at_the_top(tested: Path, state: str, red: bool) -> None:
    summary = read_results(tested)[2]
    summary["provenance"] = {"state": state, "note": "told <here>", "patients": ["<one>"]}
    page = read_page(make_report(summary, Evidence(read_rows(tested), {})))
    (note,) = page.soup.select("p.provenance")
    assert note.text == "told <here>"
    assert ("warning" in note["class"]) is red
    assert page.text.index("told <here>") < page.text.index("Protocol")
    assert [item.text for item in note.find_next_siblings("ul")[0].find_all("li")] == ["<one>"]


def test_units_are_in_the_headings_or_if_mixed_in_the_rows(tested: Path) -> None:
    summary, rows = read_results(tested)[2], read_rows(tested)
    alike = read_page(make_report(summary, Evidence(rows, {}))).rows
    assert {"HD95, voxels", "true volume, voxels"} <= set(next(row for row in alike if "HD95, voxels" in row))
    rows[0] |= {"distance_unit": "mm", "volume_unit": "ml"}
    mixed = read_page(make_report(summary, Evidence(rows, {}))).rows
    heading = next(row for row in mixed if "HD95" in row)
    assert heading[-1] == "units"
    assert {row[0]: row[-1] for row in mixed if len(row) == len(heading)} == {
        "patient": "units",
        rows[0]["patient"]: "mm, ml",
        rows[1]["patient"]: "voxels, voxels",
    }


def read_rows(output: Path) -> list[dict[str, Any]]:
    with (output / "metrics.csv").open() as file:
        return [{name: _read_cell(cell) for name, cell in row.items()} for row in csv.DictReader(file)]


def _read_cell(cell: str) -> float | str | None:
    try:
        return float(cell) if cell else None
    except ValueError:
        return cell


def test_a_page_runs_its_own_script_alone_and_loads_nothing(tested: Path) -> None:
    page, _, _ = read_results(tested)
    content = (tested / "report.html").read_text()
    assert page.links == []
    assert not re.search(r"https?:|@import|url\(", content)
    (script,) = re.findall(r"<script>(.*?)</script>", content, re.DOTALL)
    digest = base64.b64encode(hashlib.sha256(script.encode()).digest()).decode()
    assert page.policy == (
        f"default-src 'none'; img-src data:; style-src 'unsafe-inline'; script-src 'sha256-{digest}'"
    )


CLICKS = """
const table = [...document.querySelectorAll("table")].find(each => each.textContent.includes("surface Dice"));
const orders = {};
for (const name of ["Dice", "patient", "HD95", "HD95"]) {
  const button = [...table.querySelectorAll("th button")].find(each => each.textContent.startsWith(name));
  button.click();
  const sort = button.parentElement.getAttribute("aria-sort");
  orders[name + " " + sort] = [...table.tBodies[0].rows].map(row => row.cells[0].textContent);
}
orders.sorted = [...table.querySelectorAll("th[aria-sort]")].map(head => head.textContent);
document.body.insertAdjacentHTML("beforeend", "<pre id=orders></pre>");
document.getElementById("orders").textContent = JSON.stringify(orders);
"""


def test_a_click_on_a_heading_sorts_in_a_browser(
    prepared_phantoms: Path, phantom_masks: Path, folds: Path, tmp_path: Path
) -> None:
    few = tmp_path / "masks"
    shutil.copytree(phantom_masks, few)
    gone = read_datalist(prepared_phantoms)["training"][2]["patient"]
    (few / f"{gone}.nii.gz").unlink()
    assert evaluate(prepared_phantoms, few, tmp_path / "out", "--part", "training") == 0
    _, _, summary = read_results(tmp_path / "out")
    content = (tmp_path / "out" / "report.html").read_text()
    clicking = content.replace("</body>", f"<script>{CLICKS}</script></body>")
    digest = base64.b64encode(hashlib.sha256(CLICKS.encode()).digest()).decode()
    (tmp_path / "alien.html").write_text(clicking)
    (tmp_path / "clicks.html").write_text(clicking.replace("script-src ", f"script-src 'sha256-{digest}' "))
    alien, opened = (
        open_page(f"file://{tmp_path}/{name}.html", tmp_path / "profile", "--dump-dom") for name in ("alien", "clicks")
    )
    assert 'id="orders"' not in alien, "a script that the policy does not name ran"
    found = re.search(r'<pre id="orders">(.*?)</pre>', opened)
    assert found
    orders = json.loads(unescape(found[1]))
    ranked = [each["patient"] + " (no prediction)" * each["missing"] for each in summary["patients"]]
    best_first = sorted(summary["patients"], key=lambda each: -each["dice"])
    assert [name.removesuffix(" (no prediction)") for name in orders["Dice descending"]] == [
        each["patient"] for each in best_first
    ]
    assert orders["patient ascending"] == sorted(ranked)
    for direction in ("ascending", "descending"):
        assert orders[f"HD95 {direction}"][-1] == f"{gone} (no prediction)", "undefined stays last"
    assert orders["HD95 ascending"][:-1] != orders["HD95 descending"][:-1]
    assert len(orders["sorted"]) == 1
    assert orders["sorted"][0].startswith("HD95")


@pytest.mark.parametrize(("theme", "dark"), [(1, False), (0, True)])
def test_the_page_is_drawn_in_light_and_in_dark(tested: Path, tmp_path: Path, theme: int, dark: bool) -> None:
    picture = tmp_path / "page.png"
    options = (f"--blink-settings=preferredColorScheme={theme}", "--window-size=1200,2400", f"--screenshot={picture}")
    open_page(f"file://{tested}/report.html", tmp_path / "profile", *options)
    pixels = decode_slices(picture).pixels[0][..., :3].astype(int)
    background = pixels[5, 5]
    assert (background < 60).all() if dark else (background > 240).all()
    assert (np.abs(pixels - background).max(axis=-1) > 100).mean() > 0.01, "text and pictures stand out"
    green = (pixels[..., 1] > 180) & (pixels[..., 0] < 90) & (pixels[..., 2] < 140)
    assert green.sum() > 50, "outlines of the truth are drawn"
