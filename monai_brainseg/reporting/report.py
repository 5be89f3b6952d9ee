"""The page of an evaluation: what was reached, under which rules, by whom it failed, and how it looks."""

from __future__ import annotations

import shlex
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from typing import Any

from monai_brainseg.reporting.curves import show_probabilities, show_training
from monai_brainseg.reporting.learning_curves import TrainingRun
from monai_brainseg.reporting.overlays import Overlay
from monai_brainseg.reporting.pages import HEAT, SORT, list_facts, list_items, make_number_table, make_page
from monai_brainseg.scoring.summary_text import count_patients, list_figures, list_scores, show, span

_PROTOCOL = (
    "The mask predicted for each patient was compared, voxel by voxel and on the patient's original grid, with the "
    "outline in the data set. Dice is twice the shared volume over the sum of both volumes: 0 where nothing agrees, 1 "
    "where all does. The headline is its mean over patients, each counted once, whatever the size of the tumour.",
    "The 95 % interval comes from drawing the people anew, with replacement, again and again. Two empty masks agree "
    "(Dice 1), one empty mask does not (0). A missing prediction is a failure (Dice 0), never left out.",
)
_LIMITS = (
    "For research only: not a medical device, not for diagnosis or treatment.",
    "The intervals say how far a figure would move if other people had been drawn from the same source. They do not "
    "cover another training or split, other scanners or sites, or another reader's outlines.",
    "Whether the truth is right is not examined: a score says how well predictions agree with it.",
    "Intervals of the same figure for two models overlap too readily to compare them: compare patient by patient.",
)
_COLUMNS = {"dice": "Dice", "iou": "IoU", "precision": "precision", "recall": "recall", "specificity": "specificity"}


@dataclass(frozen=True)
class Evidence:
    """What the page shows beside the summary.

    Attributes:
        rows: of ``metrics.csv``.
        overlays: pictures by group: worst, median, best.
        training: the run that made the weights, if it was named.
    """

    rows: Sequence[Mapping[str, Any]]
    overlays: Mapping[str, Sequence[Overlay]]
    training: TrainingRun | None = None


def make_report(summary: dict[str, Any], evidence: Evidence) -> bytes:
    """Return the page of an evaluation as HTML.

    Args:
        summary: what ``summary.json`` holds; its ``provenance``, if there, says what the weights have seen: ``state``
            "clean", "seen" or "unknown", and ``note``.
        evidence: what else is shown.
    """
    parts = [
        *_show_headline(summary),
        *_show_protocol(summary),
        *_show_figures(summary),
        *_show_sites(summary),
        *_show_patients(evidence.rows),
        *_show_overlays(evidence.overlays, {row["patient"]: row["dice"] for row in evidence.rows}),
        *show_probabilities(summary),
        *show_training(evidence.training),
        *_show_record(summary["run"]),
    ]
    return make_page("brainseg evaluate: report", parts, SORT)


def _show_headline(summary: dict[str, Any]) -> Iterable[str]:
    headline, protocol = summary["headline"], summary["protocol"]
    fold = "" if protocol["fold"] is None else f", fold {protocol['fold']}"
    interval = f"95 % interval {span(headline['interval'])}" if headline["interval"] else "no interval"
    patients = count_patients(headline["patients"])
    yield "<h1>Tumour segmentation, scored</h1>"
    yield f'<p class="headline">{headline["score"]} <b>{show(headline["value"])}</b> ({interval}) over {patients}</p>'
    yield (
        f'<p class="note">{protocol["part"]} part{fold}; {headline["people"]} people; '
        f"{summary['run']['date']}; made by brainseg evaluate</p>"
    )
    if "provenance" in summary:
        note = summary["provenance"]
        warning = ' class="warning"' if note["state"] != "clean" else ""
        yield f"<p{warning}>Provenance {escape(note['state'])}: {escape(note['note'])}</p>"
        if note.get("patients"):
            yield list_items(map(escape, note["patients"]))
    if summary["missing"]:
        names = ", ".join(map(escape, summary["missing"]))
        count = count_patients(len(summary["missing"]))
        yield f'<p class="warning">No prediction, scored as failure, for {count}: {names}</p>'


def _show_protocol(summary: dict[str, Any]) -> Iterable[str]:
    yield "<h2>Protocol</h2>"
    yield from (f"<p>{escape(sentence)}</p>" for sentence in _PROTOCOL)
    rules = {name.replace("_", " "): rule for name, rule in summary["protocol"]["rules"].items()}
    yield f"<details><summary>Every rule</summary>{list_facts(rules)}</details>"
    if summary["not_scored"]:
        files, count = list_items(map(escape, summary["not_scored"])), len(summary["not_scored"])
        yield f"<details><summary>Other files in the folder, not scored: {count}</summary>{files}</details>"
    unknown = "Provenance is not examined: nothing here says which patients the model has seen."
    yield "<h2>Limits</h2>"
    yield list_items(map(escape, [*_LIMITS, *([] if "provenance" in summary else [unknown])]))


