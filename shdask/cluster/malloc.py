"""Whether the C library keeps memory that is freed, on a worker while a build runs.

Refuses to know what memory is used for; does nothing but on glibc.
"""

from __future__ import annotations

import ctypes
import os

ASKED = "MALLOC_TRIM_THRESHOLD_"
"""glibc's own variable. Where it is not set, glibc learns by itself to keep what is used again."""
M_TRIM_THRESHOLD = -1
M_MMAP_THRESHOLD = -3
M_ARENA_MAX = -8
"""malloc.h"""
ARENAS = 2
"""What is kept is kept in each arena, and glibc makes one for each of many threads."""
MMAP_NBYTES = 32 << 20
"""The most that glibc takes: larger blocks are mapped anew each time."""
TRIM_NBYTES = 64 << 20
DEFAULT_NBYTES = 128 << 10
"""glibc's own threshold for both."""


def keep_freed_memory() -> None:
    """Let memory of the size of pictures be used again, rather than given back to the kernel each time.

    Dask's nanny sets MALLOC_TRIM_THRESHOLD_=65536 for its workers. By that every picture, buffer and shard is new
    memory, which the kernel zeroes page by page; see docs/decisions/2026-11-23-what-a-tile-costs-a-worker.md.
    """
    if ASKED in os.environ:
        _set_thresholds(mmap_nbytes=MMAP_NBYTES, trim_nbytes=TRIM_NBYTES)
        libc = ctypes.CDLL(None)
        if hasattr(libc, "mallopt"):
            libc.mallopt(M_ARENA_MAX, ARENAS)


def give_back_memory() -> None:
    """The thresholds as the process was started; what is kept goes to the kernel, but for the ends of arenas."""
    if ASKED in os.environ:
        _set_thresholds(mmap_nbytes=DEFAULT_NBYTES, trim_nbytes=int(os.environ[ASKED]))
        libc = ctypes.CDLL(None)
        if hasattr(libc, "malloc_trim"):
            libc.malloc_trim(0)


def _set_thresholds(*, mmap_nbytes: int, trim_nbytes: int) -> None:
    libc = ctypes.CDLL(None)
    if hasattr(libc, "mallopt"):
        libc.mallopt(M_MMAP_THRESHOLD, mmap_nbytes)
        libc.mallopt(M_TRIM_THRESHOLD, trim_nbytes)
