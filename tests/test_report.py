"""The page of an evaluation: its numbers are those of summary.json, and it works in a real browser."""

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
from browsers import open_page
from html_pages import Page, read_page
from sklearn.metrics import average_precision_score, precision_score, recall_score
from test_learning_curves import write_run

from monai_brainseg.cli import main
from monai_brainseg.report import Evidence, make_report
from monai_brainseg.slices import decode_slice
from monai_brainseg.splits import Item, read_datalist
from monai_brainseg.volumes import Volume, read_nifti, write_nifti

ODD = "p&lt;i&gt;'&amp;"  # as hostile as a patient's name may be
EVIL = 'p"><img src=x onerror=alert(1)>&amp;'


def write_predictions(items: list[Item], folder: Path, maps: bool = True) -> None:
    """Write for each case a probability, blurred by noise, and the mask of what is 0.5 or more."""
    for number, item in enumerate(items):
        truth = read_nifti(Path(item["label"]))
        tumour, rng = truth.voxels > 0, np.random.default_rng(number)
        probability = np.asarray(rng.beta(np.where(tumour, 4, 1), np.where(tumour, 2 + number % 3, 9)))
        mask = (probability >= 0.5).astype(np.uint8)
        write_nifti(Volume(mask, truth.affine, truth.spacing_known), folder / f"{item['patient']}.nii.gz")
        if maps:
            image = Volume(probability.astype(np.float32), truth.affine, truth.spacing_known)
            write_nifti(image, folder / f"{item['patient']}_probability.nii.gz")


def evaluate(data: Path, predictions: Path, output: Path, *options: str) -> int:
    arguments = ["--datalist", str(data), "--predictions", str(predictions), "--output", str(output)]
    return main(["evaluate", *arguments, *options])


def read_results(output: Path) -> tuple[Page, str, dict[str, Any]]:
    """Return the page, its text without markup, and the summary."""
    content = (output / "report.html").read_bytes()
    text = unescape(re.sub(r"<[^>]*>", "", content.decode()))
    return read_page(content), text, json.loads((output / "summary.json").read_text())


