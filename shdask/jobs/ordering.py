"""The jobs of a run in its owner's hands: each intent and id is durable before the next thing is done for it.

Refuses to know what is made of files, and how questions are asked over the wire.
"""

from __future__ import annotations

import hashlib
import logging
import random
import secrets
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
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
from shdask.fetch.budget import Uncapped, fits
from shdask.fetch.delivery import Found, find_delivery
from shdask.jobs.closing import paid_tiles, read_checksums, read_done
from shdask.jobs.collecting import EndedLot
from shdask.jobs.courier import Courier
from shdask.jobs.deliveries import Delivery
from shdask.jobs.desk import ALIVE, Ask, Ending, Errand, JobDesk, Stage, Trace
from shdask.jobs.lots import Lot, Order
from shdask.jobs.questions import clean_up, order_job
from shdask.s3_access import S3Keys

if TYPE_CHECKING:
    from shdask.build import Account, BuildJob, JobBook
    from shdask.plan.delivery_spec import DeliveryOptions

logger = logging.getLogger(__name__)

KEY_CHARS = 12
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
_TRACELESS = (
    "of {count} jobs nothing came to {url}, not even a copy of the request: the service cannot write there. Allow it "
    "to (keys, role, region of the bucket), then build again"
)


@dataclass(slots=True, kw_only=True)
class _Lot:
    """A lot on its way."""

    lot: Lot
    is_taken: bool = False
    """Collected, being collected, or bought another way."""


class _WhileOpen(Uncapped):
    """A Budget without a cap that promises nothing once nobody would hear of the order."""

    def __init__(self, courier: Courier[Errand | None]) -> None:
        self._courier = courier

    def reserve(self, pu: float) -> int | None:
        """As `Budget.reserve`, after any wait for a permit or another try; raises BuildError once all is over."""
        if self._courier.is_over:
            raise BuildError("the build has ended without this job")
        return super().reserve(pu)


