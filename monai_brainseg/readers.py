"""Reading of volumes by several threads at once."""

from __future__ import annotations

import threading

from monai.data import NibabelReader


class ThreadedNibabelReader(NibabelReader, threading.local):
    """MONAI's NIfTI reader with a state for each thread, for caches that several threads fill.

    MONAI 1.6.1's keeps the names of the files that it reads in itself, and so mixes them up where threads share it.

        LoadImaged(keys="image", reader=ThreadedNibabelReader())
    """
