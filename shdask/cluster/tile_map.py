"""A picture of tiles: any number of them in a few hundred thousand cells, each as the tile in it that matters most.

Pure. Refuses to know colours, and who looks at it.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shdask.cluster.snapshot import TileMark

MOST_CELLS = 500
"""On a side; more could not be told apart on a screen, and would be sent every second."""
BY_WEIGHT = (
    TileMark.OUTSIDE,
    TileMark.EMPTY,
    TileMark.WRITTEN,
    TileMark.UNTRIED,
    TileMark.IN_WORK,
    TileMark.FAILED,
)
"""What matters more comes later: a cell shows the last of its tiles' marks in this order."""
_WEIGHTS = np.argsort(BY_WEIGHT).astype(np.uint8)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TileMap:
    """What a map shows: cells of ``span`` x ``span`` tiles, the first in the north-west corner."""

    weights: NDArray[np.uint8]
    """(y, x) positions in `BY_WEIGHT`."""
    span: int
    grid_shape: tuple[int, int]
    """Rows and columns of tiles."""


def draw_map(states: NDArray[np.uint8], step: int | None) -> TileMap:
    """A map of (step, row, column) `TileMark`: of one step, or of all, one behind the other. Pure."""
    shown = states if step is None else states[step : step + 1]
    weights = np.take(_WEIGHTS, shown[0])
    for other in shown[1:]:
        np.maximum(weights, np.take(_WEIGHTS, other), out=weights)
    rows, columns = weights.shape
    span = max(1, -(-max(rows, columns) // MOST_CELLS))
    weights = _greatest(_greatest(weights, span).T, span).T
    return TileMap(weights=np.ascontiguousarray(weights), span=span, grid_shape=(rows, columns))


def _greatest(weights: NDArray[np.uint8], span: int) -> NDArray[np.uint8]:
    """The greatest of every ``span`` rows; fewer at the end."""
    found = weights[::span].copy() if span > 1 else weights
    for first in range(1, span):
        more = weights[first::span]
        np.maximum(found[: len(more)], more, out=found[: len(more)])
    return found


def find_tile(states: NDArray[np.uint8], step: int | None, row: int, column: int, span: int) -> int | None:
    """Index of the tile that the cell shows in which (row, column) lies; None beyond the map, and of no tile. Pure."""
    count, rows, columns = states.shape
    if not (0 <= row < rows and 0 <= column < columns):
        return None
    top, left = row - row % span, column - column % span
    first, last = (0, count) if step is None else (step, step + 1)
    block = _WEIGHTS[states[first:last, top : top + span, left : left + span]]
    found = np.unravel_index(int(block.argmax()), block.shape)
    if BY_WEIGHT[int(block[found])] is TileMark.OUTSIDE:
        return None
    at, y, x = found
    return int((first + at) * rows * columns + (top + y) * columns + left + x)
