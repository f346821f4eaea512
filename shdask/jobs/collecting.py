"""What jobs have delivered on its way into the cube, and what is bought by Process in place of a job's files.

Hands tiles to an executor, one run of them at a time. Refuses to know how jobs are ordered and watched.
"""

from __future__ import annotations

import logging
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING

import numpy as np
from numpy.typing import NDArray

from shdask.errors import BudgetExceeded, SpoiltDelivery
from shdask.jobs.deliveries import Deliveries, Delivery
from shdask.jobs.lots import Lot
from shdask.model import TileEvent, TileState

if TYPE_CHECKING:
    from shdask.build import BuildJob, Executor, Run

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True, kw_only=True)
class EndedLot:
    """A lot of which nothing more is to be read."""

    lot: Lot
    checksums: dict[int, int]
    """Of what was written of it, by tile; as `TileEvent` has it."""
    empty: frozenset[int] = frozenset()
    """Tiles of it of which nothing is stored."""
    spoilt: Mapping[int, str] = field(default_factory=dict)
    """Tiles whose files are of no use, and why; all others are durable."""

    @property
    def keys(self) -> tuple[str, ...]:
        """Of its jobs."""
        return tuple(order.job.key for order in self.lot.orders)


@dataclass(slots=True, kw_only=True, eq=False)
class _Load:
    """A lot on its way into the cube."""

    lot: Lot
    delivery: Delivery
    heard: dict[int, TileEvent] = field(default_factory=dict)
    """Of each tile what was heard of it first: one that is spoilt stays so, whatever Process brings."""

    @property
    def unheard(self) -> list[int]:
        """Tiles that are still to be read."""
        return [tile for tile in self.lot.tiles if tile not in self.heard]

    @property
    def is_home(self) -> bool:
        """Whether all its tiles are durable, or empty."""
        return self.is_over and not self.spoilt

    @property
    def is_over(self) -> bool:
        """Whether its files are of no more use: each tile is durable, empty or spoilt."""
        failed = {tile for tile, event in self.heard.items() if event.state is TileState.FAILED}
        return not self.unheard and failed == self.spoilt.keys()

    @property
    def spoilt(self) -> dict[int, str]:
        """Tiles whose files cannot be read as what was ordered; what Process lacks of others is no fault of theirs."""
        texts = {tile: event.error or "" for tile, event in self.heard.items() if event.state is TileState.FAILED}
        return {tile: text for tile, text in texts.items() if text.startswith(f"{SpoiltDelivery.__name__}:")}


