"""The page of an evaluation: scores, rules, each patient, pictures, and the training."""

from __future__ import annotations

import shlex
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

from matplotlib import colormaps
from matplotlib.colors import to_hex

from monai_brainseg.reporting.curves import draw_learning, draw_thresholds
from monai_brainseg.reporting.example_pictures import MAP, Overlay
from monai_brainseg.reporting.learning_curves import TrainingRun
from monai_brainseg.reporting.pages import Table, render_page
from monai_brainseg.reporting.slice_pictures import HEAT
from monai_brainseg.scoring.summary_text import describe_point, list_figures, list_scores, show, span

_COLUMNS = {"dice": "Dice", "iou": "IoU", "precision": "precision", "recall": "recall", "specificity": "specificity"}


@dataclass(frozen=True)
class Evidence:
    """What the page shows beside the summary.

    Attributes:
        rows: of ``metrics.csv``.
        overlays: pictures by group: worst, median, best.
        training: the run that made the weights, if --run names it.
    """

    rows: Sequence[Mapping[str, Any]]
    overlays: Mapping[str, Sequence[Overlay]]
    training: TrainingRun | None = None


def make_report(summary: dict[str, Any], evidence: Evidence) -> bytes:
    """Return the page of an evaluation as HTML.

    Args:
        summary: what ``summary.json`` holds.
        evidence: what else is shown.
    """
    training, overlays = evidence.training, evidence.overlays
    coloured = any(MAP in overlay.figures for group in overlays.values() for overlay in group)
    return render_page(
        "reporting/report.html",
        summary=summary,
        scores=_tabulate_scores(summary),
        figures=_tabulate_figures(summary),
        sites=_tabulate_sites(summary),
        patients=_tabulate_patients(evidence.rows),
        dices={row["patient"]: row["dice"] for row in evidence.rows},
        overlays=overlays,
        heat=[to_hex(colormaps[HEAT](share / 4)) for share in range(5)] if coloured else [],
        thresholds=draw_thresholds(summary),
        points=_tabulate_points(summary["operating_points"]),
        training=training,
        training_record=_describe(training.record, "date", "machine", "seed", "command") if training else {},
        learning=draw_learning(training) if training else {},
        record=_describe(summary["run"], *summary["run"]),
    )


def _tabulate_scores(summary: dict[str, Any]) -> Table:
    rows = [
        [name, *(text for key in ("mean", "median") for text in (show(row[key]), span(row[f"{key}_interval"])))]
        + [str(row["undefined"] or "")]
        for name, row in list_scores(summary).items()
    ]
    return Table(["score", "mean", "95 % interval", "median", "95 % interval", "undefined"], rows)


def _tabulate_figures(summary: dict[str, Any]) -> Table:
    presence, pooled = summary["presence"], summary["pooled"]
    figures = {
        **list_figures(summary),
        "false lesions per patient": summary["lesions"]["false_per_patient"],
        "is there tumour, by slice: specificity": presence["by_slice"]["specificity"],
        f"is there tumour, by slice: AUROC of {presence['score']}": presence["by_slice"]["auroc"],
        f"is there tumour, by patient: AUROC of {presence['score']}": presence["by_patient"]["auroc"],
        **{f"pooled voxels: {name}": pooled[name] for name in ("iou", "precision", "recall", "specificity")},
    }
    rows = [
        [name, show(each["value"]), span(each["interval"]) or each.get("reason") or ""]
        for name, each in figures.items()
    ]
    return Table(["figure", "value", "95 % interval"], rows)


def _tabulate_sites(summary: dict[str, Any]) -> Table:
    rows = [
        [site, str(each["patients"]), show(dice["mean"]), span(dice["mean_interval"]), show(dice["median"])]
        for site, each in summary["sites"].items()
        for dice in [each["dice"]]
    ]
    return Table(["site", "patients", "mean Dice", "95 % interval", "median Dice"], rows, sorted_by=0)


def _tabulate_points(points: dict[str, Any]) -> Table:
    scores = {name: describe_point(point) for name, point in points.items()}
    rows = [
        [name, point["criterion"], *map(show, scores[name].values()), span(point["dice"]["mean_interval"])]
        for name, point in points.items()
    ]
    names = next(iter(scores.values()), {})
    return Table(["point", "chosen for", *names, "95 % interval of mean dice"], rows)


def _tabulate_patients(rows: Sequence[Mapping[str, Any]]) -> Table:
    """Return the patients, the worst first; units are in the headings, or in a column where patients differ."""
    lengths, volumes = (sorted({row[unit] for row in rows}) for unit in ("distance_unit", "volume_unit"))
    mixed = len(lengths) > 1
    length, volume = ("" if mixed else f", {units[0]}" for units in (lengths, volumes))
    headings = [
        *("patient", "site", *_COLUMNS.values(), f"HD95{length}", "surface Dice", "lesions found", "missed", "false"),
        *(f"true volume{volume}", "predicted", "slice Dice", "false-alarm slices"),
    ]
    ranked = sorted(rows, key=lambda row: (row["dice"], row["patient"]))
    cells = [[*_fill_row(row), *([f"{row['distance_unit']}, {row['volume_unit']}"] if mixed else [])] for row in ranked]
    return Table([*headings, *(["units"] if mixed else [])], cells, sorted_by=headings.index("Dice"))


def _fill_row(row: Mapping[str, Any]) -> list[str]:
    digits = 1 if row["volume_unit"] == "ml" else 0
    return [
        row["patient"] + (" (no prediction)" if row["missing"] else ""),
        row["site"],
        *(show(row[name]) for name in (*_COLUMNS, "hd95", "surface_dice")),
        *(str(row[f"lesions_{kind}"]) for kind in ("found", "missed", "false")),
        *(f"{row[volume]:.{digits}f}" for volume in ("true_volume", "predicted_volume")),
        show(row["slice_dice"]),
        str(row["false_alarm_slices"]),
    ]


def _describe(record: Mapping[str, Any], *names: str) -> dict[str, str]:
    """Return the named facts of a run's record, as text."""
    facts = {name.replace("_", " "): str(record[name]) for name in names if name in record}
    if record.get("command"):
        facts["command"] = shlex.join(map(str, record["command"]))
    if "versions" in facts:
        facts["versions"] = ", ".join(f"{name} {version}" for name, version in record["versions"].items())
    return facts
