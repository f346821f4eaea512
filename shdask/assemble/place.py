"""Where a cube lives: the few things that its rooms ask of a disk or a bucket, and which of the two a name means.

Refuses to know what the objects hold.
"""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator, Sequence
from contextlib import AbstractContextManager
from typing import Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from zarr.abc.store import Store

from shdask.assemble.disk import DiskPlace, cube_path
from shdask.assemble.journal import Journal
from shdask.assemble.lock import Lock

S3_SCHEME = "s3:/"
"""Of ``s3://bucket`` a Path leaves ``s3:/bucket``."""


@runtime_checkable
class Place(Protocol):
    """A folder of objects named by keys such as ``B04/c/0/1``. Picklable, and holds no secret.

    Every method raises StoreError with the cure, a StoreUnavailable where the same call may succeed later.
    """

    @property
    def name(self) -> str:
        """As people write it: an absolute path, or ``s3://bucket/prefix``."""

    def zarr_store(self, *, read_only: bool = False) -> Store:
        """The Zarr store here; use it inside ``errors``."""

    def errors(self, *, opening: bool = False) -> AbstractContextManager[None]:
        """Turn what the place raises in the block into StoreErrors; while ``opening``, a wrong place is WrongStore."""

    def exists(self, key: str) -> bool:
        """Whether an object stands under ``key``."""

    def read(self, key: str) -> bytes | None:
        """The object under ``key``, None where there is none."""

    def write(self, key: str, data: bytes) -> None:
        """Put an object under ``key``: whole or not at all, and durable when this returns."""

    def put(self, key: str, data: bytes) -> None:
        """Put an object under ``key``, whole or not at all; durable once it is settled."""

    def remove(self, key: str) -> None:
        """Take away the object under ``key``; an absent one is fine."""

    def names(self, folder: str = "") -> list[str]:
        """What stands directly in ``folder``, objects and folders, in no order; nothing where it is absent."""

    def list_objects(self, array: str, dimensions: int = 2) -> NDArray[np.int64]:
        """(object, dimension): the positions of the objects that an array has here, in no order."""

    def settle(self, keys: Sequence[str] | None = None) -> None:
        """Make durable what `put` and Zarr have put under ``keys``, or everything."""

    def sweep(self, *, older_than: float) -> int:
        """Remove what killed writers left half-written before ``older_than`` (POSIX time); returns how much."""

    def lock(self, key: str, text: bytes, *, is_dead: Callable[[bytes, float], bool]) -> Lock:
        """Own the place, ``text`` under ``key`` saying who does. Raises LockHeld while a live owner does."""

    def open_journal(self, run: str) -> Journal:
        """Lines to append to; ``run`` names who appends."""

    def read_journal(self) -> Iterator[bytes]:
        """The journal's bytes, oldest first, cut anywhere; what is being appended may be torn."""


def open_place(store: str | os.PathLike[str] | Place) -> Place:
    """The place that ``store`` names: a folder on disk, or ``s3://bucket/prefix``. Nothing is read or written yet.

    Keys and endpoint of S3 come from the environment, in each process anew. Raises WrongStore for another URL, and
    where the package that speaks S3 is missing.
    """
    if isinstance(store, Place):
        return store
    text = os.fspath(store)
    if text.startswith(S3_SCHEME):
        from shdask.assemble.s3 import S3Place

        return S3Place.from_url("s3://" + text.removeprefix(S3_SCHEME).lstrip("/"))
    return DiskPlace(path=cube_path(text))
