"""The jobs of a run in its owner's hands: each intent and id is durable before the next thing is done for it.

Refuses to know what is made of files, how questions are asked over the wire, and how lots end.
"""

from __future__ import annotations

import logging
import random
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from functools import partial
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from shdask.assemble.job_rows import EndKind, JobAccepted, JobEnd, JobIntent, JobRecord
from shdask.errors import (
    BudgetExceeded,
    BuildError,
    JobDeliveredNothing,
    JobError,
    JobFailed,
    JobQueueFull,
    JobSubmitLost,
    JobTooLate,
    JobVanished,
    ShdaskError,
)
from shdask.fetch.async_process import poll_job
from shdask.fetch.bucket import Bucket
from shdask.fetch.budget import Uncapped
from shdask.fetch.delivery import Found
from shdask.jobs.adoption import REVIVED, open_bucket
from shdask.jobs.attempts import folder_of, hopeful, look_into, name_folder
from shdask.jobs.closing import Cleanup, Closing
from shdask.jobs.collecting import EndedLot
from shdask.jobs.courier import Courier
from shdask.jobs.deliveries import Delivery
from shdask.jobs.desk import Ask, Ending, Errand, JobDesk, Stage, Trace
from shdask.jobs.lot_board import LotBoard
from shdask.jobs.lots import Lot, Order
from shdask.jobs.paid import is_here
from shdask.jobs.purse import Purse
from shdask.jobs.questions import look_back, look_for, order_job
from shdask.s3_access import S3Keys

if TYPE_CHECKING:
    from shdask.build import Account, BuildJob, JobBook

logger = logging.getLogger(__name__)

ENDS: Mapping[EndKind, type[JobError]] = MappingProxyType({
    "failed": JobFailed,
    "vanished": JobVanished,
    "nothing": JobDeliveredNothing,
    "late": JobTooLate,
    "lost": JobSubmitLost,
})  # fmt: skip  # a list
"""What an attempt's end is called where people read of it."""
MAX_VANISHED = 3
"""So many jobs in a row of which nothing came, and the service cannot write to the bucket."""
BUSY_S = 30.0
"""After an order that the service would not take just now."""
_GONE = "it had delivered, and its files are not there any more"
_TRACELESS = (
    "of {count} jobs nothing came to {url}, not even a copy of the request: the service cannot write there. Allow it "
    "to (keys, role, region of the bucket), then build again"
)


