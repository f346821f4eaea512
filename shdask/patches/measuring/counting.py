"""Counting valid and clear pixels of the tiles of a group that nobody has counted as they are now.

Refuses to know patches, and to claim a tile that is not written.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING, Self

import numpy as np

from shdask.assemble.layout import object_key
from shdask.assemble.ledger import read_ledger
from shdask.assemble.template import DATA_MASK
from shdask.assemble.verify import CubeTiles
from shdask.patches.measuring.counts import UNCOUNTED, KeptCounts, StepCounts, find_block_px
from shdask.patches.measuring.stored_arrays import StoredArrays
from shdask.plan.clear import look_window

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shdask.assemble.place import Place
    from shdask.plan.clear_bands import ClearBand

    Counted = tuple[NDArray[np.uint16], NDArray[np.uint16]] | None
    """(valid, clear) of a tile's blocks; None where it is gone."""

READERS = 8
_AT_ONCE = 256
_NO_CHECKSUM = -1


def count_changed(
    kept: KeptCounts,
    tiles: CubeTiles,
    clear_band: ClearBand | None,
    *,
    on_progress: Callable[[int, int], None] | None = None,
) -> None:
    """Bring ``kept`` up to date: count tiles that were written since, or anew, and forget those that are gone.

    Reads ``data_mask`` and the clear band of those tiles, eight at a time; nothing else of the cube. A tile is taken
    for the one that was counted where the ledger tells the same checksum. ``on_progress`` hears, in this thread, how
    many tiles of how many are counted. Raises StoreError, which says where a tile cannot be read.
    """
    now = stamps_now(kept.place, tiles)
    by_step = [np.flatnonzero(kept.read(step).stamps != stamps) + step * stamps.size for step, stamps in enumerate(now)]
    changed = np.concatenate((np.empty(0, np.intp), *by_step))
    counter = _TileCounter.of(kept, tiles, clear_band)
    per_step = tiles.cells.shape[-2] * tiles.cells.shape[-1]
    done = 0
    for step, counted in groupby(counter.count(changed, now.ravel()), key=lambda each: each[0] // per_step):
        counts = kept.read(step).copy()
        for index, found in counted:
            counter.put(counts, index, found, int(now.flat[index]))
            done += 1
            if on_progress is not None:
                on_progress(done, changed.size)
        kept.write(step, counts)


def stamps_now(place: Place, tiles: CubeTiles) -> NDArray[np.int64]:
    """(step, tile_y, tile_x): `StepCounts.stamps` if all that is written were counted now. Raises StoreError."""
    ledger = read_ledger(place)  # before the marks: what is counted is then never older than its stamp
    stands = tiles.marks(place)
    stands[[tile for tile in ledger.reopened if tile < stands.size]] = False  # it lacks pixels, or is being written
    checksums = np.full(stands.size, _NO_CHECKSUM, np.int64)
    known = min(stands.size, ledger.checksums.size)
    checksums[:known] = ledger.checksums[:known]
    return np.where(stands, checksums, UNCOUNTED).reshape(-1, *tiles.cells.shape[-2:])


def count_blocks(pixels: NDArray[np.bool_], block_px: int) -> NDArray[np.uint16]:
    """(block_y, block_x): how many True of (y, x) ``pixels`` each block has, counted from the upper left. Pure."""
    rows, columns = (-(-side // block_px) for side in pixels.shape)
    short = rows * block_px - pixels.shape[0], columns * block_px - pixels.shape[1]
    whole = np.pad(pixels, ((0, short[0]), (0, short[1]))) if any(short) else pixels
    # 15 times as fast as np.add.reduceat over rows and columns
    parts = np.ascontiguousarray(whole).view(np.uint8).reshape(rows, block_px, columns, block_px)
    return np.asarray(parts.sum(axis=(1, 3), dtype=np.uint16))


@dataclass(frozen=True, slots=True, kw_only=True)
class _TileCounter:
    tiles: CubeTiles
    block_px: int
    arrays: StoredArrays
    clear_band: ClearBand | None

    @classmethod
    def of(cls, kept: KeptCounts, tiles: CubeTiles, clear_band: ClearBand | None) -> Self:
        names = (DATA_MASK,) if clear_band is None else (DATA_MASK, clear_band.name)
        return cls(
            tiles=tiles,
            block_px=find_block_px(tiles.layout.chunk_px),
            arrays=StoredArrays.open(kept.place, names),
            clear_band=clear_band,
        )

    def count(self, changed: NDArray[np.intp], now: NDArray[np.int64]) -> Iterator[tuple[int, Counted]]:
        """(tile, counts), in order, some read side by side; those that are not written are not read."""

        def one(index: int) -> Counted:
            return None if now[index] == UNCOUNTED else self._count_tile(index)

        with ThreadPoolExecutor(READERS, thread_name_prefix="shdask-index") as pool:
            for start in range(0, changed.size, _AT_ONCE):
                some = changed[start : start + _AT_ONCE].tolist()
                yield from zip(some, pool.map(one, some), strict=True)

    def _count_tile(self, index: int) -> Counted:
        tile, place = self.tiles.tile(index), self.arrays.place
        step = tile.step or 0
        valid = self.arrays.read(DATA_MASK, step, tile.extent) != 0
        clear = valid
        if self.clear_band is not None and valid.any():
            clear = valid & self.clear_band.is_clear(self.arrays.read(self.clear_band.name, step, tile.extent))
        if not place.exists(object_key(DATA_MASK, self.tiles.layout.mark(tile))):
            return None  # it was taken away while it was read
        return count_blocks(valid, self.block_px), count_blocks(clear, self.block_px)

    def put(self, counts: StepCounts, index: int, found: Counted, stamp: int) -> None:
        """Let ``counts`` say what was found of a tile."""
        row, column = (int(part) for part in np.unravel_index(index, self.tiles.cells.shape)[-2:])
        blocks = look_window(self.tiles.layout.extent(row, column), self.block_px).slices
        counts.valid[blocks], counts.clear[blocks] = (0, 0) if found is None else found
        counts.stamps[row, column] = UNCOUNTED if found is None else stamp