class Collecting:
    """Runs tiles of lots that have come, and others by Process, as the executor can."""

    def __init__(self, job: BuildJob, executor: Executor) -> None:
        self.fatal: Exception | None = None
        self._job = job
        self._executor = executor
        self._waiting: list[_Load] = []
        self._aboard: list[_Load] = []
        """Of the run that is on."""
        self._to_buy = np.empty(0, np.intp)
        self._replaced = frozenset[int]()
        """Tiles that are bought, or were, for their files are spoilt."""
        self._bought = frozenset[int]()
        """Of the run that is on, by Process."""
        self._run: Run | None = None
        self._ended: list[EndedLot] = []
        self._spent_pu = self._charged_pu = 0.0
        self._stopped = self._buys_no_more = False

    def collect(self, lot: Lot, delivery: Delivery) -> None:
        """Read a lot's tiles when there is room."""
        self._waiting.append(_Load(lot=lot, delivery=delivery))

    def buy(self, tiles: NDArray[np.intp]) -> None:
        """Buy tiles by Process when there is room."""
        self._to_buy = np.union1d(self._to_buy, tiles)

    def start(self, *, left_pu: float | None) -> None:
        """Begin with all that waits, unless a run is on; what is bought may cost ``left_pu``. Raises as `Executor`."""
        if self._run is not None or self._stopped or not self.has_work:
            return
        to_buy = self._to_buy[:0] if self._buys_no_more else self._to_buy
        self._aboard, self._waiting = self._ready, [load for load in self._waiting if load not in self._ready]
        self._to_buy = self._to_buy[:0]
        in_part = [tile for load in self._aboard if not load.delivery.is_whole for tile in load.unheard]
        self._bought = frozenset([*to_buy.tolist(), *in_part])
        by_tile = {tile: load.delivery for load in self._aboard for tile in load.unheard}
        deliveries = Deliveries(by_tile=by_tile)
        job = replace(
            self._job,
            deliveries=deliveries,
            give_out=self._give_out,
            max_pu=left_pu if self._bought else None,
            count_charged=self._count_charged,
        )
        tiles = deliveries.in_order(job.plan, np.concatenate([np.array(list(by_tile), np.intp), to_buy]))
        self._run = self._executor.start(job, tiles).__enter__()

    def _give_out(self, tiles: Sequence[int]) -> None:
        paid = [tile for tile in tiles if tile not in self._bought]
        others = [tile for tile in tiles if tile in self._bought]
        if paid and self._job.book is not None:
            self._job.book.take_up(paid)
        if others:
            self._job.give_out(others)

    def _count_charged(self, pu: float) -> None:
        self._charged_pu = pu  # the rows lack what was lost with a worker

    @property
    def is_running(self) -> bool:
        """Whether a run is on."""
        return self._run is not None

    @property
    def buys_under_cap(self) -> bool:
        """Whether the run that is on may spend what is left of a cap."""
        return self._run is not None and bool(self._bought) and self._job.max_pu is not None

    @property
    def has_work(self) -> bool:
        """Whether something waits for a run."""
        return bool(self._ready) or (bool(self._to_buy.size) and not self._buys_no_more)

    @property
    def _ready(self) -> list[_Load]:
        """What may go with the next run."""
        return [load for load in self._waiting if load.delivery.is_whole or not self._buys_no_more]

    def poll(self, timeout_s: float) -> Sequence[TileEvent]:
        """As `Run.poll`, of the run that is on."""
        run = self._run
        if run is None:
            return ()
        events = run.poll(timeout_s)
        loads = {tile: load for load in self._aboard for tile in load.lot.tiles}
        for event in events:
            self._spent_pu += event.pu_spent + event.pu_unknown
            if event.tile in loads:
                loads[event.tile].heard.setdefault(event.tile, event)
        for load in [load for load in self._aboard if load.is_home]:
            self._aboard.remove(load)
            self._end(load)
        if run.finished:
            self._finish(run)
        return events

    def _finish(self, run: Run) -> None:
        """Close the run, and see what it has left of the lots that were aboard."""
        self.fatal = run.fatal
        self._run = None
        run.__exit__(None, None, None)
        self._spent_pu = max(self._spent_pu, self._charged_pu)
        for load in self._aboard:
            new = load.spoilt.keys() - self._replaced
            self._replaced |= new
            self.buy(np.array(sorted(new), np.intp))
            if load.is_over:
                self._end(load)
            elif self._goes_on and load.unheard:
                self._waiting.append(load)
        self._aboard = []

    @property
    def _goes_on(self) -> bool:
        """Whether the last run ended well, or since no more may be spent: what is paid for is read all the same."""
        return self.fatal is None or isinstance(self.fatal, BudgetExceeded)

    def _end(self, load: _Load) -> None:
        sums = {tile: event.checksum for tile, event in load.heard.items() if event.checksum is not None}
        empty = frozenset(tile for tile, event in load.heard.items() if event.state is TileState.EMPTY)
        self._ended.append(EndedLot(lot=load.lot, checksums=sums, empty=empty, spoilt=load.spoilt))

    @property
    def has_ended(self) -> bool:
        """Whether lots have ended that were not taken."""
        return bool(self._ended)

    def take_ended(self) -> Iterator[EndedLot]:
        """Lots that are done with, each once."""
        ended, self._ended = self._ended, []
        return iter(ended)

    def take_spent(self) -> float:
        """Processing units of runs that have ended, each once; 0 while one is on."""
        if self._run is not None:
            return 0.0
        spent, self._spent_pu, self._charged_pu = self._spent_pu, 0.0, 0.0
        return spent

    def stop(self) -> None:
        """Start nothing more."""
        self._stopped = True
        if self._run is not None:
            self._run.stop()

    def spend_no_more(self) -> None:
        """Buy nothing more; what was delivered is read all the same."""
        self._buys_no_more = True
        if self._run is not None and self._bought:
            self._run.spend_no_more()

    def waiting_for(self) -> str:
        """What the run that is on waits for; empty without one."""
        return "" if self._run is None else self._run.waiting_for()

    def close(self) -> None:
        """Abandon the run that is on."""
        run, self._run = self._run, None
        if run is not None:
            run.__exit__(None, None, None)
            self._spent_pu = max(self._spent_pu, self._charged_pu)
