"""Rectangles cut into cheaper ones: many boxes of pixels at once, by straight cuts from side to side.

Pure. Refuses to know areas, tiles and what a request is for.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shdask.model import Window
    from shdask.plan.area import Spans

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]
    Boxes = NDArray[np.int16]
    """(4, ...): first row, row after the last, first column, column after the last, counted from the tile's corner;
    the first after the last where there is none."""

Box = tuple[int, int, int, int]
"""First row, row after the last, first column, column after the last; of cells: row, column, rows, columns."""
CELLS = 16
"""Cuts run along the borders of so many cells a side: 32 cost sixteen times as much and gain 0.1 %."""
NOWHERE = 2**14
"""Beyond the pixels of any tile."""
SLACK = 1e-9
"""Of a price: sums of the same numbers in another order differ by less."""


def find_boxes(spans: Spans, tile: Window) -> Boxes:
    """(4, CELLS, CELLS): the least box of the pixels of ``spans`` in each cell of ``tile``. Pure.

    ``spans`` lie inside the tile, by row.
    """
    rows, starts, stops = (
        (part - corner).astype(np.int16) for part, corner in zip(spans, (tile.y0, tile.x0, tile.x0), strict=True)
    )
    ys, xs = (np.arange(CELLS + 1) * side // CELLS for side in tile.shape)
    left, right = np.maximum(starts[:, None], xs[:-1].astype(np.int16)), np.minimum(stops[:, None], xs[1:])
    is_there = left < right
    boxes = np.empty((4, CELLS, CELLS), np.int16)
    boxes[0::2], boxes[1::2] = NOWHERE, -NOWHERE
    first = np.searchsorted(rows, ys)
    for cell in range(CELLS):
        band = slice(first[cell], first[cell + 1])
        if band.start == band.stop:
            continue
        inside, row = is_there[band], rows[band, None]
        boxes[0, cell] = np.where(inside, row, NOWHERE).min(axis=0)
        boxes[1, cell] = np.where(inside, row + 1, -NOWHERE).max(axis=0)
        boxes[2, cell] = np.where(inside, left[band], NOWHERE).min(axis=0)
        boxes[3, cell] = np.where(inside, right[band], -NOWHERE).max(axis=0)
    return boxes


@dataclass(frozen=True, slots=True, kw_only=True)
class Cutter:
    """Cuts so that what the boxes cost together is the least that such cuts can reach."""

    price: Callable[[Floats], Floats]
    """Cost of boxes of so many pixels, one entry each."""
    per_box: float
    """What every further box costs besides."""

    def cut(self, boxes: Boxes) -> list[list[Box]]:
        """For each tile the boxes it is best bought in: disjoint, each tight, together all pixels. Pure.

        ``boxes`` is (4, CELLS, CELLS, tile), as `find_boxes` makes them. Optimal among all ways to cut along the
        borders of cells, every cut right across what it cuts ("guillotine"): from the smallest rectangles of cells to
        the largest, each is bought whole or as the cheapest two that make it up.
        """
        table = self._best_of_all(boxes)
        return [table.trace(tile) for tile in range(boxes.shape[-1])]

    def _best_of_all(self, boxes: Boxes) -> _Table:
        """For all rectangles of cells, those of few cells first."""
        table = _Table()
        tight, whole, best = table.tight, table.whole, table.best
        tight[1, 1] = boxes
        for height in range(1, CELLS + 1):
            rows = CELLS - height + 1
            if height > 1:
                tight[height, 1] = _join(tight[height - 1, 1][:, :rows], boxes[:, height - 1 :])
            for width in range(1, CELLS + 1):
                columns = CELLS - width + 1
                if width > 1:
                    tight[height, width] = _join(
                        tight[height, width - 1][:, :, :columns], tight[height, 1][:, :, width - 1 :]
                    )
                whole[height, width] = self._whole(tight[height, width])
                cost = whole[height, width].copy()
                for above in range(1, height):
                    two = best[above, width][:rows] + best[height - above, width][above : above + rows]
                    np.minimum(cost, two, out=cost)
                for left in range(1, width):
                    two = best[height, left][:, :columns] + best[height, width - left][:, left : left + columns]
                    np.minimum(cost, two, out=cost)
                best[height, width] = cost
        return table

    def _whole(self, boxes: Boxes) -> Floats:
        sides = np.maximum(boxes[1::2].astype(np.float64) - boxes[0::2], 0.0)
        pixels = sides[0] * sides[1]
        return np.where(pixels > 0, self.price(pixels) + self.per_box, 0.0)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Table:
    """By (rows, columns) of cells, of all rectangles of that size: where they are, tile by tile."""

    tight: dict[tuple[int, int], Boxes] = field(default_factory=dict)
    """Their least boxes of pixels."""
    whole: dict[tuple[int, int], Floats] = field(default_factory=dict)
    """What they cost in one."""
    best: dict[tuple[int, int], Floats] = field(default_factory=dict)
    """What they cost at best."""

    def trace(self, tile: int) -> list[Box]:
        """Walk from the whole tile to the boxes that its best cost is made of."""
        found: list[Box] = []
        stack = [(0, 0, CELLS, CELLS)]
        while stack:
            row, column, height, width = stack.pop()
            y0, y1, x0, x1 = self.tight[height, width][:, row, column, tile].tolist()
            if y0 >= y1:
                continue
            cost = self.best[height, width][row, column, tile] * (1 + SLACK)
            if self.whole[height, width][row, column, tile] <= cost:
                found.append((y0, y1, x0, x1))
            else:
                stack += self._halves((row, column, height, width), tile, cost)
        return found

    def _halves(self, cells: Box, tile: int, cost: float) -> tuple[Box, Box]:
        """The first cut of ``cells`` (row, column, rows, columns) that costs no more than ``cost``."""
        best, (row, column, height, width) = self.best, cells
        for k in range(1, height):
            if best[k, width][row, column, tile] + best[height - k, width][row + k, column, tile] <= cost:
                return (row + k, column, height - k, width), (row, column, k, width)
        for k in range(1, width):
            if best[height, k][row, column, tile] + best[height, width - k][row, column + k, tile] <= cost:
                return (row, column + k, height, width - k), (row, column, height, k)
        raise AssertionError("what a rectangle costs at best is neither its own price nor that of two others")


def _join(one: Boxes, other: Boxes) -> Boxes:
    joined = np.empty_like(one)
    np.minimum(one[0::2], other[0::2], out=joined[0::2])
    np.maximum(one[1::2], other[1::2], out=joined[1::2])
    return joined
