"""A bucket by its own keys: where it is, what travels of it, what it refuses; its objects are in memory here."""

from __future__ import annotations

import pickle
from functools import partial
from typing import Any
from unittest.mock import Mock

import obstore
import pytest
from obstore.exceptions import PermissionDeniedError
from obstore.store import MemoryStore

from shdask.errors import StoreError, StoreUnavailable, WrongStore
from shdask.fetch import bucket as room
from shdask.fetch.bucket import RETRIES, Bucket


@pytest.fixture
def store(monkeypatch: pytest.MonkeyPatch) -> MemoryStore:
    """What a bucket is opened as."""
    store = MemoryStore()
    monkeypatch.setattr(room, "open_s3_store", lambda *_, **__: store)
    return store


@pytest.fixture
def bucket(store: MemoryStore) -> Bucket:
    """A place with a few objects, where waiting takes no time."""
    for key in ("a/id/default.tif", "a/id/request.json", "ab/id/default.tif"):
        obstore.put(store, key, key.encode())
    return Bucket("deliveries", "jobs", sleep=lambda _: None)


@pytest.mark.parametrize(
    ("url", "place"),
    [
        ("s3://bucket/a/b/", "s3://bucket/a/b"),
        ("s3://bucket/a", "s3://bucket/a"),
        ("s3://bucket", "s3://bucket"),
        ("s3://bucket/", "s3://bucket"),
    ],
)
def test_a_place_is_named_by_its_url(url: str, place: str):
    """With a prefix or without."""
    assert Bucket.from_url(url).url == place


@pytest.mark.parametrize(
    "url", ["bucket/a", "https://bucket/a", "s3://", "s3:///a", "s3://key:secret@b/a", "s3://b/a?x=1"]
)
def test_anything_else_is_refused(url: str):
    """Before it is asked."""
    with pytest.raises(WrongStore, match="deliver to s3://bucket/prefix, no more"):
        Bucket.from_url(url)


def test_it_travels_without_keys_and_is_the_same_place(monkeypatch: pytest.MonkeyPatch):
    """A worker opens it with its own keys, even where it was in use before."""
    monkeypatch.setenv("AWS_ACCESS_KEY_ID", "canary-id")
    monkeypatch.setenv("AWS_SECRET_ACCESS_KEY", "canary-secret")
    bucket = Bucket.from_url("s3://bucket/a", endpoint_url="http://127.0.0.1:9", region="eu-central-1")
    assert bucket._store is not None
    sent = pickle.dumps(bucket)
    arrived = pickle.loads(sent)  # noqa: S301  # our own bytes
    assert b"canary" not in sent
    assert "canary" not in repr(bucket)
    assert (arrived.url, arrived._store.config["region"]) == ("s3://bucket/a", "eu-central-1")


def test_a_listing_is_of_a_folder(bucket: Bucket):
    """Not of another one whose name begins alike; keys come whole, as they are read."""
    assert bucket.list("a") == ["a/id/default.tif", "a/id/request.json"]
    assert bucket.list("b") == []


def test_objects_are_measured_and_read(bucket: Bucket):
    """Whole, from the beginning, and by ranges."""
    key = "a/id/default.tif"
    assert bucket.size(key) == 16
    assert bucket.read(key, 4) == b"a/id"
    assert bucket.read(key, 1000) == key.encode()
    assert bucket.read_range(key, 2, 4) == b"id"


def test_an_object_that_is_not_there_is_told_at_once(store: MemoryStore):
    """It is no trouble that passes."""
    waits: list[float] = []
    with pytest.raises(StoreError, match="s3://deliveries/jobs: an object is not there") as caught:
        Bucket("deliveries", "jobs", sleep=waits.append).size("a/none")
    assert not isinstance(caught.value, StoreUnavailable)
    assert waits == []


def test_a_folder_is_deleted_whole_and_alone(bucket: Bucket):
    """The number of objects is told; a second time there are none."""
    assert bucket.delete("a") == 2
    assert bucket.list("ab") == ["ab/id/default.tif"]
    assert bucket.delete("a") == 0


@pytest.mark.parametrize("prefix", ["", "/"])
def test_the_whole_place_is_never_deleted(bucket: Bucket, prefix: str):
    """An empty prefix is a mistake of ours."""
    with pytest.raises(ValueError, match="never deleted at once"):
        bucket.delete(prefix)


