"""What earlier runs have paid for, before this one pays: given-up attempts that have delivered, jobs that are no use.

Refuses to know how jobs are ordered and watched.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Sequence
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from shdask.assemble.job_rows import JobAccepted, JobEnd, JobRecord
from shdask.errors import ShdaskError
from shdask.fetch.bucket import Bucket
from shdask.jobs.attempts import look_into
from shdask.jobs.lots import Lot
from shdask.jobs.paid import is_here, part_of
from shdask.jobs.questions import look_back

if TYPE_CHECKING:
    from shdask.build import BuildJob, JobBook
    from shdask.plan.delivery_spec import DeliveryOptions

logger = logging.getLogger(__name__)

LEFT_BEHIND = (
    "{count} jobs of an earlier run are paid for, deliver to {urls}, and were not collected, for [delivery] does not "
    "lead there any more: their tiles were bought again"
)
UNFIT = (
    "{count} jobs of an earlier run were paid for and do not hold what is needed now of {tiles} tiles: ordered again"
)
REVIVED = "job {key}, attempt {attempt}, was given up ({end}) and has delivered after all; it is collected"


def open_bucket(delivery: DeliveryOptions) -> Bucket:
    """Where jobs deliver to, with this process's own keys. Raises WrongStore."""
    return Bucket.from_url(delivery.s3_url, endpoint_url=delivery.endpoint_url, region=delivery.region)


def revive(job: BuildJob, tiles: NDArray[np.intp]) -> float:
    """Look once more into the folders of attempts for ``tiles`` that were given up, and open those that have delivered.

    Returns processing units that are known to be spent by it. What cannot be looked at is told, and left.
    """
    book, delivery = job.book, job.plan.delivery
    if book is None or delivery is None:
        return 0.0
    todo = set(tiles.tolist())
    given_up = [
        [each for each in record.attempts if _is_worth_a_look(job, each, todo)]
        for record in book.jobs.values()
        if not record.is_open
    ]
    try:
        bucket = open_bucket(delivery) if any(given_up) else None
        return 0.0 if bucket is None else sum(_revive_one(job, book, bucket, attempts) for attempts in given_up)
    except ShdaskError as error:
        book.tell(f"what jobs that were given up have left could not be looked at: {error}")
        return 0.0


def _is_worth_a_look(job: BuildJob, attempt: JobRecord, todo: set[int]) -> bool:
    return attempt.may_yet_deliver and is_here(job.plan, attempt.intent) and not todo.isdisjoint(attempt.tiles)


def _revive_one(job: BuildJob, book: JobBook, bucket: Bucket, attempts: Sequence[JobRecord]) -> float:
    """Open the first of one job's attempts that has delivered."""
    parts = [(each, part_of(job.plan, each.intent)) for each in attempts]
    looks = [look_into(job.plan, each, part, bucket.url) for each, part in parts if part is not None]
    number, found = look_back(bucket, looks)
    attempt = next((each for each in attempts if each.intent.attempt == number), None)
    if attempt is None:
        return 0.0
    key, now, pu = attempt.intent.key, time.time(), 0.0
    if attempt.id is None:
        pu = attempt.intent.pu
        book.add_job(JobAccepted(key=key, attempt=attempt.intent.attempt, id=found.id or "", pu=pu, at=now))
    book.add_job(JobEnd(key=key, attempt=attempt.intent.attempt, end="done", at=now))
    book.tell(REVIVED.format(key=key, attempt=attempt.intent.attempt, end=attempt.end))
    return pu


def warn_of_left_jobs(job: BuildJob, tiles: NDArray[np.intp], lots: Sequence[Lot]) -> None:
    """Say which jobs are paid for and bring nothing to this run, though it buys their tiles."""
    if job.book is None:
        return
    paid = {tile for lot in lots if any(order.open for order in lot.orders) for tile in lot.tiles}
    bought = set(tiles.tolist()) - paid
    records = [each for each in job.book.jobs.values() if each.is_open and each.id is not None]
    left = [each for each in records if not bought.isdisjoint(each.tiles)]
    elsewhere = [each for each in left if not is_here(job.plan, each.intent)]
    unfit = [each for each in left if is_here(job.plan, each.intent)]
    if elsewhere:
        urls = ", ".join(sorted({each.intent.url.rpartition("/")[0] for each in elsewhere}))
        job.book.tell(LEFT_BEHIND.format(count=len(elsewhere), urls=urls))
    if unfit:
        lacking = bought & frozenset[int]().union(*(each.tiles for each in unfit))
        job.book.tell(UNFIT.format(count=len(unfit), tiles=len(lacking)))
