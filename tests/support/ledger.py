"""A ledger of damaged cases: what became of each, in how much time and memory."""

from __future__ import annotations

import resource
import signal
import traceback
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import FrameType
from typing import Any

from monai_brainseg.errors import InputError

SECONDS = 20
GIB = 2**30


class Ledger:
    """What became of each case: how many were handled, how many refused in one line, and which went wrong."""

    def __init__(self) -> None:
        self.handled: list[str] = []
        self.refused: dict[str, str] = {}
        self.wrong: list[str] = []
        self.before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss

    def attempt(self, name: str, call: Callable[[], Any]) -> Any:
        """Return what a call returns; None where it refused."""
        try:
            with limit_time():
                result = call()
        except InputError as error:
            self.refused[name] = str(error)
            if "\n" in str(error) or "Traceback" in str(error) or len(str(error)) > 1500:
                self.wrong.append(f"{name}: not one line: {error!r:.300}")
            return None
        except BaseException:
            self.wrong.append(f"{name}: {traceback.format_exc(limit=-4)}")
            return None
        self.handled.append(name)
        return result

    def expect(self, right: bool, name: str, problem: str) -> None:
        if not right:
            self.wrong.append(f"{name}: {problem}")

    def close(self, least: int) -> None:
        count = len(self.handled) + len(self.refused)
        print(f"{count} cases: {len(self.handled)} handled, {len(self.refused)} refused, {len(self.wrong)} wrong")
        grown = (resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - self.before) * 1024 / GIB
        assert not self.wrong, f"{len(self.wrong)} wrong\n" + "\n".join(self.wrong[:8])
        assert count >= least
        assert grown < 1, f"{grown:.1f} GiB more memory"


@contextmanager
def limit_time() -> Iterator[None]:
    def stop(number: int, frame: FrameType | None) -> None:
        raise TimeoutError(f"more than {SECONDS} s")

    before = signal.signal(signal.SIGALRM, stop)
    signal.alarm(SECONDS)
    try:
        yield
    finally:
        signal.alarm(0)
        signal.signal(signal.SIGALRM, before)
