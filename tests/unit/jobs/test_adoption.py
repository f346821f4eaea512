"""What is looked for, and told, before anything is paid again."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any, cast
from unittest.mock import Mock

import numpy as np
import pytest

from shdask.build import BuildJob, run_build
from shdask.errors import BudgetExceeded, BuildError, StoreUnavailable
from shdask.fetch.delivery import Found
from shdask.jobs.adoption import revive, warn_of_left_jobs
from shdask.jobs.attempts import Look
from shdask.jobs.lots import Lot, make_lots
from shdask.jobs.questions import look_back
from shdask.plan.group import GroupPlan
from shdask.settings import Credentials
from tests.unit.jobs.books import Book, leave


@pytest.fixture
def book() -> Book:
    """Empty."""
    return Book()


@pytest.fixture
def job(plan: GroupPlan, book: Book) -> BuildJob:
    """Of the plan."""
    return BuildJob(
        plan=plan,
        cube=None,  # type: ignore[arg-type]  # nothing looks at it
        credentials=Credentials(client_id="a", client_secret="b"),
        book=book,
    )


@pytest.fixture
def lot(plan: GroupPlan) -> Lot:
    """The first."""
    return make_lots(plan, plan.tile_set.indices(), {})[0]


@pytest.fixture
def tiles(plan: GroupPlan) -> np.ndarray:
    """All of them."""
    return plan.tile_set.indices()


@pytest.fixture
def looked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Folders that were looked into; all files lie in those of first attempts."""
    found: list[str] = []

    def look(_bucket: object, each: Look) -> Found:
        found.append(each.prefix)
        return Found(id="y", keys={"default": "there"}, complete=each.attempt == 1)

    monkeypatch.setattr("shdask.jobs.questions.look_for", look)
    return found


def test_attempt_that_was_too_late_is_opened_again(
    job: BuildJob, book: Book, lot: Lot, tiles: np.ndarray, looked: list[str]
) -> None:
    """It has delivered since: its part is paid for, and nothing more is spent by it."""
    leave(book, lot, 0, "late")
    assert revive(job, tiles) == 0.0
    assert looked == ["abc/t0-r0-c0-p0-1-ff"]
    assert make_lots(job.plan, tiles, book.jobs)[0].orders[0].open is book.jobs["t0-r0-c0-p0"]
    assert book.notes == [
        "job t0-r0-c0-p0, attempt 1, was given up (late) and has delivered after all; it is collected"
    ]


