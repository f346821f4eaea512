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
    second = replace(INTENT, attempt=2)
    summary = fold(INTENT, second, ACCEPTED, FAILED)
    assert summary.jobs == {INTENT.key: JobRecord(intent=second)}
    assert summary.pu_spent == 13.0


@pytest.mark.parametrize("line", [forgotten_line([4]), reopened_line([4], 1)])
def test_job_of_given_up_tiles_is_stale(line: bytes) -> None:
    """Tiles that are to be bought anew are not made of what was delivered before."""
    assert fold(INTENT, ACCEPTED, line).jobs[INTENT.key].end == "stale"


def test_job_of_other_tiles_stays_open() -> None:
    """Tiles that the job does not bring are no matter of its."""
    assert fold(INTENT, ACCEPTED, forgotten_line([5])).jobs[INTENT.key].is_open


def test_row_that_is_cut_counts_as_unreadable() -> None:
    """A row that lacks members is passed over."""
    assert fold(json.dumps({"job": "a", "attempt": 1, "url": "s3://b/c"}).encode()).unreadable_rows == 1