class Ordering:
    """Orders, watches and adopts the jobs of some lots; all but asking happens in the caller's thread."""

    def __init__(self, job: BuildJob, lots: Sequence[Lot], account: Account, book: JobBook, bucket: Bucket) -> None:
        self.fatal: ShdaskError | None = None
        self.bucket = bucket
        self.is_held = False
        """Whether nothing is ordered just now."""
        self._plan = job.plan
        self._cube = job.cube
        self._service = account.service
        self._book = book
        self._max_pu = job.max_pu
        self._spent_pu = 0.0
        self._lots = [_Lot(lot=lot) for lot in lots]
        self._lot_of = {order.job.key: each for each in self._lots for order in each.lot.orders}
        self._orders: dict[str, Order] = {order.job.key: order for lot in lots for order in lot.orders}
        self._desk = JobDesk(patience=account.patience, luck=random.random)
        self._courier: Courier[Errand | None] = Courier()
        self._prefixes: dict[str, list[str]] = {}
        """Where each job's attempts deliver, below the bucket's place; the last is the one that counts."""
        self._found: dict[str, Found] = {}
        self._folder = hashlib.sha256(job.cube.place.name.encode()).hexdigest()[:KEY_CHARS]
        self._in_a_row = 0
        """Attempts of which nothing came, since something of one did."""
        self._trouble = ""
        """What service or bucket last said instead of an answer."""

    @classmethod
    def open(cls, job: BuildJob, lots: Sequence[Lot], account: Account) -> Ordering:
        """The jobs of ``lots``, none of them ordered yet. Raises ValueError where the plan has no place for them."""
        delivery, book = job.plan.delivery, job.book
        if delivery is None or book is None:
            raise ValueError("jobs need a place to deliver to, and a ledger")
        return cls(job, lots, account, book, _open_bucket(delivery))

    @property
    def _delivery(self) -> DeliveryOptions:
        if self._plan.delivery is None:
            raise ValueError("a plan without a delivery has no jobs")
        return self._plan.delivery

    def begin(self) -> None:
        """Take up what earlier runs ordered, and look whether jobs can deliver. Raises WrongStore, SettingsError."""
        now, posix = time.monotonic(), time.time()
        for key, order in self._orders.items():
            if order.open is None:
                self._desk.add(key, now, attempt=order.next_attempt)
            else:
                self._adopt(key, order.open, now, age_s=max(0.0, posix - order.open.intent.at))
        if self._desk.count(Stage.WAITS):
            has_role = self._delivery.iam_role_arn is not None
            if not has_role:
                S3Keys.load()
            self.bucket.preflight(writes=not has_role, deletes=self._delivery.cleanup)

    def _adopt(self, key: str, record: JobRecord, now: float, *, age_s: float) -> None:
        self._prefixes[key] = [record.intent.url.removeprefix(f"{self.bucket.url}/")]
        self._desk.adopt(
            key,
            now,
            attempt=record.intent.attempt,
            job_id=record.id,
            age_s=age_s,
            is_done=record.end == "done",
        )
        known = "is looked for" if record.id is None else f"is taken up as {record.id}"
        logger.info("job %s of an earlier run %s", key, known)

    def step(self, timeout_s: float) -> None:
        """Take the answers that have come, waiting so long for the first, and ask what is due."""
        self._send()
        for answer in self._courier.take(timeout_s):
            if answer.error is not None and not isinstance(answer.error, ShdaskError):
                raise answer.error
            if answer.tag is not None:
                self._hear(answer.tag, answer.value, answer.error)
            elif answer.error is not None:
                self._book.tell(str(answer.error))
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
            else:
                self._courier.send(errand, self._look(errand.key))

    def _look(self, key: str) -> Callable[[], Found]:
        part = self._plan.layer.parts[self._orders[key].job.part]
        outputs = [picture.identifier for picture in part.pictures]
        job_id = self._desk.jobs[key].id
        return partial(find_delivery, self.bucket, self._prefixes[key][-1], outputs, job_id=job_id)

    def _order(self, errand: Errand) -> None:
        """Send an order, if the cap allows, once its intent is durable."""
        order, now = self._orders[errand.key], time.monotonic()
        job = order.job
        if not fits(self._spent_pu + job.pu, self._max_pu):
            self._desk.withdraw(errand.key, now, wait_s=0.0)
            self._desk.stopped = True
            self.fatal = self.fatal or BudgetExceeded(
                f"the next job costs {job.pu:.4g} PU, and {self._spent_pu:.4g} of max_pu {self._max_pu:g} are spent or "
                f"may have been; it was not sent"
            )
            return
        prefix = f"{self._folder}/{errand.key}-{errand.attempt}-{secrets.token_hex(4)}"
        intent = JobIntent(
            key=errand.key,
            attempt=errand.attempt,
            url=f"{self.bucket.url}/{prefix}",
            window=job.window,
            tiles=job.tiles,
            pu=job.pu,
            digest=order.digest,
            at=time.time(),
        )
        self._prefixes.setdefault(errand.key, []).append(prefix)
        self._book.add_job(intent)
        self._spent_pu += job.pu  # nobody else is promised it meanwhile
        service = self._service.under(_WhileOpen(self._courier))
        self._courier.send(errand, partial(order_job, self._plan, job, prefix, service))

    def _hear(self, errand: Errand, value: Any, error: ShdaskError | None) -> None:
        now, key = time.monotonic(), errand.key
        if errand.ask is Ask.ORDER:
            self._hear_of_order(errand, value, error, now)
        elif error is not None:
            self._trouble = str(error)
            self._desk.unanswered(key, now)
            self._judge(error)
        elif errand.ask is Ask.POLL:
            self._conclude(errand, self._desk.polled(key, now, is_alive=bool(value)))
        else:
            self._hear_of_files(errand, value, now)

    def _hear_of_order(self, errand: Errand, value: Any, error: ShdaskError | None, now: float) -> None:
        key = errand.key
        self._spent_pu -= self._orders[key].job.pu  # as promised; what became of it counts from here
        if error is None:
            job_id, pu = value
            self._spent_pu += pu
            self._accept(errand, job_id, pu)
            self._desk.accepted(key, job_id, now)
        elif isinstance(error, JobQueueFull):
            self._end(errand, Ending(end="refused", text="too many jobs run"))
            self._desk.full(key, now, retry_after_s=error.retry_after_s)
            self._desk.jobs[key].attempt += 1
        elif isinstance(error, JobSubmitLost):
            logger.warning("job %s: %s; it is looked for in the bucket", key, error)
            self._spent_pu += self._orders[key].job.pu  # it may have been charged
            self._desk.lost(key, now)
        else:
            self._conclude(errand, self._desk.refused(key, now, str(error)))
            self._desk.jobs[key].due += BUSY_S
            self._judge(error)

    def _hear_of_files(self, errand: Errand, found: Found, now: float) -> None:
        key = errand.key
        job = self._desk.jobs[key]
        was_lost = job.stage is Stage.SOUGHT and found.id is not None
        ending = self._desk.looked(key, now, Trace(id=found.id, complete=found.complete, error=found.error))
        self._found[key] = found
        if found.id is not None:
            self._in_a_row = 0
        if was_lost:
            self._accept(errand, found.id or "", self._orders[key].job.pu)
            self._book.tell(f"job {key} was found in the bucket by its id {found.id}, though the answer to its order "
                            f"was lost; it was not ordered again")  # fmt: skip
        self._conclude(errand, ending)

    def _accept(self, errand: Errand, job_id: str, pu: float) -> None:
        self._book.add_job(JobAccepted(key=errand.key, attempt=errand.attempt, id=job_id, pu=pu, at=time.time()))

    def _conclude(self, errand: Errand, ending: Ending | None) -> None:
        """Make an attempt's end durable, and say what comes of it."""
        if ending is None:
            return
        self._end(errand, ending)
        if ending.end in {"done", "collected"}:
            return
        job = self._desk.jobs[errand.key]
        then = "it is ordered again" if job.stage is Stage.WAITS else "its tiles are bought by Process"
        kind = ENDS.get(ending.end, JobFailed).__name__
        self._book.tell(f"job {errand.key}, attempt {errand.attempt}: {kind}: {ending.text}; {then}")
        self._in_a_row += ending.end == "vanished"
        if self._in_a_row >= MAX_VANISHED and self.fatal is None:
            self.fatal = JobVanished(_TRACELESS.format(count=self._in_a_row, url=self.bucket.url))
        if job.stage is Stage.GIVEN_UP:
            for order in self._lot_of[errand.key].lot.orders:
                self._desk.drop(order.job.key)

    def _end(self, errand: Errand, ending: Ending) -> None:
        self._book.add_job(
            JobEnd(key=errand.key, attempt=errand.attempt, end=ending.end, text=ending.text, at=time.time())
        )

    def _judge(self, error: ShdaskError) -> None:
        if error.stops_build and not error.retryable and self.fatal is None:
            self.fatal = error

    def take_delivered(self) -> Iterator[tuple[Lot, Delivery]]:
        """Lots whose jobs have all delivered, each once."""
        for each in self._lots:
            if not each.is_taken and set(self._stages(each.lot)) == {Stage.DONE}:
                each.is_taken = True
                files = tuple(self._found[order.job.key].keys for order in each.lot.orders)
                yield (
                    each.lot,
                    Delivery(bucket=self.bucket, window=each.lot.window, files=files, first_tile=each.lot.tiles[0]),
                )

    def take_given_up(self) -> Iterator[Lot]:
        """Lots of which a job is not to be had, each once."""
        for each in self._lots:
            if not each.is_taken and Stage.GIVEN_UP in self._stages(each.lot):
                each.is_taken = True
                yield each.lot

    def end_lot(self, ended: EndedLot) -> None:
        """The tiles of a lot are durable, or its files are of no use."""
        keys = [order.job.key for order in ended.lot.orders]
        if ended.spoilt is None and not self._is_spent(ended.lot):
            logger.info("jobs %s hold more than this run wants; they are left open", ", ".join(keys))
            return
        ending = Ending(end="collected") if ended.spoilt is None else Ending(end="failed", text=ended.spoilt)
        for key in keys:
            self._end(Errand(ask=Ask.LOOK, key=key, attempt=self._desk.jobs[key].attempt), ending)
        if ended.spoilt is not None:
            self._book.tell(f"what jobs {', '.join(keys)} brought cannot be used ({ended.spoilt}); Process is asked")
        elif self._delivery.cleanup:
            self._clean(ended, keys)

    def _clean(self, ended: EndedLot, keys: list[str]) -> None:
        sums = dict(ended.checksums)
        unsure = (paid_tiles(ended.lot) | set(ended.lot.tiles)) - sums.keys() - ended.empty
        if unsure:
            told, unsure = read_checksums(self._plan, self._cube, unsure)
            sums |= told
        if unsure:
            self._book.tell(f"what jobs {', '.join(keys)} delivered is kept in {self.bucket.url}: no checksum is known "
                            f"of tiles {', '.join(map(str, sorted(unsure)))}")  # fmt: skip
            return
        prefixes = [prefix for key in keys for prefix in self._prefixes[key]]
        self._courier.send(None, partial(clean_up, self._cube, sums, self.bucket, prefixes))

    def _is_spent(self, lot: Lot) -> bool:
        """Whether a lot's jobs hold nothing that is not durable, tiles that this run has no part in included."""
        others = paid_tiles(lot).difference(lot.tiles)
        return not others or others <= read_done(self._plan, self._cube)

    def count_spent(self, pu: float) -> None:
        """Somebody else has spent so much under the same cap."""
        self._spent_pu += pu

    @property
    def left_pu(self) -> float | None:
        """What may yet be spent; None without a cap."""
        return None if self._max_pu is None else max(0.0, self._max_pu - self._spent_pu)

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
        return any(self._may_come(self._stages(each.lot)) for each in self._lots if not each.is_taken)

    def _stages(self, lot: Lot) -> list[Stage]:
        return [self._desk.jobs[order.job.key].stage for order in lot.orders]

    def _may_come(self, stages: list[Stage]) -> bool:
        may_order = Stage.WAITS in stages and not self._desk.stopped
        return may_order or Stage.GIVEN_UP in stages or set(stages) == {Stage.DONE} or not ALIVE.isdisjoint(stages)

    def waiting_for(self) -> str:
        """What the jobs are at, in a few words; empty where there is none."""
        desk = self._desk
        counts = {
            "running": desk.count(Stage.RUNS, Stage.ENDED),
            "looked for": desk.count(Stage.SOUGHT),
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


def _open_bucket(delivery: DeliveryOptions) -> Bucket:
    return Bucket.from_url(delivery.s3_url, endpoint_url=delivery.endpoint_url, region=delivery.region)
