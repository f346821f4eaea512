"""A ledger that only keeps what it is told, and jobs as earlier runs left them in it.

Refuses to judge; tests do.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass, field, replace
from typing import Any

from shdask.assemble.job_rows import JobAccepted, JobEnd, JobFold, JobIntent, JobRecord, JobRow, job_line
from shdask.jobs.lots import Lot
from shdask.plan.group import GroupPlan


@dataclass
class Book:
    """A `JobBook` in memory."""

    rows: list[JobRow] = field(default_factory=list)
    notes: list[str] = field(default_factory=list)
    fold: JobFold = field(default_factory=JobFold)

    @property
    def jobs(self) -> dict[str, JobRecord]:
        """As `JobBook.jobs`."""
        return self.fold.records

    def add_job(self, row: JobRow) -> None:
        """As `JobBook.add_job`."""
        self.rows.append(row)
        self.fold.add(json.loads(job_line(row)))

    def take_up(self, tiles: Sequence[int]) -> None:
        """As `JobBook.take_up`."""

    def tell(self, note: str) -> None:
        """As `JobBook.tell`."""
        self.notes.append(note)

    @property
    def ends(self) -> list[str]:
        """What became of jobs, in order."""
        return [row.end for row in self.rows if isinstance(row, JobEnd)]

    @property
    def intents(self) -> list[JobIntent]:
        """What may have been ordered, in order."""
        return [row for row in self.rows if isinstance(row, JobIntent)]


def leave(book: Book, lot: Lot, part: int, *ends: str, job_id: str | None = "x", **changes: Any) -> JobIntent:
    """An earlier run's job for a lot in the book: ordered, accepted unless its id is None, and what became of it."""
    order = lot.orders[part]
    attempt = changes.pop("attempt", 1)
    intent = JobIntent(
        key=order.job.key,
        attempt=attempt,
        url=f"s3://bucket/cubes/abc/{order.job.key}-{attempt}-ff",
        window=lot.window,
        tiles=lot.tiles,
        pu=10.0,
        digest=order.digest,
        at=0.0,
    )
    intent = replace(intent, **changes)
    book.add_job(intent)
    if job_id is not None:
        book.add_job(JobAccepted(key=intent.key, attempt=attempt, id=job_id, pu=10.0, at=1.0))
    for end in ends:
        book.add_job(JobEnd(key=intent.key, attempt=attempt, end=end, at=2.0))
    return intent


def with_cleanup(plan: GroupPlan) -> GroupPlan:
    """The same plan, whose builds clean up behind themselves."""
    assert plan.delivery is not None
    return replace(plan, delivery=plan.delivery.model_copy(update={"cleanup": True}))
