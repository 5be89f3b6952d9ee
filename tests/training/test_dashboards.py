"""The dashboard of a run, read from a real TensorBoard over HTTP and seen in a headless browser."""

from __future__ import annotations

import io
import json
import re
import subprocess
import sys
import time
import urllib.request
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from urllib.parse import quote

import numpy as np
import pytest
import torch
import yaml
from ignite.engine import Engine, Events
from PIL import Image
from sklearn.metrics import precision_score, recall_score
from support.browsers import find_browser, open_page
from support.bundle_runs import QUICK, build, run
from tensorboard.backend.event_processing.event_accumulator import EventAccumulator
from torch.utils.tensorboard import SummaryWriter

from monai_brainseg.scoring.metrics import count_slices, dice, pool
from monai_brainseg.scoring.probabilities import count_bins
from monai_brainseg.training.dashboards import THRESHOLDS, choose_evenly, trace_precision_recall

EPOCHS = 4
OPTIONS = QUICK | {"epochs": EPOCHS, "overlay_interval": 2, "learning_rate": 0.01}
LOOKS = [1, 2, 4]
LEARNING = {"slices_per_volume": 56}  # enough for a prediction that is neither all nor nothing


class TensorBoard:
    """A server on a folder, asked by its own routes."""

    def __init__(self, folder: Path) -> None:
        words = [sys.executable, "-m", "tensorboard.main", "--logdir", str(folder), "--host", "127.0.0.1"]
        self.process = subprocess.Popen([*words, "--port", "0"], stderr=subprocess.PIPE, text=True)
        assert self.process.stderr is not None
        found = (re.search(r"http://127\.0\.0\.1:\d+/", line) for line in self.process.stderr)
        self.address = next(filter(None, found))[0]

    def fetch(self, route: str, ask: dict[str, Any] | None = None, **query: Any) -> bytes:
        words = "&".join(f"{name}={quote(str(value), safe='')}" for name, value in query.items())
        body = None if ask is None else json.dumps(ask).encode()
        address = f"{self.address}data/plugin/{route}?{words}"
        request = urllib.request.Request(address, body, {"Content-Type": "application/json"})
        with urllib.request.urlopen(request, timeout=30) as answer:
            return answer.read()

    def ask(self, route: str, ask: dict[str, Any] | None = None, **query: Any) -> Any:
        return json.loads(self.fetch(route, ask, **query))

    def wait(self) -> None:
        """Wait until the run is loaded."""
        for _ in range(120):
            if self.ask("pr_curves/tags"):
                return
            time.sleep(0.5)
        raise AssertionError("TensorBoard has loaded no run")

    def fetch_picture(self, tag: str) -> tuple[int, np.ndarray]:
        """Return the last one's step and pixels."""
        last = self.ask("images/images", run=".", tag=tag, sample=0)[-1]
        content = self.fetch("images/individualImage", **dict([last["query"].split("=", 1)]))
        assert content.startswith(b"\x89PNG\r\n")
        return last["step"], np.asarray(Image.open(io.BytesIO(content))).astype(int)


