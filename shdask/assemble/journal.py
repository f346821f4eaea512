"""Lines that survive: appended to one file on a disk, or to segments of an object store.

Refuses to know what the lines say.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Protocol

FILE = ".shdask/ledger.jsonl"
FOLDER = ".shdask/ledger"
SEGMENT_NBYTES = 1 << 20
FLUSH_S = 1.0
"""A line that may wait is durable by the first append after this."""
_TAIL_NBYTES = 1 << 16
_READ_NBYTES = 1 << 22
_READERS = 16


class Journal(Protocol):
    """Lines in the hands of the one process that appends them."""

    def append(self, lines: bytes, *, may_wait: bool = False) -> None:
        """Make whole lines durable before returning; where they ``may_wait``, within about a second.

        Nothing at all to append is fine: it makes durable what has waited long enough.
        """

    def close(self) -> None:
        """Make durable what waits. Again: does nothing."""


class FileJournal:
    """A file; every append is followed by fsync."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    @classmethod
    def open(cls, file: Path) -> FileJournal:
        """Go on with ``file``, which is made if need be; a last line torn by a kill is cut off. Raises OSError."""
        fd = os.open(file, os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC, 0o644)
        _cut_torn_line(fd)
        return cls(fd)

    def append(self, lines: bytes, *, may_wait: bool = False) -> None:  # noqa: ARG002  # an fsync is too cheap to wait
        """Write and fsync. Raises OSError, and then has taken back what it wrote."""
        if not lines:
            return
        end = os.fstat(self._fd).st_size
        try:
            _write_all(self._fd, lines)
            os.fsync(self._fd)
        except OSError:
            os.ftruncate(self._fd, end)  # so that no later line is glued to half of one
            raise

    def close(self) -> None:
        """Close the file."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def _write_all(fd: int, data: bytes) -> None:
    left = memoryview(data)
    while left:
        left = left[os.write(fd, left) :]


def _cut_torn_line(fd: int) -> None:
    end = os.fstat(fd).st_size
    while end:
        start = max(0, end - _TAIL_NBYTES)
        newline = os.pread(fd, end - start, start).rfind(b"\n")
        if newline >= 0:
            end = start + newline + 1
            break
        end = start
    os.ftruncate(fd, end)


def read_file(file: Path) -> Iterator[bytes]:
    """The bytes of ``file`` in large parts; an absent one has none. Raises OSError."""
    try:
        with file.open("rb") as source:
            while part := source.read(_READ_NBYTES):
                yield part
    except FileNotFoundError:
        return


class Objects(Protocol):
    """What segments are kept in."""

    def read(self, key: str) -> bytes | None: ...  # noqa: D102  # as `Place` has it
    def write(self, key: str, data: bytes) -> None: ...  # noqa: D102
    def names(self, folder: str = "") -> list[str]: ...  # noqa: D102


class SegmentJournal:
    """Objects of up to about a megabyte; the last is written anew with each flush, so that it is never torn.

    A segment's name holds the run that wrote it: a run that has lost its lease without knowing cannot write over
    the rows of the next.
    """

    def __init__(self, place: Objects, run: str, number: int, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._place = place
        self._run = run
        self._number = number
        self._clock = clock
        self._tail = bytearray()
        self._waiting = False
        self._flushed = clock() - FLUSH_S
        self._lock = threading.Lock()

    @classmethod
    def open(cls, place: Objects, run: str) -> SegmentJournal:
        """Begin a segment of its own after those that stand in ``place``."""
        numbers = [_number(name) for name in place.names(FOLDER)]
        return cls(place, run, max(numbers, default=-1) + 1)

    def append(self, lines: bytes, *, may_wait: bool = False) -> None:
        """Add to the last segment and write it, at most about once a second for lines that may wait."""
        with self._lock:
            before = len(self._tail)
            self._tail += lines
            self._waiting = self._waiting or bool(lines)
            due = self._clock() - self._flushed >= FLUSH_S
            if not self._waiting or (may_wait and not due):
                return
            try:
                self._flush()
            except BaseException:
                del self._tail[before:]  # its caller does not count them
                raise

    def _flush(self) -> None:
        self._place.write(f"{FOLDER}/{self._number:08d}-{self._run}.jsonl", bytes(self._tail))
        self._flushed = self._clock()
        self._waiting = False
        if len(self._tail) >= SEGMENT_NBYTES:
            self._number += 1
            self._tail.clear()

    def close(self) -> None:
        """Write what waits."""
        with self._lock:
            if self._waiting:
                self._flush()


def read_segments(place: Objects) -> Iterator[bytes]:
    """The segments in ``place``, oldest first, some of them read ahead."""
    names = sorted(place.names(FOLDER), key=lambda name: (_number(name), name))
    keys = [f"{FOLDER}/{name}" for name in names]
    with ThreadPoolExecutor(_READERS, thread_name_prefix="shdask-ledger") as pool:
        for some in _runs_of(keys, _READERS):
            yield from (part for part in pool.map(place.read, some) if part)


def _runs_of(keys: Sequence[str], length: int) -> Iterator[Sequence[str]]:
    return (keys[start : start + length] for start in range(0, len(keys), length))


def _number(name: str) -> int:
    number = name.partition("-")[0]
    return int(number) if number.isdecimal() else -1
