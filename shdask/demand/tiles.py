"""The tiles of one plan on demand: each is got once, however many threads ask, and kept while there is room.

Refuses to know where a tile comes from, and who asks.
"""

from __future__ import annotations

import os
import secrets
import threading
import weakref
from collections import OrderedDict
from concurrent.futures import Future
from typing import Protocol

import numpy as np
from numpy.typing import NDArray

from shdask.errors import BuildError
from shdask.model import Tile
from shdask.plan.group import GroupPlan

Pixels = tuple[NDArray[np.generic], ...]
"""(y, x) of a tile: each band in its stored type, and last the mask (uint8, 1 = valid)."""

ELSEWHERE = (
    "a cube that is fetched when it is touched was carried to where it was not opened for: compute it on the cluster "
    "of the distributed Client that there was at opening, else on threads of the process that opened it "
    "(scheduler='threads'); or open it again where it shall be computed"
)
"""What is said of a task that finds no way to the service, or one with a limiter that others do not share."""

CACHE_NBYTES = 256 << 20
"""What one opened layer keeps in memory of the tiles that were touched last."""


class TileSource(Protocol):
    """Where the pixels of tiles come from."""

    def get(self, tile: Tile) -> Pixels | None:
        """The pixels of ``tile``; None where it holds no valid one.

        Raises BudgetExceeded, and the ShdaskError that the tile met; whatever it is, it names the tile.
        """


class TilesOnDemand:
    """What is behind one lazily opened layer in one process. Thread-safe."""

    def __init__(
        self, plan: GroupPlan, source: TileSource, *, token: str | None = None, cache_nbytes: int = CACHE_NBYTES
    ) -> None:
        self.plan = plan
        self.token = token or secrets.token_hex(8)
        """What Dask graphs call it by, in whatever process."""
        self._source = source
        self._process = os.getpid()
        self._lock = threading.Lock()
        self._in_work: dict[int, Future[Pixels]] = {}
        self._cache: OrderedDict[int, Pixels] = OrderedDict()
        self._cache_nbytes = cache_nbytes
        self._cached_nbytes = 0

    def read(self, index: int) -> Pixels:
        """The pixels of the tile at ``index``, fill where the area or the time has none; not to be written to.

        Raises as `TileSource.get`, and BuildError in a process that was forked from the one that opened the layer.
        """
        if os.getpid() != self._process:
            raise BuildError(ELSEWHERE)
        with self._lock:
            if index in self._cache:
                self._cache.move_to_end(index)
                return self._cache[index]
            known = self._in_work.get(index)
            mine: Future[Pixels] = known or Future()
            self._in_work[index] = mine
        if known is not None:
            return known.result()
        try:
            pixels = self._get(self.plan.tile(index))
        except BaseException as error:
            mine.set_exception(error)
            self._forget(index)
            raise
        mine.set_result(pixels)
        self._keep(index, pixels)
        return pixels

    def _get(self, tile: Tile) -> Pixels:
        found = self._source.get(tile) if self.plan.tile_set.holds(tile.index) else None
        pixels = no_pixels(self.plan, tile) if found is None else found
        for array in pixels:
            array.flags.writeable = False
        return pixels

    def _forget(self, index: int) -> None:
        with self._lock:
            del self._in_work[index]

    def _keep(self, index: int, pixels: Pixels) -> None:
        with self._lock:
            del self._in_work[index]
            self._cache[index] = pixels
            self._cached_nbytes += _nbytes(pixels)
            while self._cached_nbytes > self._cache_nbytes:
                _, oldest = self._cache.popitem(last=False)
                self._cached_nbytes -= _nbytes(oldest)


def no_pixels(plan: GroupPlan, tile: Tile) -> Pixels:
    """A tile that holds nothing: fill, and a mask of zeros, in next to no memory. Pure."""
    fills = [np.dtype(band.dtype).type(band.fill_value) for band in plan.layer.bands]
    return tuple(np.broadcast_to(fill, tile.extent.shape).view() for fill in (*fills, np.uint8(0)))


def name_tile(plan: GroupPlan, tile: Tile) -> str:
    """The tile as messages call it. Pure."""
    name = f"tile {tile.index} of {plan.layer.name} (row {tile.row}, column {tile.column}"
    if plan.timeline is not None and tile.step is not None:
        name += f", {plan.timeline.steps[tile.step].time:%Y-%m-%d %H:%M}"
    return name + ")"


def _nbytes(pixels: Pixels) -> int:
    return sum(array.nbytes if array.strides != (0, 0) else array.itemsize for array in pixels)


class _Open:
    """The layers that are open in this process, by token: how a Dask task finds its own.

    The mutable state that the house rules exempt: a graph may carry neither plan nor client. It keeps nothing alive.
    """

    def __init__(self) -> None:
        self._lock = threading.Lock()
        self._all: weakref.WeakSet[TilesOnDemand] = weakref.WeakSet()

    def add(self, tiles: TilesOnDemand) -> None:
        """Let ``tiles`` be found."""
        with self._lock:
            self._all.add(tiles)

    def find(self, token: str) -> TilesOnDemand:
        """The layer of this token. Raises BuildError where this process has none."""
        with self._lock:
            for tiles in self._all:
                if tiles.token == token:
                    return tiles
        raise BuildError(ELSEWHERE)


OPEN = _Open()
