"""A run of tiles that jobs bring: orders and watches the jobs, and hands what they deliver to an executor.

Lives in the owner's thread; one more thread asks service and bucket. Refuses to know where tiles run.
"""

from __future__ import annotations

import logging
from collections.abc import Callable, Sequence
from contextlib import ExitStack
from dataclasses import replace
from types import TracebackType
from typing import TYPE_CHECKING, Self

import numpy as np
from numpy.typing import NDArray

from shdask.errors import BudgetExceeded
from shdask.jobs.adoption import warn_of_left_jobs
from shdask.jobs.collecting import Collecting
from shdask.jobs.lots import Lot, make_lots, tiles_of
from shdask.jobs.ordering import Ordering
from shdask.model import TileEvent

if TYPE_CHECKING:
    from shdask.build import Account, BuildJob, Executor, Run
    from shdask.report import Progress

logger = logging.getLogger(__name__)


def start_run(executor: Executor, job: BuildJob, tiles: NDArray[np.intp], *, spent_pu: float = 0.0) -> Run:
    """Begin to work on ``tiles``: by jobs where the plan goes by them or some are paid for, else as ``executor`` does.

    ``spent_pu`` is what counts under the cap already: what `revive` tells, which is to be called before.
    Raises as `Executor.start`; WrongStore and SettingsError, before anything is paid, where jobs cannot deliver.
    """
    lots = make_lots(job.plan, tiles, {} if job.book is None else job.book.jobs)
    warn_of_left_jobs(job, tiles, lots)
    if not lots:
        return executor.start(job, tiles)
    with ExitStack() as stack:
        account = stack.enter_context(executor.open_account(job))
        run = JobRun(job, tiles, lots, account, release=stack.pop_all().close, spent_pu=spent_pu)
        try:
            run.begin()
        except BaseException:
            run.close()
            raise
        return run


class JobRun:
    """Tiles of jobs, and of those that go another way, at work."""

    def __init__(
        self,
        job: BuildJob,
        tiles: NDArray[np.intp],
        lots: Sequence[Lot],
        account: Account,
        *,
        release: Callable[[], None],
        spent_pu: float = 0.0,
    ) -> None:
        self.fatal: Exception | None = None
        self._release = release
        self._stopped = False
        self._show = account.show
        self._count_charged = job.count_charged
        self._ordering = Ordering.open(job, lots, account)
        self._ordering.purse.spent_pu += spent_pu
        self._collecting = Collecting(job, account.executor)
        self._collecting.buy(np.setdiff1d(tiles, tiles_of(lots)))

    def begin(self) -> None:
        """See whether jobs can deliver, take up those of earlier runs, and order the first."""
        self._ordering.begin()

    def poll(self, timeout_s: float) -> Sequence[TileEvent]:
        """As `Run.poll`."""
        self._end_lots()  # rows of all that was polled before are durable by now
        self._step(0.0 if self._collecting.is_running else timeout_s)
        events = self._collecting.poll(timeout_s)
        if self._collecting.fatal is not None:
            self._give_up(self._collecting.fatal)
        return events

    def _step(self, timeout_s: float) -> None:
        """Take answers, ask what is due, and begin with what has been delivered."""
        self._ordering.step(timeout_s)
        if self._ordering.fatal is not None:
            self._give_up(self._ordering.fatal)
        if self._stopped:
            return
        for lot, delivery in self._ordering.take_delivered():
            self._collecting.collect(lot, delivery)
        for lot in self._ordering.take_given_up():
            self._collecting.buy(np.array(lot.tiles, np.intp))
        self._collecting.start(left_pu=self._ordering.purse.left_pu)
        # what may yet be spent is promised to one of both at a time
        self._ordering.is_held = self._collecting.buys_under_cap

    def _end_lots(self) -> None:
        for ended in self._collecting.take_ended():
            self._ordering.end_lot(ended)
        self._ordering.purse.spent_pu += self._collecting.take_spent()

    def _give_up(self, error: Exception) -> None:
        if self.fatal is None:
            self.fatal = error
        if isinstance(error, BudgetExceeded):
            self.spend_no_more()
        else:
            self.stop()

    @property
    def finished(self) -> bool:
        """As `Run.finished`; jobs that run go on at the service, and the next run takes them up."""
        if self._collecting.is_running or self._collecting.has_ended or not self._ordering.is_quiet:
            return False
        return self._stopped or not (self._ordering.has_work or self._collecting.has_work)

    def stop(self) -> None:
        """As `Run.stop`."""
        self._stopped = True
        self._ordering.stop()
        self._collecting.stop()

    def spend_no_more(self) -> None:
        """As `Run.spend_no_more`."""
        self._ordering.stop()
        self._collecting.spend_no_more()

    def waiting_for(self) -> str:
        """As `Run.waiting_for`."""
        texts = [text for text in (self._collecting.waiting_for(), self._ordering.waiting_for()) if text]
        return "; ".join(texts) or "nothing"

    def show(self, make_progress: Callable[[], Progress]) -> None:
        """As `Run.show`, with the jobs by stage."""
        self._show(lambda: replace(make_progress(), jobs=self._ordering.stages()))

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Abandon what is in flight."""
        try:
            self._collecting.close()
            self._ordering.purse.spent_pu += self._collecting.take_spent()
            self._count_charged(self._ordering.purse.spent_pu)
        finally:
            self._ordering.close()
            self._release()
