"""Kill trainings at random moments and look what is left: resume never fails and ends with the same weights.

    python tests/support/interruptions.py PREPARED_FOLDER --kills 50 --minutes 10 --output interruptions.json

Trains the U-Net bundle, narrow and short, once undisturbed; then again and again, each time killed by SIGKILL, SIGTERM
or SIGINT at a random moment between its start and its end (loading, an epoch, validation, a checkpoint being written)
and resumed, until that many kills are done; whenever a training gets to its end, its weights are compared to the bit
with the undisturbed ones, and the next one starts from the beginning. Exit code 1 if anything was not as it should be.
"""

from __future__ import annotations

import argparse
import json
import random
import signal
import subprocess
import sys
import tempfile
import time
from collections import Counter
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import torch

sys.path.insert(0, str(Path(__file__).resolve().parent.parent))
from support.bundle_runs import QUICK, command

SIGNALS = (signal.SIGKILL, signal.SIGTERM, signal.SIGINT)
OPTIONS: dict[str, Any] = QUICK | {"epochs": 12, "overlay_fixed": 1, "overlay_worst": 0}
PATIENCE = 300


@dataclass
class Record:
    """What happened.

    Attributes:
        kills: by signal, and by whether there was anything to resume.
        finished: trainings that came to their end after kills, and were compared.
        problems: what was not as it should be.
    """

    kills: Counter[str] = field(default_factory=Counter)
    finished: int = 0
    problems: list[str] = field(default_factory=list)


def read_state(folder: Path) -> dict[str, Any]:
    """Return what a resume would begin with; empty before the first epoch is whole."""
    file = folder / "last.pt"
    return torch.load(file, weights_only=True) if file.is_file() else {}


def is_equal(one: Any, other: Any) -> bool:
    if isinstance(one, torch.Tensor):
        return torch.equal(one, other)
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(is_equal(one[key], other[key]) for key in one)
    if isinstance(one, (list, tuple)):
        return len(one) == len(other) and all(map(is_equal, one, other))
    return bool(one == other)


def train(dataset: Path, folder: Path) -> subprocess.Popen[str]:
    words = command("training", "train.yaml", dataset, folder, resume=True, **OPTIONS)
    return subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.PIPE, text=True)


def wait_for_epochs(process: subprocess.Popen[str], file: Path, count: int) -> None:
    """Wait until a training has written its state so many times, or has ended."""
    last = file.stat().st_mtime_ns if file.is_file() else 0
    while count and process.poll() is None:
        time.sleep(0.005)
        now = file.stat().st_mtime_ns if file.is_file() else 0
        if now != last:
            last, count = now, count - 1


def kill_once(
    dataset: Path, folder: Path, seconds: float, number: signal.Signals, record: Record, epochs: int = 0
) -> bool:
    """Start or resume a training, and kill it some seconds after its start, or after so many of its epochs.

    Returns:
        whether it came to its end before.
    """
    before = read_state(folder).get("epoch", 0)
    process = train(dataset, folder)
    wait_for_epochs(process, folder / "last.pt", epochs)
    try:
        _, said = process.communicate(timeout=seconds)
        ended = True
    except subprocess.TimeoutExpired:
        process.send_signal(number)
        _, said = process.communicate(timeout=PATIENCE)
        ended = False
    try:
        after = read_state(folder).get("epoch", 0)
    except Exception as error:  # whatever torch raises on half a file
        record.problems.append(f"{number.name} after {seconds:.1f} s: last.pt cannot be read ({error})")
        return True
    if after < before:
        record.problems.append(f"{number.name} after {seconds:.1f} s: back from epoch {before} to {after}")
    if ended and process.returncode != 0:
        record.problems.append(f"resume failed by itself: {said.strip()[-300:]}")
    if not ended:
        record.kills[f"{number.name} {'before the first whole epoch' if not after else 'later'}"] += 1
    if not ended and number != signal.SIGKILL and "Traceback" in said and "KeyboardInterrupt" not in said:
        record.problems.append(f"{number.name} after {seconds:.1f} s: a trace, {said.strip()[-300:]}")
    return ended


def interrupt(dataset: Path, folder: Path, kills: int, minutes: float, seed: int = 0) -> Record:
    """Kill trainings so many times, or as long, in folders of their own below ``folder``."""
    chance, record = random.Random(seed), Record()
    started, epochs = time.monotonic(), OPTIONS["epochs"]
    whole = train(dataset, folder / "whole")
    _, said = whole.communicate(timeout=PATIENCE)
    length = time.monotonic() - started
    if whole.returncode:
        raise RuntimeError(said)
    right, best = read_state(folder / "whole"), torch.load(folder / "whole/models/model.pt", weights_only=True)
    attempt = 0
    while sum(record.kills.values()) < kills and time.monotonic() - started < minutes * 60:
        # Loading takes most of the time: every other kill waits for an epoch or more.
        waited = chance.randint(1, epochs // 2) if chance.random() < 0.5 else 0
        seconds = chance.uniform(0, 0.5) if waited else chance.uniform(0.3, length)
        if kill_once(dataset, folder / str(attempt), seconds, chance.choice(SIGNALS), record, waited):
            compare(folder / str(attempt), right, best, record)
            attempt += 1
    # The last one is let go to its end.
    kill_once(dataset, folder / str(attempt), PATIENCE, signal.SIGKILL, record)
    compare(folder / str(attempt), right, best, record)
    return record


def compare(folder: Path, right: dict[str, Any], best: dict[str, Any], record: Record) -> None:
    if not is_equal(read_state(folder), right):
        record.problems.append(f"{folder.name}: another state than the undisturbed training's")
    if not is_equal(torch.load(folder / "models/model.pt", weights_only=True), best):
        record.problems.append(f"{folder.name}: other weights than the undisturbed training's")
    record.finished += 1


def main() -> int:
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("dataset", type=Path)
    parser.add_argument("--kills", type=int, default=50)
    parser.add_argument("--minutes", type=float, default=60)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--output", type=Path)
    arguments = parser.parse_args()
    with tempfile.TemporaryDirectory() as folder:
        record = interrupt(arguments.dataset, Path(folder), arguments.kills, arguments.minutes, arguments.seed)
    kinds = dict(sorted(record.kills.items()))
    content = {**vars(record), "kills": sum(kinds.values()), "kinds": kinds}
    text = json.dumps({**content, "torch": torch.__version__, "seed": arguments.seed}, indent=1)
    print(text)
    if arguments.output:
        arguments.output.write_text(text + "\n")
    return 1 if record.problems else 0


if __name__ == "__main__":
    sys.exit(main())
