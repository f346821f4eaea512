"""The end of jobs: when it is said, and what is deleted then."""

from __future__ import annotations

import time
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest

from shdask.assemble.job_rows import JobRecord
from shdask.assemble.rows import LedgerSummary
from shdask.build import BuildJob
from shdask.errors import StoreError
from shdask.jobs.closing import Cleanup, Closing, close_jobs, read_done
from shdask.jobs.collecting import EndedLot
from shdask.jobs.lots import Lot, make_lots
from shdask.plan.group import GroupPlan
from shdask.settings import Credentials
from tests.unit.jobs.books import Book, leave, with_cleanup


class _Cube:
    """Tiles 0 and 1 are there."""

    place = None

    def durable_tiles(self) -> np.ndarray:
        return np.array([0, 1])


@pytest.fixture
def cube(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Its ledger: 0 and 2 written, 3 empty, 4 failed."""
    ledger = LedgerSummary(states=np.array([1, 1, 1, 2, 3], np.uint8), checksums=np.array([10, -1, 12, -1, -1]))
    monkeypatch.setattr("shdask.jobs.closing.read_ledger", lambda _place: ledger)
    return _Cube()


@pytest.fixture
def book() -> Book:
    """Empty."""
    return Book()


@pytest.fixture
def lot(plan: GroupPlan) -> Lot:
    """The first."""
    return make_lots(plan, plan.tile_set.indices(), {})[0]


@pytest.fixture
def job(plan: GroupPlan, cube: Any, book: Book) -> BuildJob:
    """With cleanup."""
    return BuildJob(
        plan=with_cleanup(plan), cube=cube, credentials=Credentials(client_id="a", client_secret="b"), book=book
    )


@pytest.fixture
def done(monkeypatch: pytest.MonkeyPatch) -> set[int]:
    """Tiles that are durable."""
    found: set[int] = set()
    monkeypatch.setattr("shdask.jobs.closing.read_done", lambda _plan, _cube: found)
    return found


@pytest.fixture
def cleaned(monkeypatch: pytest.MonkeyPatch) -> list[list[str]]:
    """Keys of jobs behind which was cleaned up, lot by lot; nothing more can come of them."""
    found: list[list[str]] = []

    def clean(_cube: object, _bucket: object, jobs: list[JobRecord], **_known: object) -> bool:
        found.append([each.intent.key for each in jobs])
        return True

    monkeypatch.setattr("shdask.jobs.closing.clean_up", clean)
    return found


@pytest.fixture
def closing(job: BuildJob, book: Book) -> Closing:
    """It deletes at once."""

    def send(cleanup: Cleanup, call: Callable[[], object]) -> None:
        found.hear(cleanup, is_over=bool(call()), error=None)

    found = Closing(job, book, None, send)  # type: ignore[arg-type]  # nobody looks at the bucket
    return found


def test_tiles_that_are_there_or_empty_are_done(plan: GroupPlan, cube: Any) -> None:
    """A row that says written of a tile that is not there counts for nothing."""
    assert read_done(plan, cube) == {0, 1, 3}


def test_nothing_is_known_of_a_store_that_does_not_answer(
    plan: GroupPlan, cube: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No tile is done: jobs stay open, and files are kept."""

    def fail(_place: object) -> None:
        raise StoreError("no")

    monkeypatch.setattr("shdask.jobs.closing.read_ledger", fail)
    assert read_done(plan, cube) == set()


def test_lot_that_is_home_is_closed_and_cleaned(closing: Closing, lot: Lot, book: Book, cleaned: list[Any]) -> None:
    """Both ends are durable, so that a kill between them leaves the second to the next run."""
    leave(book, lot, 0, "done")
    leave(book, lot, 1, "done")
    closing.end_lot(EndedLot(lot=lot, checksums={}))
    keys = [order.job.key for order in lot.orders]
    assert cleaned == [keys]
    assert book.ends[2:] == ["collected", "collected", "cleaned", "cleaned"]


@pytest.mark.parametrize(("there", "ends"), [(0, []), (1, ["collected", "collected", "cleaned", "cleaned"])])
@pytest.mark.usefixtures("cleaned")
def test_job_is_closed_with_the_last_tile_it_was_paid_for(
    closing: Closing, lot: Lot, book: Book, done: set[int], there: int, ends: list[str]
) -> None:
    """A run over a part of a job's tiles leaves it open, unless the others are durable."""
    leave(book, lot, 0, "done")
    leave(book, lot, 1, "done")
    done.update(lot.tiles[1:] * there)
    closing.end_lot(EndedLot(lot=replace(lot, tiles=lot.tiles[:1]), checksums={}))
    assert book.ends[2:] == ends


def test_stale_tile_keeps_no_job_open(closing: Closing, lot: Lot, book: Book, cleaned: list[Any]) -> None:
    """A tile that is bought anew is nothing that its job holds."""
    leave(book, lot, 0, "done")
    leave(book, lot, 1, "done")
    book.fold.outdate(lot.tiles[1:])
    closing.end_lot(EndedLot(lot=replace(lot, tiles=lot.tiles[:1]), checksums={}))
    assert len(cleaned) == 1


def test_files_that_are_spoilt_for_one_tile_are_kept_for_the_others(
    closing: Closing, lot: Lot, book: Book, done: set[int]
) -> None:
    """It is told which tile is bought another way; the job stays open for those that this run has no part in."""
    leave(book, lot, 0, "done")
    leave(book, lot, 1, "done")
    some = replace(lot, tiles=lot.tiles[:2])
    closing.end_lot(EndedLot(lot=some, checksums={}, spoilt={lot.tiles[0]: "DecodeError: no"}))
    assert done == set()
    assert book.ends == ["done", "done"]
    assert book.notes == [
        "what jobs t0-r0-c0-p0, t0-r0-c0-p1 brought of tiles 0 cannot be used (DecodeError: no); Process is asked"
    ]


def test_job_whose_other_tiles_are_home_has_failed_with_the_spoilt_ones(closing: Closing, lot: Lot, book: Book) -> None:
    """Nothing of it is left to be collected."""
    leave(book, lot, 0, "done")
    leave(book, lot, 1, "done")
    closing.end_lot(EndedLot(lot=lot, checksums={}, spoilt={lot.tiles[0]: "DecodeError: no"}))
    assert book.ends[2:] == ["failed", "failed"]


def test_files_of_a_spoilt_tile_are_not_deleted_with_the_others(
    closing: Closing, lot: Lot, book: Book, done: set[int], cleaned: list[Any]
) -> None:
    """Though all else that the jobs were paid for is there: the tile is on its way by Process."""
    leave(book, lot, 0, "done")
    leave(book, lot, 1, "done")
    done.update(lot.tiles[1:])
    closing.end_lot(EndedLot(lot=replace(lot, tiles=lot.tiles[:1]), checksums={}, spoilt={lot.tiles[0]: "no"}))
    assert (book.ends[2:], cleaned) == (["failed", "failed"], [])


def test_job_that_was_given_up_is_not_collected(closing: Closing, lot: Lot, book: Book, cleaned: list[Any]) -> None:
    """Its part came by Process; what it may have left is deleted with the rest."""
    leave(book, lot, 0, "done")
    leave(book, lot, 1, "late")
    closing.end_lot(EndedLot(lot=lot, checksums={}))
    assert book.ends[2:3] == ["collected"]
    assert cleaned == [[order.job.key for order in lot.orders]]


def test_files_that_may_yet_come_leave_a_job_to_be_cleaned(closing: Closing, lot: Lot, book: Book) -> None:
    """Only one of which nothing can come any more is done with."""
    leave(book, lot, 0, "done")
    closing.hear(Cleanup(keys=(lot.orders[0].job.key,)), is_over=False, error=None)
    closing.hear(Cleanup(keys=(lot.orders[0].job.key,)), is_over=False, error=StoreError("kept"))
    assert (book.ends, book.notes) == (["done"], ["kept"])


def test_what_a_killed_run_has_not_cleaned_is_cleaned(
    job: BuildJob, lot: Lot, book: Book, done: set[int], cleaned: list[Any]
) -> None:
    """Collected jobs whose files may be there, and those whose tiles came another way; both parts of a lot together."""
    leave(book, lot, 0, "done", "collected")
    leave(book, lot, 1, "late")
    done.update(lot.tiles)
    close_jobs(job)
    assert cleaned == [[order.job.key for order in lot.orders]]
    assert book.ends[-2:] == ["cleaned", "cleaned"]
    close_jobs(job)
    assert len(cleaned) == 1


def test_files_of_tiles_that_lack_are_kept(
    job: BuildJob, lot: Lot, book: Book, done: set[int], cleaned: list[Any]
) -> None:
    """A job is cleaned with the last of its tiles, however that comes."""
    leave(book, lot, 0, "done")
    done.update(lot.tiles[:-1])
    close_jobs(job)
    assert (book.ends, cleaned) == (["done"], [])


def test_nothing_is_deleted_unasked(
    job: BuildJob, plan: GroupPlan, lot: Lot, book: Book, done: set[int], cleaned: list[Any]
) -> None:
    """Without cleanup jobs whose tiles came another way are closed, and that is all."""
    leave(book, lot, 0, "done")
    leave(book, lot, 1, "done", "collected")
    done.update(lot.tiles)
    close_jobs(replace(job, plan=plan))
    assert (book.ends, cleaned) == (["done", "done", "collected", "collected"], [])


def test_job_that_runs_is_not_closed(job: BuildJob, lot: Lot, book: Book, done: set[int]) -> None:
    """Its files may come: it is left until a day has gone by, though its tiles are there."""
    leave(book, lot, 0, at=time.time())
    leave(book, lot, 1, at=0.0)
    done.update(lot.tiles)
    close_jobs(replace(job, plan=replace(job.plan, delivery=job.plan.delivery.model_copy(update={"cleanup": False}))))
    assert [row.key for row in book.rows[4:]] == [lot.orders[1].job.key]


def test_one_lot_that_cannot_be_cleaned_does_not_keep_the_others(
    job: BuildJob, plan: GroupPlan, book: Book, done: set[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """It is told, and left to the next run."""
    lots = make_lots(plan, plan.tile_set.indices(), {})[:2]
    leave(book, lots[0], 0, "done", "collected")
    leave(book, lots[1], 0, "done", "collected")
    done.update(plan.tile_set.indices().tolist())

    def clean(_cube: object, _bucket: object, jobs: list[JobRecord]) -> bool:
        if jobs[0].intent.tiles == lots[0].tiles:
            raise StoreError("kept")
        return True

    monkeypatch.setattr("shdask.jobs.closing.clean_up", clean)
    close_jobs(job)
    assert (book.notes, book.ends.count("cleaned")) == (["kept"], 1)