@pytest.fixture(scope="module")
def masks(prepared_phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Masks and probability maps of all ten phantoms."""
    folder = tmp_path_factory.mktemp("report") / "masks"
    listed = read_datalist(prepared_phantoms)
    write_predictions([*listed["training"], *listed["test"]], folder)
    return folder


@pytest.fixture(scope="module")
def folds(prepared_phantoms: Path, masks: Path) -> Path:
    """An evaluation of the folds, which chose operating points."""
    output = masks.parent / "folds"
    assert evaluate(prepared_phantoms, masks, output, "--part", "training") == 0
    return output


@pytest.fixture(scope="module")
def tested(prepared_phantoms: Path, masks: Path, folds: Path) -> Path:
    """An evaluation of the test part with everything that a page can show."""
    run = write_run(masks.parent / "run")
    options = ["--run", str(run), "--operating-points", str(folds / "summary.json")]
    assert evaluate(prepared_phantoms, masks, masks.parent / "tested", *options) == 0
    return masks.parent / "tested"


@pytest.mark.parametrize("name", ["folds", "tested"])
def test_numbers_on_the_page_are_those_of_the_summary(name: str, request: pytest.FixtureRequest) -> None:
    page, text, summary = read_results(request.getfixturevalue(name))
    headline = summary["headline"]
    low, high = (f"{end:.3f}" for end in headline["interval"])
    assert f"{headline['value']:.3f} (95 % interval {low} to {high}) over {headline['patients']} patients" in text
    # A point is named as a score is; the scores come first.
    rows = {row[0]: row for row in reversed(page.rows)}
    for score, each in summary["per_patient"].items():
        assert rows[score][1::2] == [f"{each['mean']:.3f}", f"{each['median']:.3f}", ""]
    for patient in summary["patients"]:
        assert rows[patient["patient"]][2] == f"{patient['dice']:.3f}"
    for site, each in summary["sites"].items():
        assert rows[site][1:3] == [str(each["patients"]), f"{each['dice']['mean']:.3f}"]
    pooled = summary["pooled"]
    assert rows["pooled voxels: recall"][1] == f"{pooled['recall']['value']:.3f}"
    assert rows["average precision"][1] == f"{summary['probabilities']['average_precision']['value']:.3f}"
    for point, each in summary["operating_points"].items():
        values = [each["threshold"], each["precision"], each["recall"], each["dice"]["mean"], each["f2"]["mean"]]
        assert next(row for row in page.rows if row[:2] == [point, each["criterion"]])[2:7] == [
            f"{value:.3f}" for value in values
        ]


def test_curve_and_points_are_scikit_learns_over_the_maps(
    prepared_phantoms: Path, masks: Path, folds: Path, tested: Path
) -> None:
    for part, output in (("training", folds), ("test", tested)):
        items = read_datalist(prepared_phantoms)[part]  # type: ignore[literal-required]
        truth = np.concatenate([read_nifti(Path(item["label"])).voxels.ravel() > 0 for item in items])
        files = [masks / f"{item['patient']}_probability.nii.gz" for item in items]
        probability = np.concatenate([read_nifti(file).voxels.ravel() for file in files])
        summary = read_results(output)[2]
        expected = average_precision_score(truth, probability)
        assert summary["probabilities"]["average_precision"]["value"] == pytest.approx(expected, abs=0.005)
        for point in summary["operating_points"].values():
            predicted = probability >= point["threshold"]
            assert point["precision"] == pytest.approx(precision_score(truth, predicted), abs=1e-9)
            assert point["recall"] == pytest.approx(recall_score(truth, predicted), abs=1e-9)


def test_points_are_chosen_on_folds_and_only_measured_on_the_test_part(folds: Path, tested: Path) -> None:
    (_, chosen_text, chosen), (_, text, measured) = read_results(folds), read_results(tested)
    for name in ("balanced", "recall"):
        assert measured["operating_points"][name]["threshold"] == chosen["operating_points"][name]["threshold"]
    assert chosen["protocol"]["operating_points"]["file"] is None
    assert measured["protocol"]["operating_points"]["file"] == str(folds / "summary.json")
    assert "on these 8 patients, so that their scores here are the best of many" in chosen_text
    assert f"Operating points chosen on the folds (8 patients, {folds}/summary.json), and only measured" in text


def test_the_test_part_chooses_no_points(prepared_phantoms: Path, masks: Path, tmp_path: Path) -> None:
    for part in ("test", "all"):
        assert evaluate(prepared_phantoms, masks, tmp_path, "--part", part) == 0
        _, text, summary = read_results(tmp_path)
        assert (summary["operating_points"], summary["protocol"]["operating_points"]) == ({}, None)
        assert "No operating points: they are chosen on the folds" in text


@pytest.mark.parametrize(
    ("options", "message"),
    [
        (("--operating-points", "{tested}/metrics.csv"), "metrics.csv: is no JSON"),
        (("--operating-points", "{folds}/plain.json"), "plain.json: holds no operating points"),
        (("--part", "training", "--operating-points", "{folds}/summary.json"), "chosen on 8 of the patients to score"),
        (("--run", "{folds}"), "holds no tensorboard events of a training"),
    ],
)
def test_what_cannot_be_shown_is_refused_in_one_line(
    prepared_phantoms: Path,
    masks: Path,
    folds: Path,
    tested: Path,
    tmp_path: Path,
    options: tuple[str, ...],
    message: str,
    capsys: pytest.CaptureFixture[str],
) -> None:
    (folds / "plain.json").write_text("{}")
    words = [option.format(folds=folds, tested=tested) for option in options]
    assert evaluate(prepared_phantoms, masks, tmp_path / "out", *words) == 1
    assert re.fullmatch(rf"brainseg evaluate: .*{message}.*\n", capsys.readouterr().err)
    assert not (tmp_path / "out").exists()


def test_points_need_a_map_beside_every_prediction(
    prepared_phantoms: Path, masks: Path, folds: Path, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    write_predictions(read_datalist(prepared_phantoms)["test"], tmp_path / "masks", maps=False)
    assert evaluate(prepared_phantoms, tmp_path / "masks", tmp_path / "out") == 0
    page, text, summary = read_results(tmp_path / "out")
    assert summary["probabilities"] is None
    assert "No curve: it needs PATIENT_probability.nii.gz beside every prediction" in text
    assert "No learning curves: name the folder of the training run by --run" in text
    options = ["--operating-points", str(folds / "summary.json")]
    assert evaluate(prepared_phantoms, tmp_path / "masks", tmp_path / "out", *options) == 1
    assert re.search(r"_probability\.nii\.gz: no such file, but --operating-points needs", capsys.readouterr().err)


def test_the_page_shows_learning_curves_and_the_run(tested: Path) -> None:
    page, text, _ = read_results(tested)
    assert {"loss by epoch", "learning rate by epoch", "mean Dice of the validation patients by epoch"} <= set(
        page.titles
    )
    assert "epochs: 4 # <b>" in text
    assert "run '&lt;b&gt;'" in (tested / "report.html").read_text().replace("&#x27;", "'")


def test_pictures_are_of_the_worst_median_and_best(folds: Path) -> None:
    page, text, summary = read_results(folds)
    order = [each["patient"] for each in summary["patients"]]
    named = re.findall(r"<h3>(\w+): (\w+), Dice ([\d.]+)</h3>", (folds / "report.html").read_text())
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
    assert "img" not in page.tags
    assert [f"{ODD}1 (no prediction)", f"{EVIL}site"] in [row[:2] for row in page.rows]
    assert f"{EVIL}site" in [row[0] for row in page.rows]


def test_missing_images_are_said_and_the_scores_stand(prepared_phantoms: Path, masks: Path, tmp_path: Path) -> None:
    data = copy_data(prepared_phantoms, tmp_path / "data", lambda content: None)
    shutil.rmtree(data / "imagesTs")
    assert evaluate(data, masks, tmp_path / "out") == 0
    page, text, _ = read_results(tmp_path / "out")
    assert page.pictures == []
    assert text.count("No picture: ") == 2
    assert "_0001.nii.gz: no such file" in text


@pytest.mark.parametrize(("state", "red"), [("clean", False), ("seen", True), ("unknown", True)])
def test_provenance_is_told_at_the_top(tested: Path, state: str, red: bool) -> None:
    summary = read_results(tested)[2]
    rows = read_rows(tested)
    summary.pop("provenance", None)
    without = make_report(summary, Evidence(rows, {})).decode()
    assert "Provenance is not examined" in without
    summary["provenance"] = {"state": state, "note": "told <here>", "patients": ["<one>"]}
    content = make_report(summary, Evidence(rows, {})).decode()
    tag = '<p class="warning">' if red else "<p>"
    assert f"{tag}Provenance {state}: told &lt;here&gt;</p>" in content
    assert content.index("told &lt;here&gt;") < content.index("<h2>")
    assert "<li>&lt;one&gt;</li>" in content
    assert "Provenance is not examined" not in content


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
    prepared_phantoms: Path, masks: Path, folds: Path, tmp_path: Path
) -> None:
    few = tmp_path / "masks"
    shutil.copytree(masks, few)
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
    pixels = decode_slice(picture)[..., :3].astype(int)
    background = pixels[5, 5]
    assert (background < 60).all() if dark else (background > 240).all()
    assert (np.abs(pixels - background).max(axis=-1) > 100).mean() > 0.01, "text and pictures stand out"
    green = (pixels[..., 1] > 180) & (pixels[..., 0] < 90) & (pixels[..., 2] < 140)
    assert green.sum() > 50, "outlines of the truth are drawn"
