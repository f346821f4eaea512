"""Which tiles hold a pixel of the area: runs of columns per row of tiles, counted without listing them.

Refuses to know prices and requests.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shdask.plan.area import Area

    Ints = NDArray[np.int64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TileRuns:
    """Tiles in order, row by row from the north and from west to east within a row."""

    runs: Ints
    """(run, 3): row of tiles, first column of tiles, column after the last."""
    first: Ints
    """(run + 1,) index of each run's first tile, and the number of tiles."""
    grid_shape: tuple[int, int]
    """(rows, columns) of tiles in the whole array."""

    @property
    def count(self) -> int:
        """Number of tiles."""
        return int(self.first[-1])

    def cells(self, start: int, stop: int) -> tuple[Ints, Ints]:
        """(rows, columns) of tiles [start, stop), one entry each. Pure. Raises IndexError outside [0, count]."""
        if not 0 <= start <= stop <= self.count:
            raise IndexError(f"tiles {start}..{stop} of a plan with {self.count}")
        index = np.arange(start, stop, dtype=np.int64)
        run = np.searchsorted(self.first, index, side="right") - 1
        return self.runs[run, 0], self.runs[run, 1] + index - self.first[run]

    def holds(self, row: int, column: int) -> bool:
        """Whether the cell is a tile. Pure."""
        left, right = np.searchsorted(self.runs[:, 0], (row, row + 1))
        run = left + np.searchsorted(self.runs[left:right, 1], column, side="right") - 1
        return bool(run >= left and column < self.runs[run, 2])

    def counts_by_size(self) -> tuple[int, int, int, int]:
        """Numbers of tiles (inner, in the last column, in the last row, in the corner), each tile once. Pure."""
        rows, starts, stops = self.runs.T
        at_right, at_bottom = stops == self.grid_shape[1], rows == self.grid_shape[0] - 1
        right, corner = int(at_right.sum()), int((at_right & at_bottom).sum())
        bottom = int((stops - starts)[at_bottom].sum())
        return self.count - right - bottom + corner, right - corner, bottom - corner, corner


def find_tiles(area: Area, tile_px: int) -> TileRuns:
    """The tiles of ``tile_px`` that hold at least one pixel of ``area``. Pure; looks only at rows the area reaches."""
    rows, columns = area.shape
    bands = {band: None for y0, y1 in area.row_ranges() for band in range(y0 // tile_px, -(-y1 // tile_px))}
    runs = [_runs(area, band, tile_px) for band in bands]
    stacked = np.concatenate(runs) if runs else np.empty((0, 3), np.int64)
    first = np.concatenate(([0], np.cumsum(stacked[:, 2] - stacked[:, 1])))
    return TileRuns(runs=stacked, first=first, grid_shape=(-(-rows // tile_px), -(-columns // tile_px)))


def _runs(area: Area, band: int, tile_px: int) -> Ints:
    _, starts, stops = area.spans(band * tile_px, min((band + 1) * tile_px, area.shape[0]))
    # A border repeats itself from row to row: few pairs are left to merge. As one number they sort fast.
    base = area.shape[1] + 1
    pairs = np.unique(starts // tile_px * base + -(-stops // tile_px))
    begin, reach = pairs // base, np.maximum.accumulate(pairs % base)
    new = np.flatnonzero(begin[1:] > reach[:-1]) + 1
    first = np.concatenate((np.zeros(min(1, len(begin)), np.int64), new))
    last = np.concatenate((new - 1, np.full(min(1, len(begin)), len(begin) - 1, np.int64)))
    return np.stack((np.full(len(first), band, np.int64), begin[first], reach[last]), axis=1)
