"""Several processes of one training, as ``torchrun`` starts them: a share for each rank, and one final message."""

from __future__ import annotations

import atexit
import json
import os
import sys
import time
from datetime import timedelta
from pathlib import Path

import torch
from torch.distributed import TCPStore

from monai_brainseg.errors import InputError


def check_shares(training: int, validation: int, batch_size: int) -> None:
    """Refuse a number of processes that leaves one of them without patients, a part of each batch or a GPU.

    Args:
        training: number of patients to train on.
        validation: number of patients to validate on.
        batch_size: slices in a step, of all processes together.

    Raises:
        InputError: names the numbers and how many processes to start.
    """
    if "WORLD_SIZE" not in os.environ:
        raise InputError(
            "multi_gpu_train.yaml",
            "needs processes that torchrun has started",
            "run `torchrun --standalone --nproc_per_node=2 -m monai.bundle run ...`, or leave it out for one process",
        )
    processes, here = int(os.environ["WORLD_SIZE"]), int(os.environ.get("LOCAL_WORLD_SIZE", "1"))
    most = min(training, validation)
    if processes > most:
        raise InputError(
            f"{processes} processes",
            f"each needs patients of its own, and there are {training} to train on and {validation} to validate on",
            f"start at most {most}",
        )
    if batch_size % processes:
        more = processes * (batch_size // processes + 1)
        raise InputError(f"--batch_size {batch_size}", f"{processes} processes cannot share it evenly", f"give {more}")
    if torch.cuda.is_available() and here > torch.cuda.device_count():
        raise InputError(
            f"{here} processes",
            f"each needs a GPU, and there are {torch.cuda.device_count()}",
            "start no more than that",
        )


def read_share() -> tuple[int, int]:
    """Return which process this is, from 0, and of how many, as the launcher's variables say; 0 of 1 without them.

    Raises:
        InputError: there is no such process.
    """
    given = {name: os.environ.get(name, default) for name, default in (("RANK", "0"), ("WORLD_SIZE", "1"))}
    said = " ".join(f"{name}={value}" for name, value in given.items())
    try:
        rank, processes = map(int, given.values())
    except ValueError as error:
        raise InputError(said, "must be whole numbers", "unset both, or number RANK from 0") from error
    if not 0 <= rank < processes:
        raise InputError(said, "RANK must be from 0 to WORLD_SIZE - 1", "correct them, or studies would be left out")
    return rank, processes


def claim_final_message() -> bool:
    """Return True to the first process that asks; it alone says why the run ends.

    They ask the store through which they found each other. It is torchrun's own and outlives every rank.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ:  # a cluster may set MASTER_ADDR for everything that it runs
        return True
    attempt = os.environ.get("TORCHELASTIC_RESTART_COUNT", "0")
    try:
        address, port = os.environ["MASTER_ADDR"], int(os.environ["MASTER_PORT"])
        store = TCPStore(address, port, is_master=False, timeout=timedelta(seconds=5))
        return bool(store.add(f"monai_brainseg/last_word/{attempt}", 1) == 1)
    except RuntimeError:  # a store that rank 0 held has ended with it
        return True


def write_final_message(line: str) -> None:
    """Print why a run ends, and leave it for the summary that torchrun prints after it."""
    # torch holds back sys.stderr while it reports an exception, and a signal may come in the middle of a write to it.
    os.write(2, f"{line}\n".encode())
    if "TORCHELASTIC_ERROR_FILE" in os.environ:
        message = {"message": line, "extraInfo": {"timestamp": str(int(time.time()))}}
        Path(os.environ["TORCHELASTIC_ERROR_FILE"]).write_text(json.dumps({"message": message}))


def end_process() -> None:
    """End a process that has finished: run Python's exit handlers, but do not shut the interpreter down.

    The network keeps the threads of the process group alive. One that needs Python while the interpreter shuts down is
    ended by force, and C++ then aborts. This happened once in about fifty trainings, after the last epoch.
    Does nothing if torchrun did not start the process.
    """
    if "TORCHELASTIC_RUN_ID" not in os.environ:
        return
    atexit._run_exitfuncs()
    sys.stdout.flush()
    sys.stderr.flush()
    os._exit(0)


def is_not_first() -> bool:
    """Is this another process than the first of those that torchrun started?"""
    return int(os.environ["RANK"]) > 0


def select_own_device() -> torch.device:
    """Return the GPU of this process, which becomes its current one; the CPU if torch has no CUDA device."""
    if not torch.cuda.is_available():
        return torch.device("cpu")
    device = torch.device("cuda", int(os.environ["LOCAL_RANK"]))
    torch.cuda.set_device(device)
    return device


def join_processes(device: torch.device) -> None:
    """Let the processes of a run find each other: by nccl on GPUs, by gloo on CPUs."""
    torch.distributed.init_process_group("nccl" if device.type == "cuda" else "gloo")


def is_lost_peer(error: BaseException) -> bool:
    """Is this what torch raises in a process whose connection to another one broke?"""
    return isinstance(error, torch.distributed.DistError) or "gloo/transport" in str(error)
