"""Exclusive ownership of a place: a kernel lock on a disk, a conditional write on S3.

Refuses to know who owns what, and why; `lease` does.
"""

from __future__ import annotations

import contextlib
import errno
import fcntl
import os
from collections.abc import Callable
from pathlib import Path
from typing import Protocol

from shdask.errors import StoreError

_NO_FLOCK = frozenset({errno.ENOTSUP, errno.ENOSYS, errno.ENOLCK, errno.EINVAL})
"""What file systems say that have no flock."""


class LockHeld(Exception):  # says what is the case
    """Another holder lives: its ``text``, and the seconds since it was last heard of."""

    def __init__(self, text: bytes, age_s: float) -> None:
        super().__init__(text, age_s)
        self.text = text
        self.age_s = age_s


class LockLost(StoreError):
    """Somebody else has taken the lock over; ``text`` says who."""

    def __init__(self, text: bytes) -> None:
        super().__init__(text)
        self.text = text


class Lock(Protocol):
    """Ownership, from the call that gave it until `release`."""

    def renew(self, text: bytes) -> None:
        """Let others see that the holder lives. Raises LockLost, and StoreError where the place does not answer."""

    def release(self) -> None:
        """Let others own the place. Again: does nothing."""


class FileLock:
    """flock on ``owner.lock``, which dies with its holder however that dies; ``owner.json`` beside it is for people.

    Where the file system has no flock, the age of ``owner.json`` decides, by the file system's own clock.
    """

    def __init__(self, fd: int, file: Path, write: Callable[[bytes], None], text: bytes) -> None:
        self._fd: int | None = fd
        self._file = file
        self._write = write
        self._text = text

    @classmethod
    def acquire(
        cls, file: Path, text: bytes, *, write: Callable[[bytes], None], is_dead: Callable[[bytes, float], bool]
    ) -> FileLock:
        """Lock the folder of ``file`` and say so in ``file`` by ``write``. Raises LockHeld, OSError."""
        fd = os.open(file.with_suffix(".lock"), os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o644)
        try:
            try:
                fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
            except BlockingIOError:
                raise LockHeld(_read(file), _age_s(file, fd)) from None
            except OSError as error:
                if error.errno not in _NO_FLOCK:
                    raise
                if file.exists() and not is_dead(_read(file), _age_s(file, fd)):
                    raise LockHeld(_read(file), _age_s(file, fd)) from None
            write(text)
        except BaseException:
            os.close(fd)
            raise
        return cls(fd, file, write, text)

    def renew(self, text: bytes) -> None:
        """Rewrite ``owner.json``. Raises LockLost where another process has written its own."""
        found = _read(self._file)
        if found not in {self._text, b""}:
            raise LockLost(found)
        self._write(text)
        self._text = text

    def release(self) -> None:
        """Take ``owner.json`` away if it is ours, and unlock."""
        if self._fd is not None:
            if _read(self._file) == self._text:
                self._file.unlink(missing_ok=True)
            os.close(self._fd)
            self._fd = None


def _read(file: Path) -> bytes:
    try:
        return file.read_bytes()
    except OSError:
        return b""


def _age_s(file: Path, fd: int) -> float:
    os.utime(fd)  # the file system's clock, which need not be ours
    with contextlib.suppress(FileNotFoundError):
        return max(0.0, os.fstat(fd).st_mtime - file.stat().st_mtime)
    return 0.0


class ConditionalObjects(Protocol):
    """The writes of an object store that fail where another process was faster."""

    def create(self, key: str, data: bytes) -> str | None:
        """Put an object where none is; its tag, or None where one is."""

    def replace(self, key: str, data: bytes, tag: str) -> str | None:
        """Put an object in place of the one with ``tag``; its tag, or None where that is no longer there."""

    def read_tagged(self, key: str) -> tuple[bytes, str] | None:
        """An object and its tag; None where there is none."""

    def age_s(self, key: str) -> float:
        """Seconds since an object was put, by the store's own clock; 0 where there is none."""


class ObjectLock:
    """An object that only its holder can replace, since only the holder knows its tag."""

    def __init__(self, place: ConditionalObjects, key: str, tag: str, text: bytes) -> None:
        self._place = place
        self._key = key
        self._tag: str | None = tag
        self._text = text

    @classmethod
    def acquire(
        cls, place: ConditionalObjects, key: str, text: bytes, *, is_dead: Callable[[bytes, float], bool]
    ) -> ObjectLock:
        """Write ``text`` under ``key`` where nobody live has written. Raises LockHeld, StoreError."""
        tag = place.create(key, text)
        if tag is None:
            found = place.read_tagged(key)
            if found is None:
                raise LockHeld(b"", 0.0)
            held, held_tag = found
            if held == text:  # our own: the answer to the first try was lost
                return cls(place, key, held_tag, text)
            if held:  # an empty one was given back
                silent_s = place.age_s(key)
                if not is_dead(held, silent_s):
                    raise LockHeld(held, silent_s)
            tag = place.replace(key, text, held_tag)
            if tag is None:
                raise LockHeld(held, 0.0)
        return cls(place, key, tag, text)

    def renew(self, text: bytes) -> None:
        """Replace the object. Raises LockLost where it is no longer ours."""
        if self._tag is None:
            return
        tag = self._place.replace(self._key, text, self._tag)
        if tag is None:
            found = self._place.read_tagged(self._key)
            held = b"" if found is None else found[0]
            if found is None or held not in {self._text, text}:
                self._tag = None
                raise LockLost(held)
            tag = found[1]  # written by our own try whose answer was lost
            if held != text:
                tag = self._place.replace(self._key, text, tag) or tag
        self._tag, self._text = tag, text

    def release(self) -> None:
        """Leave an empty object, if it is still ours: a removal could not be made conditional."""
        if self._tag is not None:
            self._place.replace(self._key, b"", self._tag)
            self._tag = None