@pytest.fixture(scope="module")
def finished(prepared_phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A run in a folder where another one had left a dashboard."""
    output = tmp_path_factory.mktemp("dashboard") / "run"
    with SummaryWriter(str(output / "tensorboard")) as earlier:
        earlier.add_scalar("train_loss", 1, 99)
    done = run("training", "train.yaml", prepared_phantoms, output, **(OPTIONS | LEARNING))
    assert done.returncode == 0, done.stderr
    return output


@pytest.fixture(scope="module")
def server(finished: Path) -> Iterator[TensorBoard]:
    started = TensorBoard(finished / "tensorboard")
    try:
        started.wait()
        yield started
    finally:
        started.process.terminate()
        started.process.wait()


@pytest.fixture(scope="module")
def validated(finished: Path, prepared_phantoms: Path, tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """Truth, prediction and probability of each validation patient by the weights of the last epoch."""
    workflow = build("train.yaml", "train", prepared_phantoms, tmp_path_factory.mktemp("again"), **OPTIONS)
    workflow.network_def.load_state_dict(torch.load(finished / "last.pt", weights_only=True)["network"])
    workflow.parser.get_parsed_content("early_stop").set_trainer(workflow.trainer)
    kept = {}

    @workflow.evaluator.on(Events.ITERATION_COMPLETED)
    def keep(engine: Engine) -> None:
        (item,), (output,) = engine.state.batch, engine.state.output
        arrays = [torch.as_tensor(output[name]).cpu().numpy() for name in ("label", "pred", "probability")]
        kept[item["patient"]] = arrays[0][0] > 0, arrays[1][0] > 0, arrays[2][1]

    workflow.evaluator.run()
    assert len(kept) == 4
    return kept


def is_drawn(pixels: np.ndarray, truth: np.ndarray, prediction: np.ndarray) -> bool:
    """Does a picture show a patient's slice with most truth in the colours that it should?"""
    z = int(truth.sum(axis=(0, 1)).argmax())
    true, predicted = truth[..., z].T, prediction[..., z].T
    red, green, blue = (pixels[: 4 * true.shape[0] : 4, : 4 * true.shape[1] : 4, channel] for channel in range(3))
    drawn_truth, drawn_prediction = green - blue > 50, red - blue > 50
    wrong = (drawn_truth != true) | (drawn_prediction != predicted)
    return bool(wrong.sum() < 0.05 * (true | predicted).sum())  # float32 sums depend on the number of threads


@pytest.mark.slow
def test_pictures_show_truth_green_prediction_red_and_both_yellow(
    server: TensorBoard, validated: dict[str, Any]
) -> None:
    tags = server.ask("images/tags")["."]
    fixed = {tag.split("/")[1] for tag in tags if tag.startswith("fixed_patients/")}
    assert len(fixed) == 3
    assert fixed < set(validated)
    assert set(tags) == {f"fixed_patients/{name}" for name in fixed} | {f"worst_patients/{n}" for n in (1, 2, 3)}
    for tag in tags:
        assert [image["step"] for image in server.ask("images/images", run=".", tag=tag, sample=0)] == LOOKS
    shades = set()
    for name in fixed:
        step, pixels = server.fetch_picture(f"fixed_patients/{name}")
        truth, prediction, _ = validated[name]
        assert step == EPOCHS
        assert is_drawn(pixels, truth, prediction)
        assert not is_drawn(pixels, prediction, truth)
        shades |= {(true, predicted) for true, predicted in zip(truth.flat, prediction.flat, strict=True)}
    assert len(shades) == 4


@pytest.mark.slow
def test_worst_patients_stand_in_the_order_of_their_dice(server: TensorBoard, validated: dict[str, Any]) -> None:
    scores = {name: dice(pool(count_slices(predicted, truth))) for name, (truth, predicted, _) in validated.items()}
    for place, name in enumerate(sorted(scores, key=lambda name: scores[name])[:3], start=1):
        truth, prediction, _ = validated[name]
        assert is_drawn(server.fetch_picture(f"worst_patients/{place}")[1], truth, prediction)


@pytest.mark.slow
def test_curve_is_that_of_all_validation_voxels(server: TensorBoard, validated: dict[str, Any]) -> None:
    curves = server.ask("pr_curves/pr_curves", run=".", tag="validation_voxels")["."]
    assert [curve["step"] for curve in curves] == LOOKS
    last = curves[-1]
    truth = np.concatenate([truth.ravel() for truth, _, _ in validated.values()])
    probability = np.concatenate([probability.ravel() for _, _, probability in validated.values()])
    assert len(last["thresholds"]) > 63  # TensorBoard leaves out those that nothing reaches
    for index, threshold in enumerate(last["thresholds"][:64:9]):
        predicted = probability >= threshold
        assert last["precision"][9 * index] == pytest.approx(precision_score(truth, predicted), abs=0.01)
        assert last["recall"][9 * index] == pytest.approx(recall_score(truth, predicted), abs=0.01)
    assert max(last["precision"]) > 0.5
    assert last["recall"][0] == 1


@pytest.mark.slow
def test_scores_and_settings_stand_in_one_run_of_the_hparams_tab(server: TensorBoard, finished: Path) -> None:
    asked = {"experimentName": "", "allowedStatuses": ["STATUS_SUCCESS"], "startIndex": 0, "sliceSize": 9}
    (group,) = server.ask("hparams/session_groups", asked)["sessionGroups"]
    assert group["hparams"]["learning_rate"] == OPTIONS["learning_rate"]
    assert group["hparams"]["epochs"] == EPOCHS
    assert group["hparams"]["patch_size"] == "[32, 32]"
    scores = {metric["name"]["tag"]: metric["value"] for metric in group["metricValues"]}
    state = torch.load(finished / "last.pt", weights_only=True)
    assert scores["best/val_mean_dice"] == pytest.approx(state["best_metric"])
    assert scores["best/epoch"] == state["best_metric_epoch"]
    logged = server.ask("scalars/scalars", run=".", tag="train_loss")
    assert [step for _, step, _ in logged] == list(range(1, EPOCHS + 1))  # nothing of the earlier run
    assert scores["train_loss"] == pytest.approx(logged[-1][2])
    assert set(scores) == {"best/val_mean_dice", "best/epoch", "train_loss", "val_loss"}


@pytest.mark.slow
def test_config_of_the_run_stands_as_text(server: TensorBoard, finished: Path) -> None:
    (tag,) = server.ask("text/tags")["."]
    (text,) = server.ask("text/text", run=".", tag=tag)
    assert "<pre><code>" in text["text"]
    config = yaml.safe_load((finished / "config.yaml").read_text())
    assert f"learning_rate: {config['learning_rate']}" in text["text"]
    assert f"overlay_interval: {config['overlay_interval']}" in text["text"]


def count_marks(screenshot: Path) -> dict[str, int]:
    """Count the colours of a screenshot, and its pixels in those of curves and masks, beside the controls."""
    pixels = np.asarray(Image.open(screenshot).convert("RGB")).astype(int)[100:, 360:].reshape(-1, 3)
    red, green, blue = pixels.T
    return {
        "colours": len(np.unique(pixels, axis=0)),
        "curve": int((abs(pixels - [255, 112, 67]) < 12).all(axis=1).sum()),
        "truth": int(((green - red > 90) & (green - blue > 90)).sum()),
        "prediction": int(((red - green > 90) & (green == blue)).sum()),
        "both": int(((red == green) & (red - blue > 90)).sum()),
    }


@pytest.mark.slow
@pytest.mark.parametrize(("tab", "marks"), [("scalars", ["curve"]), ("images", ["truth", "prediction", "both"])])
def test_browser_shows_curves_and_pictures(server: TensorBoard, tmp_path: Path, tab: str, marks: list[str]) -> None:
    find_browser()
    for budget in (20, 40, 80):  # seconds of the page's own time; it goes on when nothing is left to be loaded
        file = tmp_path / f"{budget}.png"
        options = ["--window-size=1400,1600", f"--virtual-time-budget={budget * 1000}", f"--screenshot={file}"]
        open_page(f"{server.address}#{tab}", tmp_path / f"profile{budget}", *options)
        counts = count_marks(file)
        if counts["colours"] > 100 and all(counts[mark] > 100 for mark in marks):
            return
    pytest.fail(f"the {tab} tab shows {counts}")


@pytest.mark.slow
def test_resumed_run_goes_on_under_the_same_names_and_says_nothing_twice(
    prepared_phantoms: Path, tmp_path: Path
) -> None:
    parts = build("train.yaml", "train", prepared_phantoms, tmp_path, **OPTIONS)

    @parts.trainer.on(Events.EPOCH_COMPLETED(once=2))
    def stop(engine: Engine) -> None:
        raise KeyboardInterrupt

    with pytest.raises(KeyboardInterrupt):
        parts.run()
    for _ in range(2):  # to the end, and once more when it is finished
        build("train.yaml", "train", prepared_phantoms, tmp_path, resume=True, **OPTIONS).run()
    events = EventAccumulator(str(tmp_path / "tensorboard"), {"images": 0, "tensors": 0})
    events.Reload()
    tags = events.Tags()
    for name in ("best/val_mean_dice", "best/epoch", "val_mean_dice", "train_loss"):
        assert [event.step for event in events.Scalars(name)] == [1, 2, 3, 4]
    assert len(tags["images"]) == 6
    for name in tags["images"]:
        assert [event.step for event in events.Images(name)] == [1, 2, 4]
    assert [event.step for event in events.Tensors("validation_voxels")] == [1, 2, 4]


def test_counts_give_precision_and_recall_at_every_threshold() -> None:
    rng = np.random.default_rng(0)
    counts, truths, probabilities = np.zeros((2, len(THRESHOLDS)), np.int64), [], []
    for _ in range(3):
        truth = rng.random((5, 6, 7)) < 0.2
        probability = np.where(truth, rng.beta(3, 1, truth.shape), rng.beta(1, 3, truth.shape)).astype(np.float32)
        probability.flat[:3] = 0, 1, 1.0000001  # sums of weights can end above 1
        counts += count_bins(probability, truth, THRESHOLDS)
        truths.append(truth.ravel())
        probabilities.append(probability.ravel())
    pooled, scores = np.concatenate(truths), np.concatenate(probabilities)
    rows = trace_precision_recall(counts)
    assert np.array_equal(rows[:4].sum(axis=0), np.full(len(THRESHOLDS), pooled.size))
    for index, threshold in enumerate(THRESHOLDS.astype(np.float32)):
        predicted = scores >= threshold
        assert rows[0, index] == (predicted & pooled).sum()
        assert rows[4, index] == pytest.approx(precision_score(pooled, predicted, zero_division=0))
        assert rows[5, index] == pytest.approx(recall_score(pooled, predicted))


def test_no_voxels_of_tumour_give_no_nan() -> None:
    rows = trace_precision_recall(count_bins(np.zeros(4), np.zeros(4, bool), THRESHOLDS))
    assert np.isfinite(rows).all()


def test_fixed_patients_are_spread_evenly_and_never_named_twice() -> None:
    names = [f"p{number}" for number in range(9)]
    assert choose_evenly(names, 3) == ["p0", "p4", "p8"]
    assert choose_evenly(names, 1) == ["p0"]
    assert choose_evenly(names, 0) == choose_evenly([], 3) == []
    assert choose_evenly(names, 20) == names
