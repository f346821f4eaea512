"""How much of a patch is valid and clear at each date, told without reading a pixel.

Refuses to know how patches are chosen, and how counts are kept.
"""

from __future__ import annotations

import os
import threading
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from shdask.assemble.place import Place, open_place
from shdask.assemble.time_axis import frozen_timeline
from shdask.assemble.verify import CubeTiles
from shdask.errors import PlanError
from shdask.patches.choosing.summed_area import BlocksUnder
from shdask.patches.groups import LayerGroup, find_group
from shdask.patches.measuring.counting import count_changed
from shdask.patches.measuring.counts import KeptCounts, StepCounts, find_block_px
from shdask.plan.clear_bands import find_clear_band

if TYPE_CHECKING:
    from numpy.typing import ArrayLike, NDArray

Progress = Callable[[int, int], None]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class GroupIndex:
    """The counts of one layer in one zone."""

    shape: tuple[int, int]
    """(y, x) of its arrays."""
    block_px: int
    dates: NDArray[np.datetime64]
    """See `CubeIndex.dates`."""
    steps: NDArray[np.intp]
    """Where each of them stands on the time axis of the store."""
    counts: KeptCounts
    tile_blocks: int
    """Blocks along a tile."""

    @classmethod
    def of(cls, group: LayerGroup, on_progress: Progress | None) -> GroupIndex:
        """That of ``group``, brought up to date. Raises StoreError."""
        tiles = CubeTiles.of(group.place, dict(group.attributes))
        clear_band = find_clear_band(group.attributes["bands"])
        kept = KeptCounts(place=group.place, layout=tiles.layout, rule=repr(clear_band))
        dates, steps = _read_dates(group.place)
        count_changed(kept, tiles, clear_band, on_progress=on_progress)
        return cls(
            shape=tiles.layout.shape,
            block_px=find_block_px(tiles.layout.chunk_px),
            dates=dates,
            steps=steps,
            counts=kept,
            tile_blocks=tiles.layout.tile_px // find_block_px(tiles.layout.chunk_px),
        )

    def read(self, column: int) -> StepCounts:
        """The counts at a position in `dates`; not to be written to. Raises StoreError.

        Of a date that was bought again each tile as it was bought last: scenes that came late reach few of them.
        """
        counts = self.counts.read(int(self.steps[column]))
        if column and self.dates[column - 1] == self.dates[column]:
            return counts.over(self.read(column - 1), self.tile_blocks)
        return counts

    def columns(self, time: Any) -> NDArray[np.intp]:
        """Positions in `dates` that ``time`` names; see `CubeIndex.shares`. Raises PlanError."""
        if time is None:
            return np.arange(self.dates.size)
        asked = np.atleast_1d(np.asarray(time))
        if asked.dtype.kind != "M":
            return np.atleast_1d(np.arange(self.dates.size)[asked])
        asked = asked.astype("datetime64[s]")
        found = np.searchsorted(self.dates, asked, side="right") - 1
        missing = asked[(found < 0) | (self.dates[found] != asked)]
        if missing.size:
            raise PlanError(f"{missing[0]} is no date of {self.counts.place.name}; take those that dates() gives")
        return np.asarray(found, np.intp)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CubeIndex:
    """Counts of valid and of clear pixels of a cube's layers, in blocks of 32 px. Thread-safe; pickles as its store.

    A layer is looked at when it is first asked for: what was built later is seen by opening the index again.
    """

    place: Place
    on_progress: Progress | None = None
    _groups: dict[tuple[str, str], GroupIndex] = field(default_factory=dict)
    _lock: threading.Lock = field(default_factory=threading.Lock)

    def dates(self, zone: str, layer: str) -> NDArray[np.datetime64]:
        """(t,) datetime64[s]: the dates of ``layer`` as `open_cube` orders them, UTC; one NaT where it has no dates.

        A date that was bought again stands there twice, the newer one last: it has what the older one has where it
        was not bought itself. Raises StoreError.
        """
        return self._group(zone, layer).dates

    def block_px(self, zone: str, layer: str) -> int:
        """Side of a block in pixels: 32, or less where 32 is no whole part of the layer's chunks. Raises StoreError."""
        return self._group(zone, layer).block_px

    def blocks(self, zone: str, layer: str, column: int) -> tuple[NDArray[np.uint16], NDArray[np.uint16]]:
        """(valid, clear): (block_y, block_x) pixels of each block at the date of that position in `dates`.

        Not to be written to. Raises StoreError.
        """
        counts = self._group(zone, layer).read(column)
        return counts.valid, counts.clear

    def shares(  # noqa: PLR0917  # in the order of a patch's own fields
        self, zone: str, layer: str, y0: ArrayLike, x0: ArrayLike, size_px: int, time: Any = None
    ) -> tuple[NDArray[np.float32], NDArray[np.float32]]:
        """(n, t): of the pixels of each patch those that are valid, and of these those that are clear, from 0 to 1.

        ``y0`` and ``x0``, (n,) each, are the upper left pixels of patches of ``size_px`` x ``size_px`` in the layer's
        arrays; pixels beyond the arrays count as not valid. ``time`` chooses dates by datetime64 (of one that was
        bought again the newest), or by positions in `dates`; None takes all. Tiles that are not written hold no valid
        pixel. The clear share is 0 where nothing is valid, and 1 elsewhere in a layer without a band that tells clouds.

        Exact where the patch's edges lie on edges of blocks, or of the arrays; elsewhere a block counts by how much of
        its area the patch covers, as if its pixels were spread evenly.
        Raises StoreError, and PlanError for a date that the layer does not have.
        """
        group = self._group(zone, layer)
        under = BlocksUnder.of(group.shape, group.block_px, np.atleast_1d(y0), np.atleast_1d(x0), size_px)
        columns = group.columns(time)
        shares = np.empty((2, under.count, columns.size), np.float32)
        for position, column in enumerate(columns.tolist()):
            shares[0, :, position], shares[1, :, position] = _shares_at(group.read(column), under, size_px)
        return shares[0], shares[1]

    def _group(self, zone: str, layer: str) -> GroupIndex:
        with self._lock:
            if (zone, layer) not in self._groups:
                group = find_group(self.place, zone, layer)
                self._groups[zone, layer] = GroupIndex.of(group, self.on_progress)
            return self._groups[zone, layer]

    def __reduce__(self) -> tuple[Callable[[str], CubeIndex], tuple[str]]:
        return open_index, (self.place.name,)


