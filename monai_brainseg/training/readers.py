"""Reading of volumes by several threads at once."""

from __future__ import annotations

import threading
from typing import Any

from monai.data import NibabelReader
from monai.transforms import LoadImaged


class ThreadedNibabelReader(NibabelReader, threading.local):
    """MONAI's NIfTI reader with a state for each thread, for caches that several threads fill.

    MONAI 1.6.1's keeps the names of the files that it reads in itself, and so mixes them up where threads share it.
    """


class ThreadedLoadImaged(LoadImaged):
    """MONAI's ``LoadImaged`` that threads may share.

    The reader is registered, not given as ``reader``: then MONAI would try every other one where ours fails, and ITK
    reads a NIfTI that is cut off as zeros.

        ThreadedLoadImaged(keys=["image", "label"])
    """

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        """Take what ``LoadImaged`` takes."""
        super().__init__(*args, **kwargs)
        self.register(ThreadedNibabelReader())
