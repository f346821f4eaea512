"""SerialExecutor: a build with no cluster, one bundle of tiles after the other in this process.

Refuses to know what becomes of a tile.
"""

from __future__ import annotations

import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, wait
from contextlib import ExitStack
from types import TracebackType
from typing import Self

import numpy as np
from numpy.typing import NDArray

from shdask.account import open_service
from shdask.build import BuildJob, Run
from shdask.errors import BudgetExceeded, ShdaskError
from shdask.fetch.budget import make_local_budget
from shdask.fetch.process import run_here
from shdask.model import TileEvent
from shdask.run_tiles import TileOutcome, TileWork, run_tiles


class SerialExecutor:
    """One tile after the other in this process: the same story with no cluster, for small areas and debuggers."""

    def start(self, job: BuildJob, tiles: NDArray[np.intp]) -> Run:
        """Log in, and begin with the first tile. Raises AuthError when the credentials are refused."""
        with ExitStack() as stack:
            budget = make_local_budget(job.max_pu)
            client = stack.enter_context(open_service(job.plan.deployment, job.credentials, budget=budget))
            work = TileWork(plan=job.plan, cube=job.cube, client=client, run_cpu=run_here)
            return _SerialRun(work, tiles, stack.pop_all().close, job.give_out)


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
        self._left: Iterator[list[int]] = work.plan.tile_set.bundle(tiles)
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

    def waiting_for(self) -> str:
        return "the answer to one request"

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
