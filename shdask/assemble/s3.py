"""A cube's place in an S3 bucket: its objects, conditional writes, and what a bucket says in our words.

Refuses to know what the objects hold, and to keep a secret: each process reads keys from its own environment.
"""

from __future__ import annotations

import importlib.util
import os
import re
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager
from datetime import timedelta
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import numpy as np
from numpy.typing import NDArray

from shdask.assemble.journal import SegmentJournal, read_segments
from shdask.assemble.lock import ObjectLock
from shdask.errors import StoreError, StoreUnavailable, WrongStore
from shdask.settings import may_use_plain_http

if TYPE_CHECKING:
    from obstore.store import ClientConfig, RetryConfig, S3Store
    from zarr.abc.store import Store

CLOCK = ".shdask/clock"
"""Written to learn the server's time."""
_CLIENT: ClientConfig = {"connect_timeout": "10s", "timeout": "120s"}
_RETRY: RetryConfig = {
    "max_retries": 3,
    "retry_timeout": timedelta(seconds=30),
    "backoff": {"init_backoff": timedelta(milliseconds=200), "max_backoff": timedelta(seconds=5), "base": 2},
}
"""What the library does by itself; longer trouble is waited for by who writes, with the pixels in hand."""
_LISTERS = 16
_METADATA_SERVICE = "169.254.169.254"
_BUSY_CODES = frozenset({408, 429, 500, 502, 503, 504})
_CURES = {
    "NoSuchBucket": "there is no such bucket; create it, or correct its name or AWS_ENDPOINT_URL",
    "InvalidBucketName": "that is no bucket's name; correct it",
    "InvalidAccessKeyId": "the access key is not known there; correct AWS_ACCESS_KEY_ID, or AWS_ENDPOINT_URL",
    "SignatureDoesNotMatch": "the secret key is wrong; correct AWS_SECRET_ACCESS_KEY",
    "ExpiredToken": "the keys have expired; set fresh AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY, AWS_SESSION_TOKEN",
    "RequestTimeTooSkewed": "this machine's clock is wrong; set it",
    "PermanentRedirect": "the bucket is in another region; set AWS_REGION to it",
    "AuthorizationHeaderMalformed": "the bucket is in another region; set AWS_REGION to it",
    "AccessDenied": "these keys may not do that; allow them to list, read, write and delete under the prefix",
}
_WRONG_ENDPOINT = "no S3 answers there; correct AWS_ENDPOINT_URL, or see to the network, then build again"
_NO_KEYS = "no keys; set AWS_ACCESS_KEY_ID and AWS_SECRET_ACCESS_KEY where this process runs"
_BUSY = "the store is in trouble or throttles; build again later (what is written is kept)"


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
        if importlib.util.find_spec("obstore") is None:
            raise WrongStore(f"{url}: S3 needs one more package: pip install 'shdask[s3]'")
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
                self._opened = _open_store(self.bucket, self.prefix, os.environ)
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


def _open_store(bucket: str, prefix: str, environ: Mapping[str, str]) -> S3Store:
    """Keys, region and endpoint as boto3 reads them. Raises WrongStore for plain http to another machine."""
    from obstore.store import S3Store

    endpoint = environ.get("AWS_ENDPOINT_URL_S3") or environ.get("AWS_ENDPOINT_URL") or None
    client: ClientConfig = dict(_CLIENT)  # type: ignore[assignment]  # a copy of the same keys
    if endpoint is not None and not endpoint.startswith("https://"):
        host = urlsplit(endpoint).hostname or ""
        if not endpoint.startswith("http://") or not may_use_plain_http(host, environ):
            raise WrongStore(
                f"AWS_ENDPOINT_URL is {endpoint}: pixels and keys' signatures would cross the network unencrypted. "
                f"Use https, or name the host in SHDASK_ALLOW_HTTP if that is what you want"
            )
        client["allow_http"] = True
    options: dict[str, Any] = {} if endpoint is None else {"endpoint": endpoint.rstrip("/")}
    provider = _profile_provider(environ)
    if provider is not None:
        options["credential_provider"] = provider
    if environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION"):
        options["region"] = environ.get("AWS_REGION") or environ.get("AWS_DEFAULT_REGION")
    return S3Store(bucket, prefix=prefix, client_options=client, retry_config=_RETRY, **options)


def _profile_provider(environ: Mapping[str, str]) -> Any:
    """boto3's way to the keys of AWS_PROFILE; None where keys stand in the environment or no profile is named."""
    if environ.get("AWS_ACCESS_KEY_ID") or not environ.get("AWS_PROFILE"):
        return None
    if importlib.util.find_spec("boto3") is None:
        raise WrongStore(
            "AWS_PROFILE is set, and reading profiles needs boto3: pip install boto3, or set AWS_ACCESS_KEY_ID "
            "and AWS_SECRET_ACCESS_KEY"
        )
    from obstore.auth.boto3 import Boto3CredentialProvider

    return Boto3CredentialProvider()


def s3_error(name: str, error: Exception, *, opening: bool = False) -> StoreError:
    """What to raise for an error of obstore at the place ``name``: what happened, and the cure. Pure.

    obstore tells the service's answer by its text alone.
    """
    text = str(error)
    status = re.search(r"status code: (\d{3})", text)
    code = re.search(r"<Code>(\w+)</Code>", text)
    if _METADATA_SERVICE in text:
        return WrongStore(f"{name}: {_NO_KEYS}")
    cure = _CURES.get(code[1]) if code else None
    if cure is None and status and status[1] in {"401", "403"}:
        cure = _CURES["AccessDenied"]
    if cure is not None:
        return (WrongStore if opening else StoreError)(f"{name}: {cure}{f' ({code[1]})' if code else ''}")
    if status and int(status[1]) in _BUSY_CODES:
        return StoreUnavailable(f"{name}: HTTP {status[1]}{f' {code[1]}' if code else ''}: {_BUSY}")
    if status is None:
        return StoreUnavailable(f"{name}: {_WRONG_ENDPOINT} ({_first_line(text)})")
    return StoreError(f"{name}: {_first_line(text)}")


def _first_line(text: str) -> str:
    return text.partition("\n")[0].partition(": <?xml")[0]
