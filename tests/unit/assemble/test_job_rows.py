"""Rows of jobs: written, read back, folded."""

from __future__ import annotations

import json
from dataclasses import replace

import pytest

from shdask.assemble.job_rows import JobAccepted, JobEnd, JobIntent, JobRecord, JobRow, job_line
from shdask.assemble.rows import Fold, LedgerSummary, forgotten_line, read_rows, reopened_line
from shdask.model import Window

INTENT = JobIntent(
    key="t0-r0-c0-p0",
    attempt=1,
    url="s3://bucket/cube/t0-r0-c0-p0-1-abcd",
    window=Window(y0=0, y1=10, x0=5, x1=20),
    tiles=(3, 4),
    pu=12.5,
    digest="d",
    at=100.0,
)
ACCEPTED = JobAccepted(key=INTENT.key, attempt=1, id="x", pu=13.0, at=101.0)
DONE = JobEnd(key=INTENT.key, attempt=1, end="done", at=102.0)
SECOND = replace(INTENT, attempt=2)
FAILED = JobEnd(key=INTENT.key, attempt=1, end="failed", at=102.0, text="no")


def fold(*rows: JobRow | bytes) -> LedgerSummary:
    """What these rows say together."""
    lines = [row if isinstance(row, bytes) else job_line(row) for row in rows]
    found = Fold()
    found.add(read_rows(lines))
    return found.summary()


def test_intent_is_known_without_an_id() -> None:
    """A job that may have been ordered is open, and has cost nothing that is known."""
    summary = fold(INTENT)
    assert summary.jobs == {INTENT.key: JobRecord(intent=INTENT)}
    assert summary.jobs[INTENT.key].is_open
    assert summary.pu_spent == 0.0


def test_accepted_job_is_spent() -> None:
    """Its units count from when it was accepted."""
    summary = fold(INTENT, ACCEPTED)
    assert summary.jobs == {INTENT.key: JobRecord(intent=INTENT, id="x", pu=13.0)}
    assert summary.pu_spent == 13.0


def test_delivered_job_is_open_until_collected() -> None:
    """Done is not the end: its tiles must be durable."""
    assert fold(INTENT, ACCEPTED, DONE).jobs[INTENT.key].is_open
    assert not fold(INTENT, ACCEPTED, DONE, replace(DONE, end="collected")).jobs[INTENT.key].is_open


def test_failed_job_has_its_reason() -> None:
    """It is closed, and still spent."""
    summary = fold(INTENT, ACCEPTED, FAILED)
    assert (summary.jobs[INTENT.key].end, summary.jobs[INTENT.key].text) == ("failed", "no")
    assert summary.pu_spent == 13.0


def test_rows_of_an_earlier_attempt_change_nothing_but_the_sum() -> None:
    """What comes of an attempt that was replaced is spent, and says nothing of the one that is out."""
    summary = fold(INTENT, SECOND, ACCEPTED, FAILED)
    first = JobRecord(intent=INTENT, id="x", pu=13.0, end="failed", text="no")
    assert summary.jobs == {INTENT.key: JobRecord(intent=SECOND, earlier=(first,))}
    assert (summary.pu_spent, summary.jobs[INTENT.key].next_attempt) == (13.0, 3)


def test_earlier_attempt_that_has_delivered_after_all_takes_the_first_place() -> None:
    """The other one is not forgotten, nor its number used again."""
    late = replace(FAILED, end="late")
    record = fold(INTENT, ACCEPTED, late, SECOND, replace(FAILED, attempt=2), DONE).jobs[INTENT.key]
    assert (record.intent, record.id, record.end, record.is_open) == (INTENT, "x", "done", True)
    assert [each.intent for each in record.earlier] == [SECOND]
    assert record.next_attempt == 3


def test_nothing_is_looked_for_of_what_was_cleaned() -> None:
    """A job that is ordered anew after all was deleted has no earlier attempts, and yet another number."""
    cleaned = replace(DONE, end="cleaned")
    record = fold(INTENT, ACCEPTED, DONE, cleaned, SECOND).jobs[INTENT.key]
    assert (record.earlier, record.next_attempt) == ((), 3)
    assert not fold(INTENT, cleaned).jobs[INTENT.key].is_open


@pytest.mark.parametrize(
    ("end", "hope"), [("late", True), ("lost", True), ("vanished", True), ("nothing", True), ("failed", False),
                      ("refused", False), ("collected", False), ("stale", False)],
)  # fmt: skip  # a list
def test_some_ends_leave_hope(end: str, hope: bool) -> None:
    """A job of which nothing came may deliver yet; one that has said why it failed, or was not taken, does not."""
    assert fold(INTENT, ACCEPTED, replace(DONE, end=end)).jobs[INTENT.key].may_yet_deliver is hope


def test_tile_that_is_given_up_is_stale_alone() -> None:
    """It is not made of what was delivered before; the other tiles of the job are."""
    record = fold(INTENT, ACCEPTED, DONE, forgotten_line([4])).jobs[INTENT.key]
    assert (record.is_open, record.tiles) == (True, {3})


@pytest.mark.parametrize("end", ["done", "late"])
def test_job_of_given_up_tiles_is_stale(end: str) -> None:
    """One of whose tiles none is wanted from it any more is closed, and not looked for."""
    record = fold(INTENT, ACCEPTED, replace(DONE, end=end), forgotten_line([4]), forgotten_line([3])).jobs[INTENT.key]
    assert (record.end, record.is_open, record.may_yet_deliver) == ("stale", False, False)


def test_tile_that_lacks_pixels_is_not_stale() -> None:
    """What an area gains says nothing against pixels that are paid for."""
    assert fold(INTENT, ACCEPTED, reopened_line([4], 1)).jobs[INTENT.key].tiles == {3, 4}


def test_job_of_other_tiles_stays_open() -> None:
    """Tiles that the job does not bring are no matter of its."""
    assert fold(INTENT, ACCEPTED, forgotten_line([5])).jobs[INTENT.key].is_open


def test_row_that_is_cut_counts_as_unreadable() -> None:
    """A row that lacks members is passed over."""
    assert fold(json.dumps({"job": "a", "attempt": 1, "url": "s3://b/c"}).encode()).unreadable_rows == 1


def test_what_was_accepted_stays_spent() -> None:
    """A job that is ordered anew has cost what each of its attempts has."""
    rows = (INTENT, ACCEPTED, replace(FAILED, end="vanished"), SECOND, replace(ACCEPTED, attempt=2))
    summary = fold(*rows, replace(DONE, attempt=2, end="cleaned"), replace(INTENT, attempt=3))
    assert (summary.jobs_pu, summary.jobs_unsure_pu) == (26.0, 12.5)


@pytest.mark.parametrize(("end", "pu"), [("lost", 12.5), ("refused", 0.0)])
def test_order_without_an_answer_may_be_spent(end: str, pu: float) -> None:
    """It counts until it is known not to have been accepted."""
    summary = fold(INTENT, replace(DONE, end=end), SECOND)
    assert (summary.jobs_pu, summary.jobs_unsure_pu) == (0.0, 12.5 + pu)
