"""Sums of blocks under many squares at once, by a summed-area table.

Pure. Refuses to know what is counted.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Self

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Edges:
    """Positions along one axis, in blocks counted from ``first``, one for each square."""

    first: int
    last: int
    """Blocks [first, last) are all that any square touches."""
    low: NDArray[np.intp]
    """The edge of a block at or before each square's beginning."""
    low_rest: Floats
    """How much of that block lies before the square, from 0 to 1."""
    high: NDArray[np.intp]
    high_rest: Floats

    @classmethod
    def of(cls, length: int, block_px: int, starts: NDArray[np.integer], size_px: int) -> Self:
        edges = np.minimum(np.arange(-(-length // block_px) + 1) * block_px, length)
        # beyond the first and the last edge lies nothing
        low, high = (np.interp(starts + far, edges, np.arange(edges.size)) for far in (0, size_px))
        first = min(int(low.min()), edges.size - 2) if starts.size else 0
        last = max(int(np.ceil(high.max())), first + 1) if starts.size else 1
        found = []
        for each in (low - first, high - first):
            whole = np.minimum(each.astype(np.intp), last - first - 1)
            found += [whole, each - whole]
        return cls(first=first, last=last, low=found[0], low_rest=found[1], high=found[2], high_rest=found[3])


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class BlocksUnder:
    """Squares over a grid of blocks; a block that is cut counts by the part of its area that is covered."""

    y: _Edges
    x: _Edges

    @classmethod
    def of(
        cls,
        shape: tuple[int, int],
        block_px: int,
        y0: NDArray[np.integer],
        x0: NDArray[np.integer],
        size_px: int,
    ) -> Self:
        """Squares of ``size_px`` from (``y0``, ``x0``), (n,) each, in pixels of a (y, x) array of ``shape``. Pure."""
        rows, columns = np.broadcast_arrays(y0, x0)
        return cls(y=_Edges.of(shape[0], block_px, rows, size_px), x=_Edges.of(shape[1], block_px, columns, size_px))

    @property
    def count(self) -> int:
        """Of squares."""
        return self.y.low.size

    def sum(self, blocks: NDArray[np.integer]) -> Floats:
        """(n,): of ``blocks`` (block_y, block_x), what lies under each square. Pure."""
        y, x = self.y, self.x
        part = blocks[y.first : y.last, x.first : x.last]
        table = np.zeros((part.shape[0] + 1, part.shape[1] + 1))
        np.cumsum(part, axis=0, out=table[1:, 1:], dtype=np.float64)
        np.cumsum(table, axis=1, out=table)
        ends = {"high": (y.high, y.high_rest), "low": (y.low, y.low_rest)}
        below, above = (_between(table, *ends[end], x) for end in ("high", "low"))
        return below - above


def _between(table: Floats, row: NDArray[np.intp], rest: Floats, x: _Edges) -> Floats:
    """Sum of all above a line, within the columns of each square."""
    return _at(table, row, rest, x.high, x.high_rest) - _at(table, row, rest, x.low, x.low_rest)


def _at(table: Floats, row: NDArray[np.intp], y_rest: Floats, column: NDArray[np.intp], x_rest: Floats) -> Floats:
    """The table between its entries, linear in both directions."""
    upper = table[row, column] * (1 - x_rest) + table[row, column + 1] * x_rest
    if not y_rest.any():
        return np.asarray(upper)
    lower = table[row + 1, column] * (1 - x_rest) + table[row + 1, column + 1] * x_rest
    return np.asarray(upper * (1 - y_rest) + lower * y_rest)
