"""SerialExecutor: a build with no cluster, one bundle of tiles after the other in this process.

Refuses to know what becomes of a tile.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from shdask.account import open_service
from shdask.build import Account, BuildJob, Run
from shdask.errors import BudgetExceeded, ShdaskError
from shdask.fetch.budget import make_local_budget
from shdask.fetch.client import ServiceClient
from shdask.fetch.process import run_here
from shdask.jobs.patience import JobPatience
from shdask.model import TileEvent
from shdask.report import Progress
from shdask.run_tiles import TileOutcome, TileWork, run_tiles


@dataclass(frozen=True, slots=True, kw_only=True)
class SerialExecutor:
    """One tile after the other in this process: the same story with no cluster, for small areas and debuggers."""

    patience: JobPatience = field(default_factory=JobPatience)
    """With jobs of Async Process."""

    def start(self, job: BuildJob, tiles: NDArray[np.intp]) -> Run:
        """Log in, and begin with the first tile. Raises AuthError when the credentials are refused."""
        with ExitStack() as stack:
            service = stack.enter_context(open_service(job.plan.deployment, job.credentials))
            return _start_run(job, tiles, service, stack.pop_all().close)

    @contextmanager
    def open_account(self, job: BuildJob) -> Iterator[Account]:
        """As `Executor.open_account`."""
        with open_service(job.plan.deployment, job.credentials) as service:
            yield Account(service=service, executor=_LoggedIn(service=service), patience=self.patience)


@dataclass(frozen=True, slots=True, kw_only=True)
class _LoggedIn:
    """Runs tiles in this process with a client that is open already."""

    service: ServiceClient

    def start(self, job: BuildJob, tiles: NDArray[np.intp]) -> Run:
        return _start_run(job, tiles, self.service, release=lambda: None)

    @contextmanager
    def open_account(self, job: BuildJob) -> Iterator[Account]:  # noqa: ARG002  # the seam's signature
        yield Account(service=self.service, executor=self)


def _start_run(job: BuildJob, tiles: NDArray[np.intp], service: ServiceClient, release: Callable[[], None]) -> Run:
    client = service.under(make_local_budget(job.max_pu))
    work = TileWork(plan=job.plan, cube=job.cube, client=client, run_cpu=run_here, deliveries=job.deliveries)
    return _SerialRun(work, tiles, release, job.give_out)


class _SerialRun:
    """One thread works, so that an interrupt of the main thread can let the tile in flight end.

    A daemon: a tile given up after draining must not hold up the end of the process.
    """

    def __init__(
        self,
        work: TileWork,
        tiles: NDArray[np.intp],
        release: Callable[[], None],
        give_out: Callable[[Sequence[int]], None],
    ) -> None:
        self.fatal: ShdaskError | None = None
        self._work = work
        self._release = release
        self._give_out = give_out
        self._left: Iterator[list[int]] = work.deliveries.bundle(work.plan, tiles.tolist())
        self._current: Future[list[TileOutcome]] | None = None
        self._start_next()

    def _start_next(self) -> None:
        indices = next(self._left, None)
        self._current = None
        if indices is not None:
            self._give_out(indices)
            self._current = Future()
            words = (self._current, self._work, indices)
            threading.Thread(target=_run_tiles_into, args=words, name="shdask-tile", daemon=True).start()

    def poll(self, timeout_s: float) -> Sequence[TileEvent]:
        if self._current is None or not wait([self._current], timeout_s).done:
            return []
        outcomes = self._current.result()
        self.fatal = next((outcome.fatal for outcome in outcomes if outcome.fatal is not None), None)
        if self.fatal is not None:
            self.stop()
        self._start_next()
        return [outcome.event for outcome in outcomes if not is_left_untried(outcome)]

    @property
    def finished(self) -> bool:
        return self._current is None

    def stop(self) -> None:
        self._left = iter(())

    def spend_no_more(self) -> None:
        self.stop()

    def waiting_for(self) -> str:
        return "the answer to one request"

    def show(self, make_progress: Callable[[], Progress]) -> None:
        """Nobody watches."""

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._release()


def is_left_untried(outcome: TileOutcome) -> bool:
    """Whether a cap let nothing be sent for a tile, so that it is what it was before. Pure."""
    event = outcome.event
    is_sent = bool(event.requests or event.pu_spent or event.pu_unknown)
    return isinstance(outcome.fatal, BudgetExceeded) and not is_sent


def _run_tiles_into(future: Future[list[TileOutcome]], work: TileWork, indices: Sequence[int]) -> None:
    try:
        future.set_result(run_tiles(work, indices))
    except BaseException as error:  # noqa: BLE001  # raised again where the future is read
        future.set_exception(error)
