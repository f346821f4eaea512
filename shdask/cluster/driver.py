"""The owner of a detached build: a task on a worker of its cluster, which goes on elsewhere when that worker goes.

Refuses to know who ordered it. What it shares with those before it lies in the store, and on the scheduler.
"""

from __future__ import annotations

import asyncio
import logging
import math
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field

from distributed import Client, Reschedule, Scheduler, Worker, get_worker, secede
from distributed.diagnostics.plugin import WorkerPlugin

from shdask.assemble.ledger import read_ledger
from shdask.assemble.place import open_place
from shdask.assemble.stop import is_asked_to_stop
from shdask.assemble.tree import begun_groups
from shdask.cluster.ending import end_well
from shdask.cluster.executor import DaskExecutor, Standing
from shdask.cluster.patience import Patience
from shdask.cluster.run import tell
from shdask.errors import CubeOwned, SchedulerLost, SettingsError, ShdaskError
from shdask.model import TileEvent
from shdask.plan.cube import CubePlan
from shdask.report import INTERRUPTED, BuildReport, Progress
from shdask.run_cube import run_cube

logger = logging.getLogger(__name__)

SEATS = "shdask-drivers"
LEAVE_S = 27.0
"""A driver whose worker ends has so long to wait for the tiles in flight, and to give the cube back."""
TAKE_OVER_S = 120.0
"""A driver waits so long for the one before it: of a machine that was cut off nothing is heard for a minute."""
ASK_AGAIN_S = 1.0
PAUSE_S = 10.0
"""A driver that has lost the scheduler waits so long before another one is asked for."""
LIVES_S = 60.0
"""A driver that builds for so long is no driver that kills its workers."""


@dataclass(frozen=True, slots=True, kw_only=True)
class JobsCost:
    """What the jobs of a cube have cost, of all builds and attempts; a projected price where none was named."""

    accepted_pu: float = 0.0
    unsure_pu: float = 0.0
    """Of orders that may have been accepted, but for those that whoever builds next counts itself."""

    def since(self, before: JobsCost) -> float:
        """Processing units that were spent after ``before``, or may have been. Pure."""
        return self.accepted_pu - before.accepted_pu + max(0.0, self.unsure_pu - before.unsure_pu)


@dataclass(frozen=True, slots=True, kw_only=True)
class Order:
    """A build that nobody waits for."""

    name: str
    plan: CubePlan
    store: str
    account: str
    """That the scheduler has been told the credentials of."""
    max_pu: float | None
    """For all drivers together."""
    jobs_cost: JobsCost
    """Of the cube's jobs before it."""
    update: bool = False
    job: str | None = None
    options: tuple[str, ...] = ()
    patience: Patience = field(default_factory=Patience)

    @property
    def key(self) -> str:
        """What Dask calls the task."""
        return f"shdask-driver-{self.name}"


class DriverSeats(WorkerPlugin):
    """Knows the drivers on a worker, and lets none of them be torn away with it while there is time."""

    name = SEATS
    idempotent = True

    def setup(self, worker: Worker) -> None:
        """Nobody drives yet."""
        end_well(worker)
        self._changed = threading.Condition()
        self._leaving: set[threading.Event] = set()

    @contextmanager
    def take(self) -> Iterator[threading.Event]:
        """A seat for the calling thread; the event says that it must leave."""
        leaving = threading.Event()
        with self._changed:
            self._leaving.add(leaving)
        try:
            yield leaving
        finally:
            with self._changed:
                self._leaving.discard(leaving)
                self._changed.notify_all()

    async def teardown(self, worker: Worker) -> None:  # noqa: ARG002  # distributed's signature
        """Tell all to leave, and wait for that."""
        await asyncio.to_thread(self._wait_for_all)

    def _wait_for_all(self) -> None:
        with self._changed:
            for leaving in self._leaving:
                leaving.set()
            self._changed.wait_for(lambda: not self._leaving, LEAVE_S)


