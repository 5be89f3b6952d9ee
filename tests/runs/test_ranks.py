"""Shares of several processes, and the one that says why a run ends."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
from torch.distributed import TCPStore

from monai_brainseg.errors import InputError
from monai_brainseg.runs.ranks import check_shares, claim_final_message, read_share, write_final_message


@pytest.mark.parametrize(
    ("processes", "training", "validation", "batch_size", "said"),
    [
        (5, 4, 9, 5, "5 processes: .* 4 to train on and 9 to validate on; start at most 4"),
        (3, 9, 2, 3, "start at most 2"),
        (2, 4, 4, 3, "--batch_size 3: 2 processes cannot share it evenly; give 4"),
        (4, 4, 4, 2, "--batch_size 2: 4 processes .* give 4"),
    ],
)
def test_processes_without_a_share_are_refused_with_the_numbers(
    monkeypatch: pytest.MonkeyPatch, processes: int, training: int, validation: int, batch_size: int, said: str
) -> None:
    monkeypatch.setenv("WORLD_SIZE", str(processes))
    with pytest.raises(InputError, match=said):
        check_shares(training, validation, batch_size)


def test_processes_with_a_share_each_pass(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("WORLD_SIZE", "3")
    check_shares(3, 4, 6)


def test_share_is_that_of_the_environment_or_everything(monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("RANK", "WORLD_SIZE"):
        monkeypatch.delenv(name, raising=False)
    assert read_share() == (0, 1)
    monkeypatch.setenv("RANK", "2")
    with pytest.raises(InputError, match="^RANK=2 WORLD_SIZE=1: "):
        read_share()
    monkeypatch.setenv("WORLD_SIZE", "3")
    assert read_share() == (2, 3)
    for rank in ("3", "-1", "one"):
        monkeypatch.setenv("RANK", rank)
        with pytest.raises(InputError, match=f"^RANK={rank} WORLD_SIZE=3: "):
            read_share()


def test_overlay_without_torchrun_is_refused(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("WORLD_SIZE", raising=False)
    with pytest.raises(InputError, match="torchrun"):
        check_shares(4, 4, 4)


def test_first_process_that_asks_has_the_last_word_once_in_each_attempt(monkeypatch: pytest.MonkeyPatch) -> None:
    assert claim_final_message()
    assert claim_final_message(), "a process alone always has it"
    store = TCPStore("localhost", 0, is_master=True)
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "here")
    monkeypatch.setenv("MASTER_ADDR", "localhost")
    monkeypatch.setenv("MASTER_PORT", str(store.port))
    assert [claim_final_message() for _ in range(3)] == [True, False, False]
    monkeypatch.setenv("TORCHELASTIC_RESTART_COUNT", "1")
    assert [claim_final_message() for _ in range(2)] == [True, False]


def test_last_word_is_a_line_and_in_the_file_that_torchrun_reads(
    monkeypatch: pytest.MonkeyPatch, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setenv("TORCHELASTIC_ERROR_FILE", str(tmp_path / "error.json"))
    write_final_message("training: too few patients")
    assert capfd.readouterr().err == "training: too few patients\n"
    assert json.loads((tmp_path / "error.json").read_text())["message"]["message"] == "training: too few patients"
