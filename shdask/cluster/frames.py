"""A way round a fault of CPython before 3.11.9, by which a process that Dask profiles hangs once in a while.

Refuses to know why frames are asked for.
"""

from __future__ import annotations

import gc
import sys
import threading
from functools import wraps
from types import FrameType

MENDED = (3, 11, 9)
"""From here on CPython does it itself: https://github.com/python/cpython/issues/106883."""


def mend_current_frames() -> None:
    """Let no garbage be collected while ``sys._current_frames`` holds the lock that a thread which ends waits for.

    Dask asks for all frames a hundred times a second, on workers, schedulers and clients, to tell where their time
    goes. A collection meanwhile that hands the interpreter to such a thread hangs the process for good. Again: does
    nothing.
    """
    listed = sys._current_frames  # noqa: SLF001  # it is public in all but its name
    if sys.version_info >= MENDED or hasattr(listed, "__wrapped__"):
        return
    one_at_a_time = threading.Lock()

    @wraps(listed)
    def list_frames() -> dict[int, FrameType]:
        with one_at_a_time:
            collects = gc.isenabled()
            gc.disable()
            try:
                return listed()
            finally:
                if collects:
                    gc.enable()

    sys._current_frames = list_frames  # noqa: SLF001  # see above