def test_jobs_that_have_delivered_after_all_are_off_the_price_that_a_cap_refuses(
    plan: GroupPlan, lot: Lot, tmp_path: Path, looked: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    """What is paid for is brought home for nothing, where the plan's price alone would pass the cap."""

    def leave_and_revive(work: BuildJob, tiles: np.ndarray) -> float:
        leave(cast("Book", work.book), lot, 0, "late")
        leave(cast("Book", work.book), lot, 1, "late")
        return revive(work, tiles)

    monkeypatch.setattr("shdask.build.revive", leave_and_revive)
    monkeypatch.setattr("shdask.build.start_run", Mock(side_effect=BuildError("it has begun")))
    executor: Any = None
    with pytest.raises(BuildError, match="it has begun"):
        run_build(plan, tmp_path / "a.zarr", executor, None, max_pu=1.0, only=lot.tiles)
    with pytest.raises(BudgetExceeded, match="nothing was sent"):
        run_build(plan, tmp_path / "b.zarr", executor, None, max_pu=1.0, only=(*lot.tiles, 2))


def test_lost_attempt_that_has_delivered_was_charged(
    job: BuildJob, book: Book, lot: Lot, tiles: np.ndarray, looked: list[str]
) -> None:
    """Its id and its price are known now; a later attempt that failed does not hide it."""
    leave(book, lot, 0, "lost", job_id=None)
    leave(book, lot, 0, "failed", attempt=2)
    assert revive(job, tiles) == 10.0
    record = book.jobs["t0-r0-c0-p0"]
    assert (record.intent.attempt, record.id, record.end) == (1, "y", "done")
    assert looked == ["abc/t0-r0-c0-p0-1-ff"]


def test_attempt_that_has_not_delivered_stays_given_up(
    job: BuildJob, book: Book, lot: Lot, tiles: np.ndarray, looked: list[str]
) -> None:
    """One look, and the tiles are ordered anew."""
    leave(book, lot, 0, "vanished", attempt=2)
    assert revive(job, tiles) == 0.0
    assert (len(looked), book.ends, book.notes) == (1, ["vanished"], [])


@pytest.mark.parametrize(
    ("ends", "changes"),
    [
        (["late"], {"url": "s3://elsewhere/abc/t0"}),
        (["late"], {"digest": "another"}),
        (["late"], {"tiles": (8,)}),
        (["failed"], {}),
        (["done"], {}),
    ],
)
def test_nothing_else_is_looked_for(
    job: BuildJob, book: Book, lot: Lot, looked: list[str], ends: list[str], changes: dict[str, Any]
) -> None:
    """Other places, other pixels, tiles that nobody wants, and jobs whose end is known."""
    leave(book, lot, 0, *ends, **changes)
    assert revive(job, np.array(lot.tiles)) == 0.0
    assert looked == []


def test_bucket_that_does_not_answer_is_told(
    job: BuildJob, book: Book, lot: Lot, tiles: np.ndarray, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The build goes on without the look."""

    def fail(_bucket: object, _look: Look) -> Found:
        raise StoreUnavailable("no")

    monkeypatch.setattr("shdask.jobs.questions.look_for", fail)
    leave(book, lot, 0, "late")
    assert revive(job, tiles) == 0.0
    assert book.notes == ["what jobs that were given up have left could not be looked at: no"]


def test_first_complete_attempt_is_taken(looked: list[str]) -> None:
    """Of several, in the order in which they are told; none of those that are not complete."""
    looks = [Look(attempt=number, prefix=str(number), outputs=("default",), job_id=None) for number in (3, 1, 2)]
    assert look_back(None, looks)[0] == 1  # type: ignore[arg-type]  # nobody looks at the bucket
    assert look_back(None, looks[:1]) == (None, Found())  # type: ignore[arg-type]  # so too
    assert looked == ["3", "1", "3"]


def warn(job: BuildJob, tiles: np.ndarray, lots: Sequence[Lot] | None = None) -> None:
    """With the lots that the book's jobs make."""
    assert job.book is not None
    warn_of_left_jobs(job, tiles, make_lots(job.plan, tiles, job.book.jobs) if lots is None else lots)


def test_paid_jobs_that_are_no_use_are_told_once(job: BuildJob, book: Book, lot: Lot, tiles: np.ndarray) -> None:
    """Both parts' jobs, and how many of their tiles are bought again."""
    leave(book, lot, 0, digest="another")
    leave(book, lot, 1, digest="another")
    warn(job, tiles)
    assert book.notes == [
        "2 jobs of an earlier run were paid for and do not hold what is needed now of 4 tiles: ordered again"
    ]


def test_jobs_that_are_used_or_not_paid_are_not_told(job: BuildJob, book: Book, lot: Lot, tiles: np.ndarray) -> None:
    """One that is taken up, one that nobody knows to be charged, and one that is stale."""
    leave(book, lot, 0)
    leave(book, lot, 1, digest="another", job_id=None)
    warn(job, tiles)
    book.fold.outdate(lot.tiles)
    warn(job, tiles)
    assert book.notes == []


def test_jobs_of_another_place_are_told_with_it(job: BuildJob, book: Book, lot: Lot, tiles: np.ndarray) -> None:
    """Whoever reads it can lead the next build there."""
    leave(book, lot, 0, url="s3://elsewhere/abc/t0")
    warn(job, tiles)
    assert book.notes[0].startswith(
        "1 jobs of an earlier run are paid for, deliver to s3://elsewhere/abc, and were not"
    )


def test_build_without_a_bucket_looks_for_nothing(job: BuildJob, book: Book, lot: Lot, tiles: np.ndarray) -> None:
    """What was given up is not asked for where nobody knows how to read it."""
    leave(book, lot, 0, "late")
    bare = replace(job, plan=replace(job.plan, delivery=None, routing=None))
    assert revive(bare, tiles) == 0.0
