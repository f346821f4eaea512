"""The bucket that jobs deliver to, as a process's own keys see it: objects listed, read by ranges, deleted.

Refuses to know jobs and pictures; it pickles without keys.
"""

from __future__ import annotations

import os
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager, nullcontext, suppress
from typing import TYPE_CHECKING, TypeVar
from uuid import uuid4

from shdask.errors import StoreError, StoreUnavailable, WrongStore
from shdask.fetch.retry import RetryPolicy, call_with_retries
from shdask.s3_access import check_obstore, open_s3_store, s3_error

if TYPE_CHECKING:
    from obstore.store import S3Store

T = TypeVar("T")
CANARY = "shdask-preflight"
"""Written, read and deleted to see whether that can be done; where it must be, each look's own by what follows."""
PIECE_NBYTES = 256 * 1024
"""Bytes are taken over in pieces of this size: what a broken connection brought is lost after the last of them."""
RETRIES = RetryPolicy(max_retries=5, base_wait_s=0.5, max_wait_s=10.0, total_s=300.0)
"""For each call; a ranged read counts anew whenever it has come further."""


class Bucket:
    """Objects under a bucket's prefix, by keys without it. Thread-safe; pickles as its place.

    Trouble that may pass is tried again, few times: every method raises StoreError, with the cure.
    """

    def __init__(
        self,
        bucket: str,
        prefix: str,
        *,
        endpoint_url: str | None = None,
        region: str | None = None,
        sleep: Callable[[float], object] = time.sleep,
    ) -> None:
        """``endpoint_url`` and ``region`` are as boto3 reads them from the environment where they are None."""
        self._bucket = bucket
        self._prefix = prefix
        self._endpoint_url = endpoint_url
        self._region = region
        self._sleep = sleep
        self._opened: S3Store | None = None
        self._lock = threading.Lock()

    @classmethod
    def from_url(cls, url: str, *, endpoint_url: str | None = None, region: str | None = None) -> Bucket:
        """The place at ``s3://bucket`` or ``s3://bucket/prefix``. Raises WrongStore for anything more or else."""
        bucket, _, prefix = url.removeprefix("s3://").partition("/")
        if not url.startswith("s3://") or not bucket or "@" in bucket or "?" in url:
            raise WrongStore(f"{url.partition('?')[0]}: jobs deliver to s3://bucket/prefix, no more")
        check_obstore(url)
        return cls(bucket, prefix.strip("/"), endpoint_url=endpoint_url, region=region)

    @property
    def url(self) -> str:
        """``s3://bucket/prefix``."""
        return "/".join(filter(None, (f"s3://{self._bucket}", self._prefix)))

    def __repr__(self) -> str:
        return f"Bucket({self.url!r})"

    def __getstate__(self) -> dict[str, object]:
        return {**vars(self), "_opened": None, "_lock": None}

    def __setstate__(self, state: dict[str, object]) -> None:
        vars(self).update(state, _lock=threading.Lock())

    def list(self, prefix: str) -> list[str]:
        """The keys of all objects below the folder ``prefix``, ascending."""
        import obstore

        def read() -> list[str]:
            with self._errors():
                return sorted(entry["path"] for page in obstore.list(self._store, prefix or None) for entry in page)

        return self._patiently(read)

    def size(self, key: str) -> int:
        """Its bytes. Raises StoreError where there is no such object."""
        import obstore

        def ask() -> int:
            with self._errors():
                return obstore.head(self._store, key)["size"]

        return self._patiently(ask)

    def read(self, key: str, max_nbytes: int) -> bytes:
        """The first ``max_nbytes`` of an object, or all there is."""
        return bytes(self.read_range(key, 0, min(max_nbytes, self.size(key))))

    def read_range(self, key: str, start: int, end: int) -> bytearray:
        """Bytes [start, end) of an object that has them.

        A broken connection is taken up where it broke: only attempts in a row that bring nothing are counted.
        """
        found = bytearray()
        while len(found) < end - start:
            self._patiently(lambda: self._read_on(key, start, end, found))
        return found

    def _read_on(self, key: str, start: int, end: int, found: bytearray) -> None:
        """Adds at least a byte to what has been found of [start, end)."""
        import obstore

        before = len(found)
        try:
            with self._errors():
                answer = obstore.get(self._store, key, options={"range": (start + before, end)})
                for piece in answer.stream(min_chunk_size=PIECE_NBYTES):
                    found += memoryview(piece)
        except StoreUnavailable:
            if len(found) == before:
                raise
        if len(found) == before or len(found) > end - start:
            raise StoreUnavailable(f"{self.url}/{key}: bytes {start} to {end} were asked for, and others came")

    def delete(self, prefix: str) -> int:
        """Deletes all objects below the folder ``prefix``; how many. Raises ValueError for the bucket's whole place."""
        import obstore

        if not prefix.strip("/"):
            raise ValueError("everything below the place of deliveries is never deleted at once")
        keys = self.list(prefix)

        def delete() -> None:
            with self._errors():
                obstore.delete(self._store, keys)

        if keys:
            self._patiently(delete)
        return len(keys)

    def preflight(self, *, writes: bool = True, deletes: bool = False) -> None:
        """Finds out, for nothing, whether jobs can deliver here and their files be read: a small object comes and goes.

        Without ``writes`` (a role's right, which is not ours) it only lists. What may be written but not deleted stays,
        unless ``deletes`` are needed. Raises WrongStore with the cure.
        """
        import obstore

        # builds share a prefix; what may stay has one name, so that it does not add up
        key = f"{CANARY}-{uuid4().hex}" if deletes else CANARY

        def look() -> None:
            with self._errors(opening=True):
                next(iter(obstore.list(self._store, CANARY)), None)
            if not writes:
                return
            try:
                with self._errors(opening=True):
                    self._write_and_read(key)
            except StoreError:
                with suppress(StoreError), self._errors():
                    obstore.delete(self._store, key)
                raise
            with nullcontext() if deletes else suppress(StoreError), self._errors(opening=True):
                obstore.delete(self._store, key)

        self._patiently(look)

    def _write_and_read(self, key: str) -> None:
        import obstore

        obstore.put(self._store, key, CANARY.encode())
        try:
            found = bytes(obstore.get(self._store, key).bytes())
        except FileNotFoundError as error:
            # another build that looks at the same time has deleted it
            raise StoreUnavailable(f"{self.url}/{key}: an object that was written is not there any more") from error
        if found != CANARY.encode():
            raise WrongStore(f"{self.url}: an object that was written was read as another one; use another bucket")

    @property
    def _store(self) -> S3Store:
        with self._lock:
            if self._opened is None:
                self._opened = open_s3_store(
                    self._bucket, self._prefix, os.environ, endpoint_url=self._endpoint_url, region=self._region
                )
            return self._opened

    def _patiently(self, call: Callable[[], T]) -> T:
        return call_with_retries(call, RETRIES, sleep=self._sleep)

    @contextmanager
    def _errors(self, *, opening: bool = False) -> Iterator[None]:
        """Turn what obstore raises in the block into a StoreError."""
        from obstore.exceptions import BaseError

        try:
            yield
        except (BaseError, OSError) as error:
            if isinstance(error, FileNotFoundError) and "NoSuchBucket" not in str(error):
                raise StoreError(f"{self.url}: an object is not there, or not any more") from error
            raise s3_error(self.url, error, opening=opening, endpoint_url=self._endpoint_url) from error
