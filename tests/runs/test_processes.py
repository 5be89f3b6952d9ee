"""Processes end in order and have a GPU each, in turn."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch

from monai_brainseg.errors import InputError
from monai_brainseg.runs.processes import Processes, hold_folder, make_environments


def test_program_over_its_time_gets_sigterm_and_its_end_is_waited_for(tmp_path: Path) -> None:
    code = "import signal, sys, time\nsignal.signal(15, lambda *_: (print('in order'), sys.exit(7)))\ntime.sleep(60)"
    with hold_folder(tmp_path) as lock:
        seen: list[float] = []
        ended = Processes(lock).run(
            [sys.executable, "-c", code], tmp_path / "log", dict(os.environ), seconds=3, follow=seen.append
        )
    assert ended == 7
    assert (tmp_path / "log").read_text() == "in order\n"
    assert 3 <= seen[-1] < 30


def test_a_folder_is_held_until_the_last_program_that_was_started_in_it_ends(tmp_path: Path) -> None:
    with hold_folder(tmp_path) as lock:
        with pytest.raises(InputError, match="is in use by another command"), hold_folder(tmp_path):
            pass
        left = subprocess.Popen([sys.executable, "-c", "input()"], stdin=subprocess.PIPE, pass_fds=(lock,))
    with pytest.raises(InputError, match="is in use by another command"), hold_folder(tmp_path):
        pass
    left.communicate(b"\n")
    with hold_folder(tmp_path):
        pass


def test_each_run_at_a_time_has_a_gpu_of_its_own_in_turn(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: True)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: 2)
    monkeypatch.delenv("CUDA_VISIBLE_DEVICES", raising=False)
    assert [each["CUDA_VISIBLE_DEVICES"] for each in make_environments(None)] == ["0", "1"]
    assert [each["CUDA_VISIBLE_DEVICES"] for each in make_environments(3)] == ["0", "1", "0"]
    monkeypatch.setenv("CUDA_VISIBLE_DEVICES", "5,7")
    assert [each["CUDA_VISIBLE_DEVICES"] for each in make_environments(None)] == ["5", "7"]
    monkeypatch.setattr(torch.cuda, "is_available", lambda: False)
    assert len(make_environments(None)) == 1