def drive(order: Order) -> int:
    """The Dask task: own the build, from wherever another driver has left it, until its end; returns its exit code.

    What it met stands in the ledger. Raises Reschedule where its worker ends, or the scheduler was silent for too long
    and may be back: another one goes on.
    """
    worker = get_worker()
    seats = worker.plugins.get(SEATS)
    if not isinstance(seats, DriverSeats):
        raise SettingsError(f"worker {worker.address} has no seat for drivers; order the build again")
    secede()
    with seats.take() as leaving:
        try:
            with Client(
                worker.scheduler.address, security=worker.security, set_as_default=False, name=order.key
            ) as client:
                report = _Driver(order=order, client=client, leaving=leaving).run()
        except KeyboardInterrupt:
            if leaving.is_set():
                logger.info("build %s goes on elsewhere: %s ends", order.name, worker.address)
                raise Reschedule from None
            return INTERRUPTED
        except (SchedulerLost, OSError) as error:
            logger.warning("build %s goes on once the scheduler is back: %s", order.name, error)
            leaving.wait(PAUSE_S)
            raise Reschedule from error
        except ShdaskError as error:
            logger.warning("build %s of %s ended: %s: %s", order.name, order.store, type(error).__name__, error)
            return error.exit_code
    return 5 if report.failed else 0


@dataclass(slots=True, kw_only=True)
class _Driver:
    order: Order
    client: Client
    leaving: threading.Event
    _told: bool = False
    _lives: bool = False
    _begun: float = field(default_factory=time.monotonic)

    def run(self) -> BuildReport:
        """Build, once the driver before this one has let go of the cube."""
        until = time.monotonic() + TAKE_OVER_S
        while True:
            if is_asked_to_stop(self.order.store):
                raise KeyboardInterrupt
            try:
                return self._build(self._charged_pu())
            except CubeOwned:
                if time.monotonic() > until:
                    raise
            if self.leaving.wait(ASK_AGAIN_S):
                raise KeyboardInterrupt

    def _charged_pu(self) -> float:
        """What drivers before this one have spent, or may have."""
        charged: float = self.client.sync(self.client.scheduler.shdask_settle_past, of=self.order.name)
        if self.order.max_pu is None:
            return 0.0
        return charged + read_jobs_cost(self.order.store).since(self.order.jobs_cost)

    def _build(self, charged_pu: float) -> BuildReport:
        order = self.order
        standing = Standing(account=order.account, name=order.name)
        return run_cube(
            order.plan,
            order.store,
            DaskExecutor(self.client, order.patience, standing),
            None,
            max_pu=order.max_pu,
            charged_pu=charged_pu,
            update=order.update,
            job=order.job,
            options=order.options,
            on_event=self._hear,
            on_progress=self._look_up,
        )

    def _look_up(self, _: Progress) -> None:
        """Interrupt the build, once, where this driver must leave; what is in flight is waited for."""
        if time.monotonic() - self._begun > LIVES_S:
            self._say_it_lives()  # jobs bring nothing for an hour
        if self.leaving.is_set() and not self._told:
            self._told = True
            raise KeyboardInterrupt

    def _hear(self, _: TileEvent) -> None:
        self._say_it_lives()

    def _say_it_lives(self) -> None:
        """A driver that gets something done is not to blame for the deaths of its workers, however many."""
        if not self._lives:
            self._lives = True
            tell(lambda: self.client.run_on_scheduler(forgive, key=self.order.key))


def forgive(key: str, dask_scheduler: Scheduler) -> None:
    """Run on the scheduler: forget the workers that died with a task; it fails for good with the fourth."""
    if key in dask_scheduler.tasks:
        dask_scheduler.tasks[key].suspicious = 0


def read_jobs_cost(store: str) -> JobsCost:
    """What the jobs of the cube at ``store`` have cost so far."""
    ledgers = [read_ledger(place) for place in begun_groups(open_place(store)).values()]
    unsure = math.fsum(ledger.jobs_unsure_pu for ledger in ledgers)
    if len(ledgers) == 1:  # of several groups others may spend before those orders are taken up
        unsure -= math.fsum(job.intent.pu for job in ledgers[0].jobs.values() if job.is_open and job.id is None)
    return JobsCost(accepted_pu=math.fsum(ledger.jobs_pu for ledger in ledgers), unsure_pu=max(0.0, unsure))