def _show_figures(summary: dict[str, Any]) -> Iterable[str]:
    scores = (
        [escape(name), *(cell for key in ("mean", "median") for cell in (show(row[key]), span(row[f"{key}_interval"])))]
        + [str(row["undefined"] or "")]
        for name, row in list_scores(summary).items()
    )
    yield "<h2>Scores per patient</h2>"
    yield make_number_table(["score", "mean", "95 % interval", "median", "95 % interval", "undefined"], scores)
    presence, pooled = summary["presence"], summary["pooled"]
    figures = {
        **list_figures(summary),
        "false lesions per patient": summary["lesions"]["false_per_patient"],
        "is there tumour, by slice: specificity": presence["by_slice"]["specificity"],
        f"is there tumour, by slice: AUROC of {presence['score']}": presence["by_slice"]["auroc"],
        f"is there tumour, by patient: AUROC of {presence['score']}": presence["by_patient"]["auroc"],
        **{f"pooled voxels: {name}": pooled[name] for name in ("iou", "precision", "recall", "specificity")},
    }
    rows = (
        [escape(name), show(each["value"]), span(each["interval"]) or escape(each.get("reason") or "")]
        for name, each in figures.items()
    )
    yield "<h2>Slices, lesions and pooled voxels</h2>"
    yield make_number_table(["figure", "value", "95 % interval"], rows)


def _show_sites(summary: dict[str, Any]) -> Iterable[str]:
    rows = (
        [escape(site), str(each["patients"]), show(dice["mean"]), span(dice["mean_interval"]), show(dice["median"])]
        for site, each in summary["sites"].items()
        for dice in [each["dice"]]
    )
    yield "<h2>By site</h2>"
    yield make_number_table(["site", "patients", "mean Dice", "95 % interval", "median Dice"], rows, sorted_by=0)


def _show_patients(rows: Sequence[Mapping[str, Any]]) -> Iterable[str]:
    lengths, volumes = (sorted({row[unit] for row in rows}) for unit in ("distance_unit", "volume_unit"))
    mixed = len(lengths) > 1
    length, volume = ("" if mixed else f", {units[0]}" for units in (lengths, volumes))
    headings = [
        *("patient", "site", *_COLUMNS.values(), f"HD95{length}", "surface Dice", "lesions found", "missed", "false"),
        *(f"true volume{volume}", "predicted", "slice Dice", "false-alarm slices"),
    ]
    ranked = sorted(rows, key=lambda row: (row["dice"], row["patient"]))
    cells = ([*_fill_row(row), *([f"{row['distance_unit']}, {row['volume_unit']}"] if mixed else [])] for row in ranked)
    yield '<h2>Patients</h2><p class="note">Click on a heading to sort by it, again to turn the order round.</p>'
    yield make_number_table([*headings, *(["units"] if mixed else [])], cells, sorted_by=headings.index("Dice"))


def _fill_row(row: Mapping[str, Any]) -> list[str]:
    digits = 1 if row["volume_unit"] == "ml" else 0
    return [
        escape(row["patient"]) + (" <b>(no prediction)</b>" if row["missing"] else ""),
        escape(row["site"]),
        *(show(row[name]) for name in (*_COLUMNS, "hd95", "surface_dice")),
        *(str(row[f"lesions_{kind}"]) for kind in ("found", "missed", "false")),
        *(f"{row[volume]:.{digits}f}" for volume in ("true_volume", "predicted_volume")),
        show(row["slice_dice"]),
        str(row["false_alarm_slices"]),
    ]


def _show_overlays(overlays: Mapping[str, Sequence[Overlay]], dices: Mapping[str, float]) -> Iterable[str]:
    yield '<h2>Worst, median and best patients</h2><p class="note">Truth: green, solid. Prediction: red, dashed. '
    yield "The patient's right is on the left; grey runs over the slice's own range.</p>"
    if any("probability and truth" in overlay.figures for group in overlays.values() for overlay in group):
        colours = ", ".join(f"rgb{colour}" for colour in HEAT)
        ramp = f'<span class="ramp" style="background: linear-gradient(90deg, {colours})"></span>'
        yield f'<p class="note">Probability of tumour: 0 {ramp} 1; clear where it is low.</p>'
    for group, members in overlays.items():
        for overlay in members:
            yield f"<h3>{group}: {escape(overlay.patient)}, Dice {show(dices[overlay.patient])}</h3>"
            if overlay.problem:
                yield f'<p class="note">No picture: {escape(overlay.problem)}</p>'
            figures = (
                f"<figure>{svg}<figcaption>{escape(name)}</figcaption></figure>"
                for name, svg in overlay.figures.items()
            )
            yield f'<div class="pictures">{"".join(figures)}</div>'


def _show_record(record: dict[str, Any]) -> Iterable[str]:
    versions = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    facts = {
        name.replace("_", " "): str(value) for name, value in record.items() if name not in ("command", "versions")
    }
    yield "<h2>How this page came about</h2>"
    yield list_facts({"command": shlex.join(record["command"]), **facts, "versions": versions})
