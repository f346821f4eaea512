"""A cube's place in an S3 bucket: its objects, conditional writes, and what a bucket says in our words.

Refuses to know what the objects hold, and to keep a secret: each process reads keys from its own environment.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from shdask.assemble.journal import SegmentJournal, read_segments
from shdask.assemble.lock import ObjectLock
from shdask.errors import StoreError, WrongStore
from shdask.s3_access import check_obstore, open_s3_store, s3_error

if TYPE_CHECKING:
    from obstore.store import S3Store
    from zarr.abc.store import Store

CLOCK = ".shdask/clock"
"""Written to learn the server's time."""
_LISTERS = 16


class S3Place:
    """Objects under a bucket's prefix; see `Place`. A PUT that is answered is durable.

    Pickles as its URL. Needs a store that honours If-None-Match and If-Match on PUT, as S3 itself does.
    """

    def __init__(self, bucket: str, prefix: str) -> None:
        self.bucket = bucket
        self.prefix = prefix
        self._opened: S3Store | None = None
        self._lock = threading.Lock()

    @classmethod
    def from_url(cls, url: str) -> S3Place:
        """The place at ``s3://bucket/prefix``. Raises WrongStore for a URL without either, or with anything more."""
        bucket, _, prefix = url.removeprefix("s3://").partition("/")
        prefix = prefix.strip("/")
        if not bucket or not prefix or "@" in bucket or "?" in prefix:
            raise WrongStore(f"{url.partition('?')[0]}: a cube in a bucket is given as s3://bucket/prefix, no more")
        check_obstore(url)
        return cls(bucket, prefix)

    @property
    def name(self) -> str:
        """``s3://bucket/prefix``."""
        return f"s3://{self.bucket}/{self.prefix}"

    def __repr__(self) -> str:
        return f"S3Place({self.name!r})"

    def __eq__(self, other: object) -> bool:
        return isinstance(other, S3Place) and self.name == other.name

    def __hash__(self) -> int:
        return hash(self.name)

    def __reduce__(self) -> tuple[Callable[[str], S3Place], tuple[str]]:
        return S3Place.from_url, (self.name,)

    @property
    def _store(self) -> S3Store:
        with self._lock:
            if self._opened is None:
                self._opened = open_s3_store(self.bucket, self.prefix, os.environ)
            return self._opened

    def zarr_store(self, *, read_only: bool = False) -> Store:
        """The Zarr store under the prefix; it pickles without keys."""
        from shdask.assemble.s3_zarr import PlaceStore

        return PlaceStore(self._store, read_only=read_only, url=self.name)

    @contextmanager
    def errors(self, *, opening: bool = False) -> Iterator[None]:
        """Turn what obstore raises in the block into a StoreError."""
        from obstore.exceptions import BaseError

        try:
            yield
        except StoreError as error:  # of a block inside
            if opening and isinstance(error.__cause__, BaseError | OSError):
                raise s3_error(self.name, error.__cause__, opening=True) from error.__cause__
            raise
        except (BaseError, OSError) as error:
            raise s3_error(self.name, error, opening=opening) from error

    def exists(self, key: str) -> bool:
        """Ask for the object's head."""
        import obstore

        with self.errors():
            try:
                obstore.head(self._store, key)
            except FileNotFoundError:
                return False
            return True

    def read(self, key: str) -> bytes | None:
        """Get the object."""
        import obstore

        with self.errors():
            try:
                return bytes(obstore.get(self._store, key).bytes())
            except FileNotFoundError:
                return None

    def write(self, key: str, data: bytes) -> None:
        """Put the object."""
        import obstore

        with self.errors():
            obstore.put(self._store, key, data)

    def put(self, key: str, data: bytes) -> None:
        """As `write`: what is put is durable."""
        self.write(key, data)

    def remove(self, key: str) -> None:
        """Delete the object."""
        import obstore

        with self.errors():
            obstore.delete(self._store, key)

    def names(self, folder: str = "") -> list[str]:
        """One listing with a delimiter."""
        import obstore

        with self.errors():
            found = obstore.list_with_delimiter(self._store, folder or None)
        paths = [*found["common_prefixes"], *(entry["path"] for entry in found["objects"])]
        return [path.rpartition("/")[2] for path in paths]

    def list_objects(self, array: str, dimensions: int = 2) -> NDArray[np.int64]:
        """Rows are listed side by side: a listing tells a thousand objects, one after the other."""
        found = np.empty((1, 0), np.int64)
        with ThreadPoolExecutor(_LISTERS, thread_name_prefix="shdask-list") as pool:
            for _ in range(dimensions):
                folders = ["/".join((array, "c", *map(str, position))) for position in found.tolist()]
                numbers = list(pool.map(self._numbers, folders))
                inner = np.concatenate([np.empty(0, np.int64), *numbers])
                found = np.column_stack((np.repeat(found, [part.size for part in numbers], axis=0), inner))
        return found

    def _numbers(self, folder: str) -> NDArray[np.int64]:
        return np.asarray([int(name) for name in self.names(folder) if name.isdecimal()], np.int64)

    def settle(self, keys: Sequence[str] | None = None) -> None:
        """Nothing: what is put is durable."""

    def sweep(self, *, older_than: float) -> int:  # noqa: ARG002  # nothing is ever half-written
        """Nothing: an object is put whole."""
        return 0

    def lock(self, key: str, text: bytes, *, is_dead: Callable[[bytes, float], bool]) -> ObjectLock:
        """An object that is replaced by its tag; see `ObjectLock`."""
        return ObjectLock.acquire(self, key, text, is_dead=is_dead)

    def open_journal(self, run: str) -> SegmentJournal:
        """Segments of rows, none of them per tile."""
        return SegmentJournal.open(self, run)

    def read_journal(self) -> Iterator[bytes]:
        """The segments' bytes."""
        return read_segments(self)

    def create(self, key: str, data: bytes) -> str | None:
        """Put with If-None-Match; see `ConditionalObjects`. The bucket's first write: it tells a wrong place."""
        import obstore
        from obstore.exceptions import AlreadyExistsError

        with self.errors(opening=True):
            try:
                return obstore.put(self._store, key, data, mode="create")["e_tag"]
            except AlreadyExistsError:
                return None

    def replace(self, key: str, data: bytes, tag: str) -> str | None:
        """Put with If-Match; see `ConditionalObjects`."""
        import obstore
        from obstore.exceptions import PreconditionError

        with self.errors():
            try:
                return obstore.put(self._store, key, data, mode={"e_tag": tag})["e_tag"]
            except (PreconditionError, FileNotFoundError):
                return None

    def read_tagged(self, key: str) -> tuple[bytes, str] | None:
        """Get; see `ConditionalObjects`."""
        import obstore

        with self.errors():
            try:
                found = obstore.get(self._store, key)
                return bytes(found.bytes()), str(found.meta["e_tag"])
            except FileNotFoundError:
                return None

    def age_s(self, key: str) -> float:
        """Compare with the time stamp of an object that is put just now."""
        import obstore

        with self.errors():
            obstore.put(self._store, CLOCK, b"")
            now = obstore.head(self._store, CLOCK)["last_modified"]
            try:
                then = obstore.head(self._store, key)["last_modified"]
            except FileNotFoundError:
                return 0.0
        return max(0.0, (now - then).total_seconds())
