"""The sections of the report that are curves: thresholds with their operating points, and the course of a training."""

from __future__ import annotations

import shlex
from collections.abc import Iterable
from html import escape
from typing import Any

from monai_brainseg.reporting.learning_curves import TrainingRun
from monai_brainseg.reporting.line_charts import draw_lines
from monai_brainseg.reporting.pages import list_facts, make_number_table
from monai_brainseg.scoring.summary_text import count_patients, describe_point, show, span

_CURVES = {
    "loss by epoch": {"train_loss": "training", "val_loss": "validation"},
    "mean Dice of the validation patients by epoch": {"val_mean_dice": "validation"},
    "learning rate by epoch": {"learning_rate": "learning rate"},
    "images per second by epoch": {"images_per_second": "images per second"},
}


def show_probabilities(summary: dict[str, Any]) -> Iterable[str]:
    """Yield what the probability maps say: curves, operating points and where these were chosen."""
    yield "<h2>Precision, recall and thresholds</h2>"
    if not summary["probabilities"]:
        yield '<p class="note">No curve: it needs PATIENT_probability.nii.gz beside every prediction.</p>'
        return
    average, points = summary["probabilities"]["average_precision"], summary["operating_points"]
    interval = span(average["interval"]) or average.get("reason") or "no interval"
    yield f"<p>Average precision {show(average['value'])} ({interval}), of all voxels pooled. Probabilities are those "
    yield "before any clean-up of the masks, so that scores at a threshold may differ a little from the masks'.</p>"
    yield f"<p>{escape(_say_choice(summary))}</p>"
    yield f'<div class="charts">{"".join(_draw_thresholds(summary["probabilities"]["curve"], points))}</div>'
    if points:
        rows = (
            [name, point["criterion"], *map(show, describe_point(point).values()), span(point["dice"]["mean_interval"])]
            for name, point in points.items()
        )
        headings = ["point", "chosen for", *describe_point(next(iter(points.values()))), "95 % interval of mean dice"]
        yield make_number_table(headings, rows)


def _draw_thresholds(curve: dict[str, Any], points: dict[str, Any]) -> Iterable[str]:
    pairs = zip(curve["recall"], curve["precision"], strict=True)
    line = [(recall, precision) for recall, precision in pairs if None not in (recall, precision)]
    square = ((0.0, 1.0), (0.0, 1.0))
    if line:
        marks = {
            f"{name} {show(each['threshold'])}": (each["recall"], each["precision"]) for name, each in points.items()
        }
        yield draw_lines(
            {"precision": line}, "precision by recall, pooled voxels", "recall", marks=marks, limits=square
        )
    lines = {
        name: list(zip(curve["threshold"], curve[key], strict=True))
        for key, name in (("mean_dice", "Dice"), ("mean_f2", "F2"))
    }
    yield draw_lines(lines, "mean per-patient scores by threshold", "threshold", limits=square)


def _say_choice(summary: dict[str, Any]) -> str:
    chosen = summary["protocol"]["operating_points"]
    if not chosen:
        return (
            "No operating points: they are chosen on the folds and never on the patients of this part; mark them by "
            "--operating-points with the summary.json of an evaluation of the folds."
        )
    fold = "the folds" if chosen["fold"] is None else f"fold {chosen['fold']}"
    count = count_patients(len(chosen["patients"]))
    if chosen["file"]:
        return f"Operating points chosen on {fold} ({count}, {chosen['file']}), and only measured here."
    return (
        f"Operating points chosen on {fold}: on these {count}, so that their scores here are the best of many and "
        "flatter. Measure them on other patients by --operating-points."
    )


def show_training(training: TrainingRun | None) -> Iterable[str]:
    """Yield the learning curves and the record of a training run."""
    yield "<h2>Training</h2>"
    if training is None:
        yield '<p class="note">No learning curves: name the folder of the training run by --run.</p>'
        return
    yield (
        f'<p class="note">Run {escape(str(training.folder))}, as named by --run; that it made these masks is not '
        "checked here.</p>"
    )
    record = training.record
    facts: dict[str, str] = {name: str(record[name]) for name in ("date", "machine", "seed") if name in record}
    if record.get("command"):
        facts["command"] = shlex.join(map(str, record["command"]))
    yield list_facts(facts)
    yield '<div class="charts">'
    for title, tags in _CURVES.items():
        lines = {name: training.curves[tag] for tag, name in tags.items() if tag in training.curves}
        if lines:
            yield draw_lines(lines, title, "epoch")
    yield "</div>"
    if training.config:
        yield f"<details><summary>config.yaml of the run</summary><pre>{escape(training.config)}</pre></details>"
