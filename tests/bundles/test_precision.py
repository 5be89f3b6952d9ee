"""Which device and which precision: by what the processor can do, as a table; and a real training on a lesser one."""

from __future__ import annotations

import json
import logging
import os
import subprocess
from pathlib import Path
from typing import Any

import pytest
import torch
from brainseg_unet_scripts.errors import BundleError
from brainseg_unet_scripts.precision import (
    choose_precision,
    describe_precision,
    is_native,
    select_device,
    select_precision,
)
from support.bundle_runs import QUICK, command
from support.machines import BF16, FP32, MACHINES, imitate


@pytest.mark.parametrize("name", MACHINES)
def test_precision_is_by_what_the_device_computes_by_itself(name: str, monkeypatch: pytest.MonkeyPatch) -> None:
    machine, device, auto, forced = MACHINES[name]
    imitate(monkeypatch, **machine)
    assert select_precision("auto", device) == auto
    assert select_precision(True, torch.device(device)) == forced
    assert select_precision(False, device) == FP32
    assert select_precision(BF16, device) == BF16
    assert is_native(auto, device)
    assert is_native(forced, device) == (auto == forced or device == "mps")


@pytest.mark.parametrize(
    ("name", "amp", "said"),
    [
        ("GPU with bfloat16", "auto", "bfloat16 (this GPU has bfloat16)"),
        ("older GPU", "auto", "float16 (this GPU has no bfloat16)"),
        ("AMX", "auto", "bfloat16 (this CPU has bfloat16)"),
        ("AVX-512 alone", "auto", "float32 (this CPU has no bfloat16)"),
        (
            "AVX-512 alone",
            True,
            "bfloat16 (amp is True; this CPU emulates it, which is many times slower than float32)",
        ),
        ("AMX", False, "float32 (amp is False)"),
        ("Apple's GPU", "auto", "float32 (16 bit is untested on mps)"),
        ("Apple's GPU", True, "float16 (amp is True)"),
    ],
)
def test_a_line_says_the_precision_and_why(
    name: str, amp: Any, said: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    machine, device, *_ = MACHINES[name]
    imitate(monkeypatch, **machine)
    assert describe_precision(select_precision(amp, device), device, amp) == said
    with caplog.at_level(logging.INFO):
        choose_precision(amp, device)
    assert caplog.messages == [f"precision: {said}"]


@pytest.mark.parametrize("amp", ["true", "yes", 1, 0, None, 1.0])
def test_anything_but_auto_true_and_false_is_refused(amp: Any) -> None:
    with pytest.raises(BundleError, match="must be auto, True or False"):
        select_precision(amp, "cpu")


@pytest.mark.parametrize(("cuda", "mps", "chosen"), [(1, 1, "cuda"), (0, 1, "mps"), (1, 0, "cuda"), (0, 0, "cpu")])
def test_device_is_cuda_else_mps_with_a_warning_else_the_cpu(
    cuda: int, mps: int, chosen: str, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    monkeypatch.setattr(torch.cuda, "is_available", lambda: bool(cuda))
    monkeypatch.setattr(torch.backends.mps, "is_available", lambda: bool(mps))
    assert select_device() == torch.device(chosen)
    assert ["untested" in message for message in caplog.messages] == [True] * (chosen == "mps")


@pytest.mark.slow
def test_a_laptop_without_bfloat16_trains_in_float32_and_says_so(prepared_phantoms: Path, tmp_path: Path) -> None:
    """A processor without AVX-512, imitated to torch and the libraries beneath it."""
    laptop = {"ATEN_CPU_CAPABILITY": "avx2", "ONEDNN_MAX_CPU_ISA": "AVX2", "MKL_ENABLE_INSTRUCTIONS": "AVX2"}
    words = command("training", "train.yaml", prepared_phantoms, tmp_path, **QUICK)
    done = subprocess.run(words, capture_output=True, text=True, check=False, env={**os.environ, **laptop})
    assert done.returncode == 0, done.stderr
    said = [line for line in done.stdout.splitlines() if "precision: " in line]
    assert [line.partition("precision: ")[2] for line in said] == ["float32 (this CPU has no bfloat16)"]
    assert json.loads((tmp_path / "run.json").read_text())["precision"] == "float32"
    assert torch.load(tmp_path / "last.pt", weights_only=True)["identity"]["precision"] == "torch.float32"
