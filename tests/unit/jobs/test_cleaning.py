"""What is deleted behind jobs, and what must be proven before."""

from __future__ import annotations

import time
import zlib
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest

from shdask.assemble.rows import LedgerSummary
from shdask.errors import StoreError
from shdask.fetch.delivery import Found
from shdask.jobs.cleaning import clean_up, read_checksums, stored_checksum
from shdask.jobs.lots import Lot, make_lots
from shdask.model import TileData
from shdask.plan.group import GroupPlan
from tests.unit.jobs.books import Book, leave


@dataclass
class _Cube:
    """Tiles 0 and 1 are there."""

    plan: GroupPlan
    place: None = None

    def durable_tiles(self) -> np.ndarray:
        return np.array([0, 1])


@dataclass
class _Bucket:
    """It has something in every folder that is told."""

    folders: list[str]
    deleted: list[str] = field(default_factory=list)
    url: str = "s3://bucket/cubes"

    def list(self, prefix: str) -> list[str]:
        return [f"{prefix}/x"] if prefix in self.folders else []

    def delete(self, prefix: str) -> int:
        self.deleted.append(prefix)
        return 1


@pytest.fixture
def cube(plan: GroupPlan, monkeypatch: pytest.MonkeyPatch) -> Any:
    """Its ledger: 0 and 2 written with checksums, 1 without, 3 empty, 4 failed."""
    ledger = LedgerSummary(states=np.array([1, 1, 1, 2, 3], np.uint8), checksums=np.array([10, -1, 12, -1, -1]))
    monkeypatch.setattr("shdask.jobs.cleaning.read_ledger", lambda _place: ledger)
    return _Cube(plan)


@pytest.fixture
def proven(monkeypatch: pytest.MonkeyPatch) -> list[dict[int, int]]:
    """Checksums that tiles were compared with; tile 1 is broken where its is 666."""
    found: list[dict[int, int]] = []

    def compare(_cube: object, sums: dict[int, int]) -> dict[int, str]:
        found.append(sums)
        return {tile: "tile 1 is broken" for tile, checksum in sums.items() if checksum == 666}

    monkeypatch.setattr("shdask.jobs.cleaning.find_broken", compare)
    monkeypatch.setattr("shdask.jobs.cleaning.look_for", lambda _bucket, _look: Found())
    return found


@pytest.fixture
def lot(plan: GroupPlan) -> Lot:
    """Of tiles 0, 1, 3 and 4."""
    return make_lots(plan, plan.tile_set.indices(), {})[0]


@pytest.fixture
def book() -> Book:
    """Empty."""
    return Book()


FIRST, SECOND = "abc/t0-r0-c0-p0-1-ff", "abc/t0-r0-c0-p0-2-ff"


def test_all_attempts_are_deleted(cube: Any, book: Book, lot: Lot, proven: list[Any]) -> None:
    """What the run heard of tiles and what the ledger tells is compared first."""
    leave(book, lot, 0, "failed")
    leave(book, lot, 0, "done", "collected", attempt=2)
    bucket: Any = _Bucket([FIRST, SECOND])
    assert clean_up(cube, bucket, list(book.jobs.values()), checksums={1: 11}, empty={4})
    assert proven == [{0: 10, 1: 11}]
    assert sorted(bucket.deleted) == [FIRST, SECOND]


def test_nothing_is_read_where_nothing_lies(cube: Any, book: Book, lot: Lot, proven: list[Any]) -> None:
    """What was deleted before a kill needs no proof any more."""
    leave(book, lot, 0, "done", "collected")
    bucket: Any = _Bucket([])
    assert clean_up(cube, bucket, list(book.jobs.values()))
    assert (proven, bucket.deleted) == ([], [])


def test_attempt_that_may_yet_deliver_is_not_done_with(cube: Any, book: Book, lot: Lot, proven: list[Any]) -> None:
    """What lies there is deleted, and looked for again by the next run until a day has gone by."""
    leave(book, lot, 0, "late", at=time.time() - 3600)
    leave(book, lot, 0, "done", "collected", attempt=2)
    bucket: Any = _Bucket([FIRST])
    assert not clean_up(cube, bucket, list(book.jobs.values()), checksums={1: 11}, empty={4})
    assert len(bucket.deleted) == 2


@pytest.mark.parametrize(
    ("known", "words"), [({1: 666, 4: 1}, "tile 1 is broken"), ({}, "no checksum is known of tiles 1, 4")]
)
def test_nothing_is_deleted_unproven(
    cube: Any, book: Book, lot: Lot, proven: list[Any], known: dict[int, int], words: str
) -> None:
    """A tile that is not as it was stored, or of which nothing tells what was, keeps all files of its jobs."""
    leave(book, lot, 0, "done", "collected")
    bucket: Any = _Bucket([FIRST])
    with pytest.raises(StoreError, match=words):
        clean_up(cube, bucket, list(book.jobs.values()), checksums=known)
    assert bucket.deleted == []


def test_tile_that_is_bought_anew_needs_no_proof(cube: Any, book: Book, lot: Lot, proven: list[Any]) -> None:
    """Its pixels are not those that were delivered."""
    leave(book, lot, 0, "done", "collected")
    book.fold.outdate([1, 4])
    bucket: Any = _Bucket([FIRST])
    assert clean_up(cube, bucket, list(book.jobs.values()))
    assert proven == [{0: 10}]


def test_checksums_are_of_tiles_that_are_there(plan: GroupPlan, cube: Any) -> None:
    """Empty tiles need none; of others it is told that there is none."""
    assert read_checksums(plan, cube, {0, 1, 2, 3, 4, 5}) == ({0: 10}, {1, 2, 4, 5})


def test_checksum_is_of_what_is_stored(plan: GroupPlan) -> None:
    """Zeros in both bands and the mask, however the service fills what is outside the area: CRC-32 of as many zeros."""
    tile = plan.tile(0)
    shape = tile.extent.shape
    nothing = TileData(values=np.full((2, *shape), 7, np.uint16), data_mask=np.zeros(shape, np.bool_))
    sizes = sum(np.dtype(band.dtype).itemsize for band in plan.layer.bands) + 1
    fills = [band.fill_value for band in plan.layer.bands]
    assert fills == [0, 0]
    assert stored_checksum(plan, 0, nothing) == zlib.crc32(bytes(sizes * shape[0] * shape[1]))
