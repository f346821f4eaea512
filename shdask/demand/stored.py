"""Tiles from a store, and bought into it where they are not there yet: a build of single tiles.

Refuses to know who asks for them.
"""

from __future__ import annotations

import logging
import threading
import time
import weakref
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass

import numpy as np

from shdask.assemble.area_growth import check_area, refuse_growth
from shdask.assemble.grow import as_it_stands, continue_timeline
from shdask.assemble.lease import Lease
from shdask.assemble.ledger import Ledger, read_ledger
from shdask.assemble.place import Place
from shdask.assemble.store import CubeStore, create_or_open, tile_index
from shdask.assemble.template import DATA_MASK
from shdask.assemble.time_axis import frozen_timeline
from shdask.demand.budget import Budget, spending
from shdask.demand.direct import tile_error
from shdask.demand.tiles import Pixels, name_tile
from shdask.errors import ShdaskError
from shdask.fetch.client import ServiceClient
from shdask.fetch.process import run_here
from shdask.model import Tile, TileEvent, TileState
from shdask.plan.group import GroupPlan
from shdask.run_tiles import TileWork, run_tile
from shdask.tally import Tally, recover_rows

logger = logging.getLogger(__name__)

LINGER_S = 2.0
"""The lease is held so much longer than a tile is in work: to begin and to end a run reads the whole ledger."""


def open_for_tiles(plan: GroupPlan, store: Place) -> CubeStore:
    """The cube at ``store``, created where nothing is, and made as long as ``plan``'s time axis.

    Its plan is the one whose steps are numbered as the store has them. Raises as `create_or_open`, and WrongStore
    where there are steps to append and another process owns the cube, or where it was built for a smaller area.
    """
    cube = create_or_open(plan, store)
    if plan.timeline is not None and frozen_timeline(cube.place) != plan.timeline:
        with Lease.acquire(cube.place):
            cube, _ = continue_timeline(refuse_growth(cube, read_ledger(cube.place)))
    return refuse_growth(cube, read_ledger(cube.place))


@dataclass(frozen=True, slots=True, kw_only=True)
class StoreSource:
    """A TileSource over a store: what is not there is bought, and stays there."""

    cube: CubeStore
    client: Callable[[], ServiceClient]
    """Logs in where that was not done yet."""
    budget: Budget
    owner: StoreOwner

    def get(self, tile: Tile) -> Pixels | None:
        """As `TileSource.get`."""
        if not self.cube.is_durable(tile) and (self.owner.is_empty(tile.index) or not self._buy(tile)):
            return None
        with self.cube.place.errors():
            arrays = (*(band.name for band in self.cube.plan.layer.bands), DATA_MASK)
            return tuple(np.asarray(self.cube.arrays[name][tile_index(tile)]) for name in arrays)

    def _buy(self, tile: Tile) -> bool:
        """Buy a tile into the store; whether it holds anything."""
        plan, name = self.cube.plan, name_tile(self.cube.plan, tile)
        with self.owner.working():
            if self.owner.is_empty(tile.index):  # as another process has found meanwhile
                return False
            with spending(self.budget, plan.tile_pu(tile.index), name) as spent:
                work = TileWork(plan=plan, cube=self.cube, client=self.client(), run_cpu=run_here)
                self.owner.give_out(tile.index)
                outcome = run_tile(work, tile.index)
                spent.pu, spent.pu_unknown = outcome.event.pu_spent, outcome.event.pu_unknown
            self.owner.add(outcome.event)
        if outcome.fatal is not None:
            outcome.fatal.add_note(name)
            raise outcome.fatal
        if outcome.event.state is TileState.FAILED:
            raise tile_error(outcome.event.error or "", tile, name)
        return outcome.event.state is TileState.WRITTEN


class StoreOwner:
    """The part of a cube's owner, for one whose tiles are bought one by one, as long as any is. Thread-safe."""

    def __init__(self, cube: CubeStore) -> None:
        self._cube = cube
        self._lock = threading.RLock()
        self._run: ExitStack | None = None
        self._tally: Tally
        self._users = 0
        self._idle_since = 0.0
        self._empty: set[int] | None = None

    def is_empty(self, index: int) -> bool:
        """Whether the ledger says that the tile holds nothing."""
        with self._lock:
            if self._empty is None:
                self._empty = _empty_tiles(self._cube.place)
            return index in self._empty

    @contextmanager
    def working(self) -> Iterator[None]:
        """Own the cube for the block, and a little longer.

        Raises WrongStore that names the owner where another process is building it.
        """
        with self._lock:
            if self._run is None:
                self._begin()
            self._users += 1
        try:
            yield
        finally:
            with self._lock:
                self._users -= 1
                self._idle_since = time.monotonic()
                if not self._users:
                    _later(LINGER_S, self._end_if_idle)

    def give_out(self, index: int) -> None:
        """Make durable that a tile may be sent from now on."""
        with self._lock:
            self._tally.give_out([index])

    def add(self, event: TileEvent) -> None:
        """Make durable what became of a tile. Raises StoreError, also where the lease was lost."""
        with self._lock:
            self._tally.add([event])
            if event.state is TileState.EMPTY and self._empty is not None:
                self._empty.add(event.tile)

    def end(self) -> None:
        """Let go of the cube now, whatever is in work. Again: does nothing."""
        with self._lock:
            run, self._run = self._run, None
            if run is None:
                return
            if not self._users:
                self._tally.settle()
            try:
                run.close()
            except ShdaskError as error:  # all tiles have their rows; the next run says the rest
                logger.warning("%s: %s", self._cube.place.name, error)

    def _begin(self) -> None:
        with ExitStack() as stack:
            ledger = stack.enter_context(Ledger.open(self._cube.place))
            check_area(self._cube)
            cube = as_it_stands(self._cube)  # another process may have appended steps
            recover_rows(cube.plan, cube, ledger)
            # no time of a build: the user thinks, and it lingers
            self._tally = Tally.begin(cube.plan, cube, ledger, only=(), is_timed=False)
            self._empty = set(np.flatnonzero(ledger.states == TileState.EMPTY).tolist())
            stack.enter_context(self._tally.closing())
            self._run = stack.pop_all()

    def _end_if_idle(self) -> None:
        with self._lock:
            if not self._users and time.monotonic() - self._idle_since >= LINGER_S:
                self.end()


def _empty_tiles(place: Place) -> set[int]:
    return set(np.flatnonzero(read_ledger(place).states == TileState.EMPTY).tolist())


def _later(seconds: float, call: Callable[[], None]) -> None:
    timer = threading.Timer(seconds, call)
    timer.daemon = True
    timer.start()


class _Owners:
    """The cubes that this process may own, by place: two layers opened on one store share its lease and ledger.

    Mutable state that the house rules exempt. It keeps nothing alive.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._all: weakref.WeakValueDictionary[str, StoreOwner] = weakref.WeakValueDictionary()
        self._ends_with_process = False

    def of(self, cube: CubeStore) -> StoreOwner:
        """The one owner of ``cube`` in this process."""
        with self._lock:
            if not self._ends_with_process:
                # before concurrent.futures ends its threads, without which Zarr writes nothing; atexit comes too late
                threading._register_atexit(self._end_all)  # type: ignore[attr-defined]  # noqa: SLF001  # see above
                self._ends_with_process = True
            name = cube.place.name
            owner = self._all.get(name) or StoreOwner(cube)
            self._all[name] = owner
            return owner

    def _end_all(self) -> None:
        for owner in list(self._all.values()):
            owner.end()


OWNERS = _Owners()
