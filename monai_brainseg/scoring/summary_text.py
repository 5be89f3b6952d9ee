"""A summary in words and rows, for the terminal and for the page."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any


def format_summary(summary: dict[str, Any]) -> str:
    """Return what the command prints: the Dice of each patient, worst first, a short table, the headline last."""
    lines = [f"{'patient':32} dice", *(f"{each['patient']:32}{each['dice']:.3f}" for each in summary["patients"]), ""]
    lines.append(f"{'per patient':28}{'mean':>9} {'95 % interval':22}{'median':>9} {'95 % interval':22}undefined")
    for name, row in list_scores(summary).items():
        mean, median = (f"{show(row[key]):>9} {span(row[key + '_interval']):22}" for key in ("mean", "median"))
        lines.append(f"{name:28}{mean}{median}{row['undefined'] or ''}".rstrip())
    figures = list_figures(summary)
    lines += [f"{name:28}{show(row['value']):>9} {span(row['interval'])}".rstrip() for name, row in figures.items()]
    for name, point in summary["operating_points"].items():
        scores = ", ".join(f"{score} {show(value)}" for score, value in describe_point(point).items())
        lines.append(f"{'operating point ' + name:28}{scores}")
    if summary["missing"]:
        missing = summary["missing"]
        lines.append(f"NO PREDICTION, scored as failure, for {count_patients(len(missing))}: {', '.join(missing)}")
    lines.append(summary["provenance"]["note"])
    lines.append(state_headline(summary["headline"]))
    return "\n".join(lines)


def state_headline(headline: dict[str, Any]) -> str:
    """Return the headline with its interval as one line."""
    interval = f"95 % interval {span(headline['interval'])}" if headline["interval"] else "no interval"
    patients = count_patients(headline["patients"])
    return f"{headline['score']} {show(headline['value'])} ({interval}) over {patients}"


def list_scores(summary: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the scores that have a mean and a median over patients, by name with unit."""
    rows = dict(summary["per_patient"])
    for unit, lengths in summary["distances_and_volumes"].items():
        rows |= {f"surface dice ({lengths['tolerance']:g} {unit})": lengths["surface_dice"]}
        rows |= {f"hd95 ({unit})": lengths["hd95"], f"volume error ({lengths['volume_unit']})": lengths["volume_error"]}
    return rows


def list_figures(summary: dict[str, Any]) -> dict[str, dict[str, Any]]:
    """Return the figures of slices, lesions and pooled voxels that have a value and an interval, by name."""
    presence = summary["presence"]["by_slice"]
    figures = {
        "slices with tumour: dice": summary["slices"]["dice"],
        "slices with tumour: found": presence["sensitivity"],
        "slices without: false alarms": summary["slices"]["false_alarm_rate"],
        "lesions found": summary["lesions"]["found_share"],
        "pooled voxels: dice": summary["pooled"]["dice"],
    }
    if summary["probabilities"]:
        figures["average precision"] = summary["probabilities"]["average_precision"]
    return figures


def describe_point(point: dict[str, Any]) -> dict[str, float | None]:
    """Return threshold and scores of an operating point, by name."""
    return {
        "threshold": point["threshold"],
        "precision": point["precision"],
        "recall": point["recall"],
        "mean dice": point["dice"]["mean"],
        "mean F2": point["f2"]["mean"],
    }


def count_patients(number: int) -> str:
    """Return "1 patient" and so on."""
    return "1 patient" if number == 1 else f"{number} patients"


def show(value: float | None) -> str:
    """Return a number with three decimals, none if it is large."""
    return "undefined" if value is None else f"{value:.3f}" if abs(value) < 100 else f"{value:.0f}"


def span(interval: Sequence[float | None] | None) -> str:
    """Return an interval as "low to high", nothing if there is none."""
    return f"{show(interval[0])} to {show(interval[1])}" if interval else ""