def test_a_preflight_leaves_nothing(bucket: Bucket, store: MemoryStore):
    """One object comes and goes."""
    before = obstore.list(store).collect()
    bucket.preflight(deletes=True)
    assert obstore.list(store).collect() == before


@pytest.mark.parametrize("deletes", [True, False])
def test_a_preflight_bears_another_builds(
    bucket: Bucket, store: MemoryStore, monkeypatch: pytest.MonkeyPatch, *, deletes: bool
):
    """On the same prefix, which comes and goes between what this one writes and reads."""
    before, put, other = obstore.list(store).collect(), obstore.put, Bucket("deliveries", "jobs")
    meet = Mock(side_effect=[partial(other.preflight, deletes=deletes), *[lambda: None] * 9])

    def put_and_meet(*args: Any) -> None:
        put(*args)
        meet()()

    monkeypatch.setattr(obstore, "put", put_and_meet)
    bucket.preflight(deletes=deletes)
    assert obstore.list(store).collect() == before


def test_a_preflight_that_need_not_delete_leaves_one_object_at_most(
    bucket: Bucket, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
):
    """However often it is made where nothing may be deleted."""
    before = len(obstore.list(store).collect())
    monkeypatch.setattr(obstore, "delete", Mock(side_effect=PermissionDeniedError("no")))
    bucket.preflight()
    bucket.preflight()
    assert len(obstore.list(store).collect()) == before + 1


def test_a_preflight_that_must_delete_shares_its_object_with_nobody(bucket: Bucket, monkeypatch: pytest.MonkeyPatch):
    """It takes one try, whoever deletes what."""
    written = Mock(side_effect=obstore.put)
    monkeypatch.setattr(obstore, "put", written)
    bucket.preflight(deletes=True)
    bucket.preflight(deletes=True)
    first, second = (call.args[1] for call in written.call_args_list)
    assert first != second


def test_a_preflight_leaves_nothing_that_it_may_not_read(
    bucket: Bucket, store: MemoryStore, monkeypatch: pytest.MonkeyPatch
):
    """It is another object each time, and they must not add up."""
    before = obstore.list(store).collect()
    monkeypatch.setattr(obstore, "get", Mock(side_effect=PermissionDeniedError("no")))
    with pytest.raises(StoreError):
        bucket.preflight(deletes=True)
    assert obstore.list(store).collect() == before


def test_a_preflight_without_writes_only_lists(bucket: Bucket, monkeypatch: pytest.MonkeyPatch):
    """Where the service writes by a role, our keys need not."""
    monkeypatch.setattr(obstore, "put", None)
    bucket.preflight(writes=False)


class Broken:
    """An answer that brings a piece and breaks."""

    def __init__(self, piece: bytes) -> None:
        self.piece = piece

    def stream(self, min_chunk_size: int) -> Any:
        """A piece, then an error; nothing but an error where there is none."""
        assert min_chunk_size > 0
        if self.piece:
            yield self.piece
        raise OSError("error decoding response body")


def test_a_broken_read_goes_on_where_it_broke(bucket: Bucket, monkeypatch: pytest.MonkeyPatch):
    """However often it breaks, as long as each time brings something."""
    asked: list[tuple[int, int]] = []

    def get(_store: Any, key: str, options: dict[str, Any]) -> Broken:
        start, end = options["range"]
        asked.append((start, end))
        return Broken(key.encode()[start : min(end, start + 2)])

    monkeypatch.setattr(obstore, "get", get)
    assert bucket.read_range("a/id/default.tif", 1, 16) == b"/id/default.tif"
    assert asked == [(start, 16) for start in range(1, 16, 2)]


def test_a_read_that_brings_nothing_is_given_up(store: MemoryStore, monkeypatch: pytest.MonkeyPatch):
    """After a bounded number of attempts in a row, with waits between."""
    waits: list[float] = []
    monkeypatch.setattr(obstore, "get", lambda *_, **__: Broken(b""))
    with pytest.raises(StoreUnavailable, match="error decoding response body"):
        Bucket("deliveries", "jobs", sleep=waits.append).read_range("a/id/default.tif", 0, 16)
    assert len(waits) == RETRIES.max_retries == 5
