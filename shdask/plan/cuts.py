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

    Floats = NDArray[np.float64]
    Prices = NDArray[np.float32]
    Boxes = NDArray[np.int16]
    """(4, ...): first row, row after the last, first column, column after the last, counted from the tile's corner;
    the first after the last where there is none."""

Box = tuple[int, int, int, int]
"""First row, row after the last, first column, column after the last; of cells: row, column, rows, columns."""
CELLS = 16
"""Cuts run along the borders of so many cells a side: 32 cost sixteen times as much and gain 0.1 %."""
NOWHERE = 2**13
"""Beyond the pixels of any tile; twice as much is still 16 bits."""


def find_boxes(spans: Spans, tile: Window) -> Boxes:
    """(4, CELLS, CELLS): the least box of the pixels of ``spans`` in each cell of ``tile``. Pure.

    ``spans`` lie inside the tile, by row.
    """
    rows, starts, stops = (
        (part - corner).astype(np.int16)[:, None]
        for part, corner in zip(spans, (tile.y0, tile.x0, tile.x0), strict=True)
    )
    ys, xs = (np.arange(CELLS + 1, dtype=np.int16) * side // CELLS for side in np.array(tile.shape, np.int32))
    left, right = np.maximum(starts, xs[:-1]), np.minimum(stops, xs[1:])
    is_there = left < right
    bands = np.searchsorted(rows[:, 0], ys)
    held = np.flatnonzero(np.diff(bands))
    first = bands[held]
    boxes = np.empty((4, CELLS, CELLS), np.int16)
    boxes[0::2], boxes[1::2] = NOWHERE, -NOWHERE
    boxes[0, held] = np.minimum.reduceat(np.where(is_there, rows, NOWHERE), first)
    boxes[1, held] = np.maximum.reduceat(np.where(is_there, rows + 1, -NOWHERE), first)
    boxes[2, held] = np.minimum.reduceat(np.where(is_there, left, NOWHERE), first)
    boxes[3, held] = np.maximum.reduceat(np.where(is_there, right, -NOWHERE), first)
    return boxes


@dataclass(frozen=True, slots=True, kw_only=True)
class Cutter:
    """Cuts so that what the boxes cost together is the least that such cuts can reach."""

    price: Callable[[Floats], Floats]
    """Cost of boxes of so many pixels, one entry each: no less for more, and no more for all in one than for two."""
    per_box: float
    """What every further box costs besides."""

    def cut(self, boxes: Boxes, pixels: Floats) -> list[list[Box]]:
        """For each tile the boxes it is best bought in: disjoint, each tight, together all pixels. Pure.

        ``boxes`` is (4, CELLS, CELLS, tile), as `find_boxes` makes them, and ``pixels`` how many each tile has.
        Optimal among all ways to cut along the borders of cells, every cut right across what it cuts ("guillotine"),
        to the seven digits that prices are counted in.
        """
        tight = np.empty((4, boxes.shape[-1]), np.int16)
        boxes[0::2].min(axis=(1, 2), out=tight[0::2])
        boxes[1::2].max(axis=(1, 2), out=tight[1::2])
        # two boxes cost no less than the pixels alone
        may_pay = self._whole(tight) > self.price(pixels) + 2 * self.per_box
        cut = [[(y0, y1, x0, x1)] for y0, y1, x0, x1 in tight.T.tolist()]
        places = np.flatnonzero(may_pay)
        if places.size:
            table = self._fill(np.ascontiguousarray(boxes[..., places]))
            for index, place in enumerate(places.tolist()):
                cut[place] = table.trace(index)
        return cut

    def _fill(self, boxes: Boxes) -> _Table:
        """For all rectangles of cells, those of few cells first: each whole, or as the cheapest two that make it up."""
        table = _Table()
        tight, whole, best = table.tight, table.whole, table.best
        tight[1, 1] = boxes
        room = np.empty(boxes[0].size, np.float32)
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
                two = room[: cost.size].reshape(cost.shape)
                for above in range(1, height):
                    np.add(best[above, width][:rows], best[height - above, width][above : above + rows], out=two)
                    np.minimum(cost, two, out=cost)
                for left in range(1, width):
                    np.add(
                        best[height, left][:, :columns], best[height, width - left][:, left : left + columns], out=two
                    )
                    np.minimum(cost, two, out=cost)
                best[height, width] = cost
        return table

    def _whole(self, boxes: Boxes) -> Prices:
        sides = np.maximum(boxes[1::2] - boxes[0::2], 0).astype(np.float32)
        pixels = sides[0] * sides[1]
        return np.where(pixels > 0, self.price(pixels) + np.float32(self.per_box), np.float32(0)).astype(np.float32)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Table:
    """By (rows, columns) of cells, of all rectangles of that size: where they are, tile by tile."""

    tight: dict[tuple[int, int], Boxes] = field(default_factory=dict)
    """Their least boxes of pixels."""
    whole: dict[tuple[int, int], Prices] = field(default_factory=dict)
    """What they cost in one."""
    best: dict[tuple[int, int], Prices] = field(default_factory=dict)
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
            cost = self.best[height, width][row, column, tile]
            if self.whole[height, width][row, column, tile] <= cost:
                found.append((y0, y1, x0, x1))
            else:
                stack += self._halves((row, column, height, width), tile, cost)
        return found

    def _halves(self, cells: Box, tile: int, cost: np.float32) -> tuple[Box, Box]:
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