def open_index(store: str | os.PathLike[str] | Place, *, on_progress: Progress | None = None) -> CubeIndex:
    """The index of the cube at ``store``, which may still be building.

    The first question about a layer counts the masks of the tiles that were written since the last time, and keeps
    the counts beside the cube, where no reader of Zarr looks; or in memory where the store may not be written.
    ``on_progress`` hears how many tiles of how many are counted. Nothing is read yet.
    """
    return CubeIndex(place=open_place(store), on_progress=on_progress)


def _read_dates(place: Place) -> tuple[NDArray[np.datetime64], NDArray[np.intp]]:
    """(dates, where each stands on the time axis), in the order of time and revision."""
    timeline = frozen_timeline(place)
    if timeline is None:
        return np.array(["NaT"], "datetime64[s]"), np.zeros(1, np.intp)
    steps = timeline.steps
    order = sorted(range(len(steps)), key=lambda step: (steps[step].time, steps[step].revision))
    times = [steps[step].time.replace(tzinfo=None) for step in order]
    return np.array(times, "datetime64[s]"), np.array(order, np.intp)


def _shares_at(counts: StepCounts, under: BlocksUnder, size_px: int) -> tuple[NDArray[np.float64], NDArray[np.float64]]:
    valid = under.sum(counts.valid)
    clear = under.sum(counts.clear)
    some = valid > _LEAST_PX
    share = np.where(some, valid / size_px**2, 0.0)
    clear_share = np.divide(clear, valid, out=np.zeros_like(valid), where=some)
    return np.clip(share, 0.0, 1.0), np.clip(clear_share, 0.0, 1.0)


_LEAST_PX = 1e-3
"""Less is what sums of floats leave of nothing."""
