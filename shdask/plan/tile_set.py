"""TileSet: the tiles of a layer in space and time, their indices, and which of them one request can bring together.

Refuses to know pixels, prices and bands.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from itertools import groupby
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shdask.plan.reach import Reach
    from shdask.plan.tiles import TileRuns


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TileSet:
    """Cells of the tile grid that hold a pixel of the area, at each step those that an acquisition reaches.

    A tile's index is step x (rows x columns) + row x columns + column: it stays when steps are appended and when
    the area grows inside the array.
    """

    runs: TileRuns
    """The area's cells."""
    reach: Reach | None = None
    """Where each step's acquisitions are; None without a time axis."""
    declined: Reach | None = None
    """What acquisitions reach, and somebody has chosen not to buy; ``reach`` has no cell of it."""
    cloudy: NDArray[np.bool_] | None = None
    """(step, row, column): True where a coarse look has found too little clear ground for a tile to be bought."""
    bundles: tuple[int, ...] = ()
    """For each step the number of its bundle: tiles of one cell whose steps share it come with one request."""

    @property
    def grid_shape(self) -> tuple[int, int]:
        """(rows, columns) of tiles in the whole array, planned or not."""
        return self.runs.grid_shape

    @property
    def step_count(self) -> int:
        """Length of the time axis; 1 where there is none."""
        return 1 if self.reach is None else self.reach.step_count

    @property
    def cell_count(self) -> int:
        """Tiles in the whole array at one step, planned or not."""
        rows, columns = self.grid_shape
        return rows * columns

    @property
    def index_count(self) -> int:
        """Every index is below."""
        return self.cell_count * self.step_count

    @property
    def count(self) -> int:
        """Number of tiles."""
        return self.runs.count if self.reach is None else self.indices().size

    def place(self, index: int) -> tuple[int, int, int]:
        """(step, row, column) of a tile. Pure. Raises IndexError outside the array."""
        if not 0 <= index < self.index_count:
            raise IndexError(f"tile {index} of a cube with {self.index_count}")
        step, cell = divmod(int(index), self.cell_count)
        return step, *divmod(cell, self.grid_shape[1])

    def holds(self, index: int) -> bool:
        """Whether there is a tile at ``index``. Pure. Raises IndexError outside the array."""
        step, row, column = self.place(index)
        cells = np.asarray([row]), np.asarray([column])
        if not self.runs.holds(row, column) or (self.cloudy is not None and self.cloudy[step, row, column]):
            return False
        return self.reach is None or bool(self.reach.cells(step, *cells)[0])

    def indices(self) -> NDArray[np.intp]:
        """Index of every tile, ascending. Pure."""
        return self._drop_cloudy(self._select(reached=True))

    def too_cloudy(self) -> NDArray[np.intp]:
        """Index of every cell of the area that is no tile at a step for clouds alone, ascending. Pure."""
        reached = self._select(reached=True)
        return np.setdiff1d(reached, self._drop_cloudy(reached), assume_unique=True)

    def _drop_cloudy(self, indices: NDArray[np.intp]) -> NDArray[np.intp]:
        return indices if self.cloudy is None else indices[~self.cloudy.ravel()[indices]]

    def unreached(self) -> NDArray[np.intp]:
        """Index of every cell of the area at every step at which no acquisition reaches it, ascending. Pure."""
        return np.setdiff1d(self._select(reached=False), self.not_chosen(), assume_unique=True)

    def not_chosen(self) -> NDArray[np.intp]:
        """Index of every cell of the area at every step of whose scenes it is chosen not to be bought. Pure."""
        return self._cells()[:0] if self.declined is None else self._pick(self.declined, reached=True)

    def _select(self, *, reached: bool) -> NDArray[np.intp]:
        if self.reach is not None:
            return self._pick(self.reach, reached=reached)
        return self._cells() if reached else self._cells()[:0]

    def _cells(self) -> NDArray[np.intp]:
        rows, columns = self.runs.cells(0, self.runs.count)
        return np.asarray(rows * self.grid_shape[1] + columns, np.intp)

    def _pick(self, table: Reach, *, reached: bool) -> NDArray[np.intp]:
        cells = self._cells()
        picked = [
            cells[table.mask(step).ravel()[cells] == reached] + step * self.cell_count
            for step in range(self.step_count)
        ]
        return np.concatenate([cells[:0], *picked])

    def in_order(self, indices: NDArray[np.intp]) -> NDArray[np.intp]:
        """``indices`` as they are best worked on: those of a bundle side by side. Pure."""
        return indices[np.lexsort((indices, self.bundle_numbers(indices)))] if self.bundles else indices

    def bundle_numbers(self, indices: NDArray[np.intp]) -> NDArray[np.intp]:
        """For each of ``indices`` a number that it shares with those that can come with one request. Pure."""
        if not self.bundles:
            return indices
        step, cell = np.divmod(indices, self.cell_count)
        return np.asarray(self.bundles, np.intp)[step] * self.cell_count + cell

    def bundle(self, indices: Iterable[int]) -> Iterator[list[int]]:
        """``indices``, which are `in_order`, in groups that one request can bring. Pure."""

        def number(index: int) -> tuple[int, int]:
            step, cell = divmod(index, self.cell_count)
            return (self.bundles[step] if self.bundles else step), cell

        return (list(group) for _, group in groupby(map(int, indices), number))

    def are_alone(self) -> NDArray[np.bool_]:
        """(step,): whether the tiles of a step are each bought with a request of their own. Pure."""
        if not self.bundles:
            return np.ones(self.step_count, np.bool_)
        numbers = np.asarray(self.bundles, np.intp)
        return np.asarray(np.bincount(numbers)[numbers] == 1)

    def bundle_count(self) -> int:
        """How many groups `bundle` makes of all tiles. Pure."""
        return int(np.unique(self.bundle_numbers(self.indices())).size) if self.bundles else self.count

    def counts_by_size(self) -> tuple[int, int, int, int]:
        """Numbers of tiles (inner, in the last column, in the last row, in the corner), each tile once. Pure."""
        if self.reach is None:
            return self.runs.counts_by_size()
        rows, columns = self.grid_shape
        row, column = np.divmod(self.indices() % self.cell_count, columns)
        counts = np.bincount(2 * (row == rows - 1) + (column == columns - 1), minlength=4)
        inner, right, bottom, corner = (int(count) for count in counts)
        return inner, right, bottom, corner
