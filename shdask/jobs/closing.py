"""The end of jobs whose tiles are durable: said in the ledger, and, where asked for, their files deleted.

Refuses to know how jobs are ordered, watched and collected, and how files are deleted.
"""

from __future__ import annotations

import logging
import time
from collections.abc import Callable, Iterable
from dataclasses import astuple, dataclass
from functools import partial
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

from shdask.assemble.job_rows import EndKind, JobEnd, JobRecord
from shdask.assemble.ledger import read_ledger
from shdask.assemble.store import CubeStore, known_states
from shdask.errors import ShdaskError, StoreError
from shdask.jobs.adoption import open_bucket
from shdask.jobs.attempts import is_over
from shdask.jobs.cleaning import clean_up
from shdask.jobs.paid import is_here
from shdask.model import TileState

if TYPE_CHECKING:
    from shdask.build import BuildJob, JobBook
    from shdask.fetch.bucket import Bucket
    from shdask.jobs.collecting import EndedLot
    from shdask.plan.delivery_spec import DeliveryOptions
    from shdask.plan.group import GroupPlan

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class Cleanup:
    """Jobs whose files are being deleted."""

    keys: tuple[str, ...]


class Closing:
    """Ends the lots of a run as they become durable, in the caller's thread; deletes by way of ``send``."""

    def __init__(
        self, job: BuildJob, book: JobBook, bucket: Bucket, send: Callable[[Cleanup, Callable[[], object]], None]
    ) -> None:
        self._plan = job.plan
        self._cube = job.cube
        self._book = book
        self._bucket = bucket
        self._send = send

    def end_lot(self, ended: EndedLot) -> None:
        """The tiles of a lot are durable, or the files of some are of no use; those are bought another way.

        A job that holds something that is not durable, tiles that this run has no part in included, stays open.
        """
        records = [self._book.jobs[key] for key in ended.keys]
        delivered = [record for record in records if record.is_open]
        if ended.spoilt:
            tiles, why = ", ".join(map(str, sorted(ended.spoilt))), next(iter(ended.spoilt.values()))
            self._book.tell(
                f"what jobs {', '.join(ended.keys)} brought of tiles {tiles} cannot be used ({why}); Process is asked"
            )
        others = frozenset[int]().union(*(record.tiles for record in delivered)).difference(ended.lot.tiles)
        if others and not others <= read_done(self._plan, self._cube):
            logger.info("jobs %s hold more than this run wants; they are left open", ", ".join(ended.keys))
        elif ended.spoilt:
            _end(self._book, delivered, "failed", next(iter(ended.spoilt.values())))
        else:
            _end(self._book, delivered, "collected")
            if self._plan.delivery is not None and self._plan.delivery.cleanup:
                self._clean(ended)

    def _clean(self, ended: EndedLot) -> None:
        records = [self._book.jobs[key] for key in ended.keys]
        clean = partial(clean_up, self._cube, self._bucket, records, checksums=ended.checksums, empty=ended.empty)
        self._send(Cleanup(keys=ended.keys), clean)

    def hear(self, cleanup: Cleanup, *, is_over: bool, error: BaseException | None) -> None:
        """What came of a deletion."""
        if error is not None:
            self._book.tell(str(error))
        elif is_over:
            _end(self._book, [self._book.jobs[key] for key in cleanup.keys], "cleaned")


def _end(book: JobBook, records: Iterable[JobRecord], end: EndKind, text: str | None = None) -> None:
    for record in records:
        intent = record.intent
        book.add_job(JobEnd(key=intent.key, attempt=intent.attempt, end=end, text=text, at=time.time()))


def close_jobs(job: BuildJob) -> None:
    """End all jobs, of this run and those before it, whose tiles are durable however they came; clean up behind them.

    To be called once nothing is in flight. Raises StoreError where the ledger cannot be written; what cannot be deleted
    is told, and left to the next run.
    """
    book, delivery = job.book, job.plan.delivery
    if book is None or delivery is None:
        return
    here = [record for record in book.jobs.values() if is_here(job.plan, record.intent)]
    loose = [each for each in here if each.end != "cleaned" and (delivery.cleanup or each.is_open)]
    if not loose:
        return
    done = read_done(job.plan, job.cube)
    durable = [each for each in loose if frozenset[int]().union(*(one.tiles for one in each.attempts)) <= done]
    _end(book, [each for each in durable if each.is_open and is_over(each, time.time())], "collected")
    if delivery.cleanup:
        _clean_all(job, book, delivery, [book.jobs[each.intent.key] for each in durable])


def _clean_all(job: BuildJob, book: JobBook, delivery: DeliveryOptions, records: Iterable[JobRecord]) -> None:
    """Jobs for the same pixels together: what one tells of a tile without a checksum is only a part of it."""

    def pixels(record: JobRecord) -> tuple[int, ...]:
        window = record.intent.window
        return record.intent.tiles[0] // job.plan.tile_set.cell_count, *astuple(window)

    for _, some in groupby(sorted(records, key=pixels), key=pixels):
        lot = list(some)
        logger.info("cleaning up behind jobs %s", ", ".join(each.intent.key for each in lot))
        try:
            is_clean = clean_up(job.cube, open_bucket(delivery), lot)
        except ShdaskError as error:
            book.tell(str(error))
        else:
            _end(book, lot if is_clean else [], "cleaned")


def read_done(plan: GroupPlan, cube: CubeStore) -> set[int]:
    """Indices of tiles that are written or empty; none where the store does not answer, which only leaves jobs open."""
    try:
        states = known_states(plan, cube, read_ledger(cube.place))
    except StoreError as error:
        logger.warning("which tiles are durable is not known: %s", error)
        return set()
    return set(np.flatnonzero((states == TileState.WRITTEN) | (states == TileState.EMPTY)).tolist())
