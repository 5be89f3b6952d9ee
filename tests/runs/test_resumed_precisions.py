"""A training goes on in the precision that it began in, whatever the machine, or says in one line why it cannot."""

from __future__ import annotations

import json
import logging
from pathlib import Path
from typing import Any

import pytest
import torch
from support.bundle_runs import QUICK, assert_equal, run
from support.machines import MACHINES, imitate
from support.trainings import train

from monai_brainseg.errors import InputError
from monai_brainseg.runs.resumed_precisions import resume_precision


def write_last(folder: Path, precision: torch.dtype) -> None:
    torch.save({"network": {}, "identity": {"fold": "0", "precision": str(precision)}}, folder / "last.pt")


@pytest.mark.parametrize(
    ("recorded", "name", "warned"),
    [
        (torch.float32, "AVX-512 BF16", False),
        (torch.float32, "GPU with bfloat16", False),
        (torch.float16, "GPU with bfloat16", False),
        (torch.float16, "older GPU", False),
        (torch.bfloat16, "AVX-512 BF16", False),
        (torch.bfloat16, "AVX-512 alone", True),
        (torch.bfloat16, "older GPU", True),
    ],
)
def test_recorded_precision_wins_with_a_warning_where_it_is_emulated(
    recorded: torch.dtype,
    name: str,
    warned: bool,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    caplog: pytest.LogCaptureFixture,
) -> None:
    machine, device, *_ = MACHINES[name]
    write_last(tmp_path, recorded)
    imitate(monkeypatch, **machine)
    with caplog.at_level(logging.INFO):
        assert resume_precision("auto", device, str(tmp_path), True) == recorded
    (message,) = caplog.messages
    assert message.startswith(f"precision: {str(recorded)[6:]} (as {tmp_path / 'last.pt'} was trained)")
    assert ("emulates it, which is many times slower" in message) == warned


@pytest.mark.parametrize(
    ("recorded", "amp", "said"),
    [
        (torch.float32, True, "--amp True: .*last.pt was trained in float32; leave --amp out"),
        (torch.bfloat16, False, "--amp False: .*last.pt was trained in bfloat16; leave --amp out"),
        (torch.float16, "auto", "last.pt: was trained in float16, .* continue on a GPU"),
        (torch.float16, True, "last.pt: was trained in float16"),
    ],
)
def test_what_contradicts_the_record_or_cannot_be_computed_is_refused(
    recorded: torch.dtype, amp: Any, said: str, tmp_path: Path
) -> None:
    write_last(tmp_path, recorded)
    with pytest.raises(InputError, match=said) as refused:
        resume_precision(amp, "cpu", str(tmp_path), True)
    assert "\n" not in str(refused.value)


@pytest.mark.parametrize("content", [None, b"", b"PK\x03\x04 cut off"])
def test_without_a_record_it_is_as_for_a_new_training(content: bytes | None, tmp_path: Path) -> None:
    if content is not None:
        (tmp_path / "last.pt").write_bytes(content)
    assert resume_precision(False, "cpu", str(tmp_path), True) == torch.float32
    write_last(tmp_path, torch.float32)
    assert resume_precision(True, "cpu", str(tmp_path), False) == torch.bfloat16


@pytest.mark.slow
@pytest.mark.parametrize("amp", [True, False])
def test_training_resumed_by_auto_equals_the_uninterrupted_one_of_its_precision_to_the_bit(
    amp: bool, prepared_phantoms: Path, tmp_path: Path
) -> None:
    whole = train(prepared_phantoms, tmp_path / "whole", amp=amp)
    train(prepared_phantoms, tmp_path / "parts", stop_in=3, amp=amp)
    resumed = train(prepared_phantoms, tmp_path / "parts", resume=True)
    identity: Any = resumed["identity"]
    assert identity["precision"] == ("torch.bfloat16" if amp else "torch.float32")
    assert_equal(resumed, whole)


@pytest.mark.slow
def test_resuming_against_the_record_ends_in_one_line_and_leaves_run_and_record_as_they_were(
    prepared_phantoms: Path, tmp_path: Path
) -> None:
    begun = run("training", "train.yaml", prepared_phantoms, tmp_path, amp=False, **QUICK)
    assert begun.returncode == 0, begun.stderr
    assert "precision: float32 (amp is False)" in begun.stdout
    record = (tmp_path / "run.json").read_text()
    assert json.loads(record)["precision"] == "float32"
    refused = run("training", "train.yaml", prepared_phantoms, tmp_path, resume=True, amp=True, **QUICK)
    assert refused.returncode == 1
    assert refused.stderr.splitlines()[-1].startswith(f"training: --amp True: {tmp_path / 'last.pt'} was trained in")
    assert "Traceback" not in refused.stderr
    resumed = run("training", "train.yaml", prepared_phantoms, tmp_path, resume=True, **QUICK)
    assert resumed.returncode == 0, resumed.stderr
    assert f"precision: float32 (as {tmp_path / 'last.pt'} was trained)" in resumed.stdout
    assert (tmp_path / "run.json").read_text() == record
