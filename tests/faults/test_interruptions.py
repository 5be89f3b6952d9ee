"""Kill what runs for long, and look at what is left and at what the second run makes of it."""

from __future__ import annotations

import signal
import subprocess
import sys
import time
from pathlib import Path

import numpy as np
import pytest
from support.fixed_bundles import BRIGHT, bright_state, draw_phantom, make_bundle, save_flair
from support.interruptions import interrupt

from monai_brainseg.data.prepare import prepare
from monai_brainseg.images.volumes import read_nifti
from monai_brainseg.phantoms.patients import write_phantoms

pytestmark = pytest.mark.slow


def kill_after(words: list[str], seconds: float) -> int:
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    try:
        return process.wait(seconds)
    except subprocess.TimeoutExpired:
        process.send_signal(signal.SIGKILL)
        return process.wait()


def kill_at_file(words: list[str], folder: Path, count: int) -> int:
    """Kill once ``count`` masks lie in the folder, wherever that is in the work on the next one."""
    process = subprocess.Popen(words, stdout=subprocess.DEVNULL, stderr=subprocess.DEVNULL)
    started = time.monotonic()
    while process.poll() is None and time.monotonic() - started < 120 and len(list(folder.glob("*.nii.gz"))) < count:
        time.sleep(0.002)
    process.send_signal(signal.SIGKILL)
    return process.wait()


def run_brainseg(*words: object) -> list[str]:
    return [sys.executable, "-m", "monai_brainseg", *map(str, words)]


def read_files(folder: Path) -> dict[str, bytes]:
    return {str(file.relative_to(folder)): file.read_bytes() for file in folder.rglob("*") if file.is_file()}


def test_trainings_killed_five_times_end_with_the_weights_of_an_undisturbed_one(
    prepared_phantoms: Path, tmp_path: Path
) -> None:
    record = interrupt(prepared_phantoms, tmp_path, kills=5, minutes=5, seed=1)
    assert record.problems == []
    assert sum(record.kills.values()) == 5
    assert record.finished >= 1


def test_prepare_killed_at_any_moment_leaves_nothing_or_all(tmp_path: Path) -> None:
    write_phantoms(tmp_path / "in", 8, seed=3, size=64, slices=8)
    prepare(tmp_path / "in", tmp_path / "whole", folds=2, say=lambda line: None)
    right = read_files(tmp_path / "whole")
    words = run_brainseg("prepare", tmp_path / "in", "--output", tmp_path / "out", "--folds", 2)
    started = time.monotonic()
    assert kill_after([*words[:-3], str(tmp_path / "timed"), "--folds", "2"], 60) == 0
    length = time.monotonic() - started
    for share in (0.3, 0.6, 0.75, 0.85, 0.95):  # the last of them may find it done
        code = kill_after(words, share * length)
        assert code == -signal.SIGKILL or share > 0.5
        assert read_files(tmp_path / "out") == (right if (tmp_path / "out").exists() else {})
        if (tmp_path / "out").exists():
            break
    if not (tmp_path / "out").exists():
        assert kill_after(words, 60) == 0
    assert read_files(tmp_path / "out") == right
    assert not list(tmp_path.glob(".out.*"))


def test_predict_killed_among_its_masks_is_completed_by_the_same_command(tmp_path: Path) -> None:
    bundle = make_bundle(tmp_path / "bundle", BRIGHT, bright_state())
    for number in range(8):
        save_flair(draw_phantom(seed=number), tmp_path / "in" / f"s{number:02d}.nii.gz")
    words = run_brainseg("predict", tmp_path / "in", "--bundle", bundle, "--output")
    assert kill_after([*words, str(tmp_path / "whole")], 120) == 0
    output = tmp_path / "masks"
    for _ in range(2):
        count = len(list(output.glob("*.nii.gz"))) + 1  # one more than is there
        assert kill_at_file([*words, str(output)], output, count) == -signal.SIGKILL
        assert count <= len(list(output.glob("*.nii.gz")))
        for file in output.glob("*.nii.gz"):  # whatever is there is whole
            whole = read_nifti(tmp_path / "whole" / file.name)
            assert np.array_equal(read_nifti(file).voxels, whole.voxels)
    assert kill_after([*words, str(output)], 120) == 0
    masks = sorted(file.name for file in (tmp_path / "whole").glob("*.nii.gz"))
    assert len(masks) == 8
    assert sorted(file.name for file in output.glob("*.nii.gz")) == masks
    assert (output / "run.json").is_file()
