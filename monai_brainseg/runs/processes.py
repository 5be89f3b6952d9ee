"""Programs that run for hours beside each other, write to logs, and end when this one does."""

from __future__ import annotations

import os
import subprocess
import threading
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path

import torch
from filelock import lock_descriptor

from monai_brainseg.errors import InputError

_POLL_SECONDS = 1.0
_PATIENCE_SECONDS = 60


class StoppedError(Exception):
    """The programs were told to stop."""


class Processes:
    """Programs that were started here and have not ended.

    Args:
        held: file descriptor that they inherit, so that a lock on it lasts as long as the last of them; not on
            Windows, where none can be passed on.
    """

    def __init__(self, held: int) -> None:
        self._held = held
        self._running: set[subprocess.Popen[bytes]] = set()
        self._guard = threading.Lock()
        self._stopped = False

    def run(
        self,
        words: Sequence[str],
        log: Path,
        environment: Mapping[str, str],
        seconds: float | None = None,
        follow: Callable[[float], None] = lambda seconds: None,
    ) -> int:
        """Run a program to its end, or to its time limit, when it gets SIGTERM, and return its exit code.

        Args:
            words: the program and its arguments.
            log: where both its outputs are added.
            environment: its variables.
            seconds: time limit.
            follow: called with the seconds since the start, once a second and at the end.

        Raises:
            StoppedError: ``stop`` was called before or while it ran.
        """
        log.parent.mkdir(parents=True, exist_ok=True)
        with log.open("ab") as stream:
            with self._guard:
                if self._stopped:
                    raise StoppedError
                started = time.monotonic()
                process = subprocess.Popen(
                    words, stdin=subprocess.DEVNULL, stdout=stream, stderr=stream, env=environment,
                    pass_fds=() if os.name == "nt" else (self._held,),
                )  # fmt: skip
                self._running.add(process)
            try:
                while True:
                    try:
                        code = process.wait(_POLL_SECONDS)
                        break
                    except subprocess.TimeoutExpired:
                        follow(time.monotonic() - started)
                    if seconds is not None and time.monotonic() - started >= seconds:
                        code = _end(process)
                        break
            finally:
                follow(time.monotonic() - started)
                self._running.discard(process)
        if self._stopped:
            raise StoppedError
        return code

    def stop(self) -> None:
        """End all of them in order, and start no more."""
        with self._guard:
            self._stopped = True
            running = list(self._running)
        for process in running:
            process.terminate()
        for process in running:
            _end(process)


def _end(process: subprocess.Popen[bytes]) -> int:
    process.terminate()
    try:
        return process.wait(_PATIENCE_SECONDS)
    except subprocess.TimeoutExpired:
        process.kill()
        return process.wait()


def make_environments(count: int | None) -> list[dict[str, str]]:
    """Return the variables of each of several runs at the same time: a GPU each, in turn, or its share of the cores.

    Args:
        count: how many; None means one for each GPU, or one without a GPU.
    """
    chosen = os.environ.get("CUDA_VISIBLE_DEVICES")
    devices = chosen.split(",") if chosen else [str(number) for number in range(torch.cuda.device_count())]
    if not torch.cuda.is_available():
        share = {} if count is None or count < 2 else {"OMP_NUM_THREADS": str(max(1, torch.get_num_threads() // count))}
        return [{**share, **os.environ}] * (count or 1)
    turns = [devices[number % len(devices)] for number in range(count or len(devices))]
    return [{**os.environ, "CUDA_VISIBLE_DEVICES": device} for device in turns]


@contextmanager
def hold_folder(folder: Path) -> Iterator[int]:
    """Lock a folder against other programs that do the same, and give the descriptor that holds the lock.

    Raises:
        InputError: another one holds the lock, or programs that it started and that still run.
    """
    folder.mkdir(parents=True, exist_ok=True)
    descriptor = os.open(folder / ".lock", os.O_CREAT | os.O_RDWR)
    try:
        if not lock_descriptor(descriptor, blocking=False):
            raise InputError(folder, "is in use by another command", "wait until it ends, or end it")
        yield descriptor
    finally:
        os.close(descriptor)