class Ordering:
    """Orders, watches and adopts the jobs of some lots; all but asking happens in the caller's thread."""

    def __init__(self, job: BuildJob, lots: Sequence[Lot], account: Account, book: JobBook, bucket: Bucket) -> None:
        self.fatal: ShdaskError | None = None
        self.bucket = bucket
        self.is_held = False
        """Whether nothing is ordered just now."""
        self.purse = Purse(max_pu=job.max_pu)
        self._plan = job.plan
        self._cube_name = job.cube.place.name
        self._service = account.service
        self._book = book
        self._orders: dict[str, Order] = {order.job.key: order for lot in lots for order in lot.orders}
        self._desk = JobDesk(patience=account.patience, luck=random.random)
        self.stages = self._desk.stages
        self._lots = LotBoard(lots, self._desk)
        self._courier: Courier[Errand | Cleanup] = Courier()
        self._closing = Closing(job, book, bucket, self._courier.send)
        self._found: dict[str, Found] = {}
        self._in_a_row = 0
        """Attempts of this run of which nothing came, since something of one did."""
        self._silent_since: float | None = None
        """Since when the bucket has answered no look; None where it has answered the last."""
        self._trouble = ""
        """What service or bucket last said instead of an answer."""

    @classmethod
    def open(cls, job: BuildJob, lots: Sequence[Lot], account: Account) -> Ordering:
        """The jobs of ``lots``, none of them ordered yet. Raises ValueError where the plan has no place for them."""
        delivery, book = job.plan.delivery, job.book
        if delivery is None or book is None:
            raise ValueError("jobs need a place to deliver to, and a ledger")
        return cls(job, lots, account, book, open_bucket(delivery))

    def begin(self) -> None:
        """Take up what earlier runs ordered, and look whether jobs can deliver. Raises WrongStore, SettingsError."""
        now, posix = time.monotonic(), time.time()
        for key, order in self._orders.items():
            if order.open is None:
                self._desk.add(key, now, attempt=order.next_attempt, looks_back=bool(self._past(key)))
            else:
                self._adopt(key, order.open, now, age_s=max(0.0, posix - order.open.intent.at))
        delivery = self._plan.delivery
        if delivery is not None:
            lends_keys = bool(self._desk.count(Stage.WAITS)) and delivery.iam_role_arn is None
            if lends_keys:
                S3Keys.load()
            self.bucket.preflight(writes=lends_keys, deletes=delivery.cleanup)

    def _adopt(self, key: str, record: JobRecord, now: float, *, age_s: float) -> None:
        self._desk.adopt(
            key,
            now,
            attempt=record.intent.attempt,
            job_id=record.id,
            age_s=age_s,
            is_done=record.end == "done",
            next_attempt=record.next_attempt,
        )
        if record.id is None:
            self.purse.spent_pu += record.intent.pu  # it may have been charged
        known = "is looked for" if record.id is None else f"is taken up as {record.id}"
        logger.info("job %s of an earlier run %s", key, known)

    def step(self, timeout_s: float) -> None:
        """Take the answers that have come, waiting so long for the first, and ask what is due."""
        self._send()
        for answer in self._courier.take(timeout_s):
            if answer.error is not None and not isinstance(answer.error, ShdaskError):
                raise answer.error
            if isinstance(answer.tag, Cleanup):
                self._closing.hear(answer.tag, is_over=bool(answer.value), error=answer.error)
            else:
                self._hear(answer.tag, answer.value, answer.error)
        self._send()

    def _send(self) -> None:
        stopped, self._desk.stopped = self._desk.stopped, self._desk.stopped or self.is_held
        errands = self._desk.next(time.monotonic())
        self._desk.stopped = stopped
        for errand in errands:
            if errand.ask is Ask.ORDER:
                self._order(errand)
            elif errand.ask is Ask.POLL:
                job_id = self._desk.jobs[errand.key].id or ""
                self._courier.send(errand, partial(poll_job, self._service, job_id))
            elif errand.ask is Ask.LOOK:
                part = self._orders[errand.key].job.part
                look = look_into(self._plan, self._book.jobs[errand.key], part, self.bucket.url)
                self._courier.send(errand, partial(look_for, self.bucket, look))
            else:
                self._look_back(errand)

    def _look_back(self, errand: Errand) -> None:
        part = self._orders[errand.key].job.part
        looks = [look_into(self._plan, each, part, self.bucket.url) for each in self._past(errand.key)]
        if looks:
            self._courier.send(errand, partial(look_back, self.bucket, looks))
        else:
            self._desk.looked_back(errand.key, time.monotonic(), None)

    def _past(self, key: str) -> list[JobRecord]:
        """Attempts of a job that were given up and may have delivered here all the same."""
        record, order = self._book.jobs.get(key), self._orders[key]
        past = [] if record is None else hopeful(record.attempts, order.job, order.digest)
        return [each for each in past if is_here(self._plan, each.intent)]

    def _order(self, errand: Errand) -> None:
        """Send an order, if the cap allows, once its intent is durable."""
        job = self._orders[errand.key].job
        try:
            self.purse.promise(job.pu)  # nobody else is promised it meanwhile
        except BudgetExceeded as error:
            self._desk.withdraw(errand.key, time.monotonic(), wait_s=0.0)
            self.fatal = self.fatal or error
            self.stop()
            return
        self._book.add_job(self._intent(errand))
        prefix = folder_of(self._book.jobs[errand.key].intent, self.bucket.url)
        service = self._service.under(Uncapped(), before_send=self._refuse_after_the_end)
        self._courier.send(errand, partial(order_job, self._plan, job, prefix, service))

    def _intent(self, errand: Errand) -> JobIntent:
        order = self._orders[errand.key]
        prefix = name_folder(self._cube_name, errand.key, errand.attempt)
        return JobIntent(
            key=errand.key,
            attempt=errand.attempt,
            url=f"{self.bucket.url}/{prefix}",
            window=order.job.window,
            tiles=order.job.tiles,
            pu=order.job.pu,
            digest=order.digest,
            at=time.time(),
        )

    def _refuse_after_the_end(self) -> None:
        """Raise BuildError once nobody would hear of the order; called in the courier's thread."""
        if self._courier.is_over:
            raise BuildError("the build has ended without this job")

    def _hear(self, errand: Errand, value: Any, error: ShdaskError | None) -> None:
        now, key = time.monotonic(), errand.key
        if errand.ask is Ask.ORDER:
            self._hear_of_order(errand, value, error, now)
        elif error is not None:
            self._trouble = str(error)
            self._desk.unanswered(key, now)
            self._judge(error)
            if errand.ask is not Ask.POLL:
                self._bear_silence(error, now)
        elif errand.ask is Ask.POLL:
            self._conclude(errand, self._desk.polled(key, now, is_alive=bool(value)))
        elif errand.ask is Ask.LOOK:
            self._silent_since = None
            self._hear_of_files(errand, value, now)
        else:
            self._silent_since = None
            self._hear_of_the_past(errand, value, now)

    def _bear_silence(self, error: ShdaskError, now: float) -> None:
        """Give up on a bucket that has not answered for too long: nothing else ends such waits."""
        if self._silent_since is None:
            self._silent_since = now
        if now - self._silent_since > self._desk.patience.silent_s and self.fatal is None:
            self.fatal = error

    def _hear_of_order(self, errand: Errand, value: Any, error: ShdaskError | None, now: float) -> None:
        key, promised = errand.key, self._orders[errand.key].job.pu
        if error is None:
            job_id, pu = value
            self.purse.settle(promised, pu)
            self._accept(errand, job_id, pu)
            self._desk.accepted(key, job_id, now)
        elif isinstance(error, JobSubmitLost):
            logger.warning("job %s: %s; it is looked for in the bucket", key, error)
            self._desk.lost(key, now)  # and stays as spent: it may have been charged
        elif isinstance(error, JobQueueFull):
            self.purse.settle(promised, 0.0)
            # at once: what is killed now leaves nothing that the next run would take for paid
            self._end(errand, Ending(end="refused", text="too many jobs run"))
            self._desk.full(key, now, retry_after_s=error.retry_after_s)
            for each, job in self._desk.jobs.items():
                if job.stage is Stage.WAITS and self._past(each):
                    job.looks_back = True  # it may have delivered when there is a place
        else:
            self.purse.settle(promised, 0.0)
            self._conclude(errand, self._desk.refused(key, now, str(error)))
            self._desk.jobs[key].due += BUSY_S
            self._judge(error)

    def _hear_of_files(self, errand: Errand, found: Found, now: float) -> None:
        key = errand.key
        was_lost = self._desk.jobs[key].stage is Stage.SOUGHT and found.id is not None
        ending = self._desk.looked(key, now, Trace(id=found.id, complete=found.complete, error=found.error))
        self._found[key] = found
        if found.id is not None:
            self._in_a_row = 0
        if was_lost:
            self._accept(errand, found.id or "", self._book.jobs[key].intent.pu)
            self._book.tell(f"job {key} was found in the bucket by its id {found.id}, though the answer to its order "
                            f"was lost; it was not ordered again")  # fmt: skip
        self._conclude(errand, ending)

    def _hear_of_the_past(self, errand: Errand, value: tuple[int | None, Found], now: float) -> None:
        """Take an attempt that was given up and has delivered after all in the place of another order."""
        attempt, found = value
        self._desk.looked_back(errand.key, now, attempt)
        record = self._attempt(errand.key, attempt)
        if record is None:
            return
        again = Errand(ask=Ask.LOOK, key=errand.key, attempt=record.intent.attempt)
        if record.id is None:  # its price counts as spent since it was lost
            self._accept(again, found.id or "", record.intent.pu)
        self._found[errand.key] = found
        self._end(again, Ending(end="done"))
        self._book.tell(REVIVED.format(key=errand.key, attempt=again.attempt, end=record.end))

    def _attempt(self, key: str, attempt: int | None) -> JobRecord | None:
        return next((each for each in self._book.jobs[key].attempts if each.intent.attempt == attempt), None)

    def _accept(self, errand: Errand, job_id: str, pu: float) -> None:
        self._book.add_job(JobAccepted(key=errand.key, attempt=errand.attempt, id=job_id, pu=pu, at=time.time()))

    def _conclude(self, errand: Errand, ending: Ending | None) -> None:
        """Make an attempt's end durable, and say what comes of it."""
        if ending is None:
            return
        record = self._attempt(errand.key, errand.attempt)
        if record is not None and record.end == "done" and ending.end in {"vanished", "nothing"}:
            ending = replace(ending, text=_GONE)
        self._end(errand, ending)
        if ending.end == "done":
            return
        job = self._desk.jobs[errand.key]
        then = "it is ordered again" if job.stage is Stage.WAITS else "its tiles are bought by Process"
        kind = ENDS.get(ending.end, JobFailed).__name__
        self._book.tell(f"job {errand.key}, attempt {errand.attempt}: {kind}: {ending.text}; {then}")
        self._in_a_row += ending.end == "vanished" and job.orders > 0  # what others ordered tells nothing of now
        if self._in_a_row >= MAX_VANISHED and self.fatal is None:
            self.fatal = JobVanished(_TRACELESS.format(count=self._in_a_row, url=self.bucket.url))

    def _end(self, errand: Errand, ending: Ending) -> None:
        self._book.add_job(
            JobEnd(key=errand.key, attempt=errand.attempt, end=ending.end, text=ending.text, at=time.time())
        )

    def _judge(self, error: ShdaskError) -> None:
        if error.stops_build and not error.retryable and self.fatal is None:
            self.fatal = error

    def take_delivered(self) -> Iterator[tuple[Lot, Delivery]]:
        """Lots of whose jobs each has delivered or is not to be had, and one at least has, each once."""
        parts = range(len(self._plan.layer.parts))
        for lot, keys in self._lots.take(delivered=True):
            files = {self._orders[key].job.part: self._found[key].keys for key in keys}
            yield (
                lot,
                Delivery(
                    bucket=self.bucket,
                    window=lot.window,
                    files=tuple(files.get(part, {}) for part in parts),
                    first_tile=lot.tiles[0],
                ),
            )

    def take_given_up(self) -> Iterator[Lot]:
        """Lots of which no job is to be had, each once."""
        return (lot for lot, _ in self._lots.take(delivered=False))

    def end_lot(self, ended: EndedLot) -> None:
        """The tiles of a lot are durable, or the files of some are of no use."""
        self._closing.end_lot(ended)

    def stop(self) -> None:
        """Order nothing more."""
        self._desk.stopped = True

    @property
    def is_quiet(self) -> bool:
        """Whether no answer is on its way."""
        return self._courier.is_idle

    @property
    def has_work(self) -> bool:
        """Whether a lot that was not taken may yet be."""
        return self._lots.has_work

    def waiting_for(self) -> str:
        """What the jobs are at, in a few words; empty where there is none."""
        desk = self._desk
        counts = {
            "running": desk.count(Stage.RUNS, Stage.ENDED),
            "looked for": desk.count(Stage.SOUGHT, Stage.DOUBTED),
            "being ordered": desk.count(Stage.ORDERED),
            "to be ordered": desk.count(Stage.WAITS),
        }
        texts = [f"{count} {name}" for name, count in counts.items() if count]
        place = "" if desk.full_at is None else f", the account takes {desk.full_at} at once"
        trouble = f" ({self._trouble})" if self._trouble else ""
        return f"jobs: {', '.join(texts)}{place}{trouble}" if texts else ""

    def close(self) -> None:
        """Ask nothing more."""
        self._courier.close()
