"""The charts of the report: thresholds with their operating points, and the course of a training."""

from __future__ import annotations

from typing import Any

from monai_brainseg.reporting.charts import draw_lines
from monai_brainseg.reporting.learning_curves import TrainingRun
from monai_brainseg.reporting.pages import embed
from monai_brainseg.scoring.summary_text import show

_LEARNING = {
    "loss by epoch": {"train_loss": "training", "val_loss": "validation"},
    "mean Dice of the validation patients by epoch": {"val_mean_dice": "validation"},
    "learning rate by epoch": {"learning_rate": "learning rate"},
    "images per second by epoch": {"images_per_second": "images per second"},
}
_SQUARE = ((0.0, 1.0), (0.0, 1.0))


def draw_thresholds(summary: dict[str, Any]) -> dict[str, str]:
    """Return the charts of precision, recall and thresholds as images by caption; none without probabilities."""
    if not summary["probabilities"]:
        return {}
    curve, points, charts = summary["probabilities"]["curve"], summary["operating_points"], {}
    pairs = zip(curve["recall"], curve["precision"], strict=True)
    line = [(recall, precision) for recall, precision in pairs if None not in (recall, precision)]
    if line:
        marks = {
            f"{name} {show(each['threshold'])}": (each["recall"], each["precision"]) for name, each in points.items()
        }
        figure = draw_lines({"precision": line}, "recall", marks=marks, limits=_SQUARE)
        charts["precision by recall, pooled voxels"] = embed(figure, "svg+xml")
    figure = draw_lines(_list_calibration(summary["probabilities"]["calibration"]), "probability", limits=_SQUARE)
    charts["share of voxels that are tumour, by their probability"] = embed(figure, "svg+xml")
    lines = {
        name: list(zip(curve["threshold"], curve[key], strict=True))
        for key, name in (("mean_dice", "Dice"), ("mean_f2", "F2"))
    }
    figure = draw_lines(lines, "threshold", limits=_SQUARE)
    return charts | {"mean per-patient scores by threshold": embed(figure, "svg+xml")}


def _list_calibration(calibration: dict[str, Any]) -> dict[str, list[tuple[float, float]]]:
    """Return the line of these probabilities, and that of perfect ones."""
    pairs = zip(calibration["probability"], calibration["tumor_share"], strict=True)
    measured = [(given, share) for given, share in pairs if given is not None]
    return {**({"share that is tumour": measured} if measured else {}), "perfect": [(0.0, 0.0), (1.0, 1.0)]}


def draw_learning(training: TrainingRun) -> dict[str, str]:
    """Return the learning curves of a training run as images by caption."""
    charts = {
        caption: {name: training.curves[tag] for tag, name in tags.items() if tag in training.curves}
        for caption, tags in _LEARNING.items()
    }
    return {caption: embed(draw_lines(lines, "epoch"), "svg+xml") for caption, lines in charts.items() if lines}
