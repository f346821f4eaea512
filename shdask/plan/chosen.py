"""What was chosen of an area: windows of pixels, and the dates at which tiles are bought for them.

Pure. Refuses to know who chooses, and why.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

import numpy as np

from shdask.plan.area import Area, meet_spans, merge_spans

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shdask.plan.area import Spans
    from shdask.plan.reach import Reach
    from shdask.plan.timeline import Timeline

    Ints = NDArray[np.int64]
    Times = NDArray[np.datetime64]

BLOCK_ROWS = 512
"""Runs of so many rows are in memory at once."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ChosenDates:
    """At which times cells of the tile grid are bought, where not at all of them; a row for each cell and span."""

    cells: Ints
    """Row x columns + column of tiles."""
    starts: Times
    """UTC."""
    ends: Times
    """After the last moment."""

    def limit(self, reach: Reach, timeline: Timeline) -> Reach:
        """Of what the steps of ``timeline`` reach, the cells that are bought at a moment of the step's. Pure."""
        packed = reach.packed.copy()
        rows, columns = reach.grid_shape
        for index, step in enumerate(timeline.steps):
            begin, end = _moment(step.interval.start), _moment(step.interval.end)
            wanted = np.zeros(rows * columns, np.bool_)
            wanted[self.cells[(self.starts < end) & (self.ends > begin)]] = True
            packed[index] &= np.packbits(wanted)
        return replace(reach, packed=packed)


def choose_pixels(area: Area, windows: Ints) -> Area:
    """The pixels of ``area`` that lie in one of ``windows`` or several, as an area of rectangles. Pure.

    ``windows`` is (window, 4): first row, row after the last, first column, column after the last.
    """
    columns = area.shape[1]
    boxes = [np.empty((0, 4), np.int64)]
    for first, last in _row_ranges(windows):
        for y0 in range(first, last, BLOCK_ROWS):
            y1 = min(y0 + BLOCK_ROWS, last)
            boxes.append(_stack(*meet_spans(_spans(windows, y0, y1, columns), area.spans(y0, y1), columns=columns)))
    return _of_boxes(np.concatenate(boxes), area.shape)


def cells_of(windows: Ints, tile_px: int, columns: int) -> tuple[Ints, Ints]:
    """(window, cell), one entry each: positions of ``windows``, and the cells of ``tile_px`` that each meets. Pure.

    A cell is row x ``columns`` + column.
    """
    y0, x0 = windows[:, 0] // tile_px, windows[:, 2] // tile_px
    height, width = -(-windows[:, 1] // tile_px) - y0, -(-windows[:, 3] // tile_px) - x0
    counts = height * width
    window = np.repeat(np.arange(len(windows)), counts)
    within = np.arange(window.size) - np.repeat(np.cumsum(counts) - counts, counts)
    down, across = np.divmod(within, width[window])
    return window, (y0[window] + down) * columns + x0[window] + across


def _row_ranges(windows: Ints) -> list[tuple[int, int]]:
    """Disjoint [first, after the last) rows that windows meet, from the north."""
    ordered = windows[np.argsort(windows[:, 0], kind="stable"), :2]
    reach = np.maximum.accumulate(ordered[:, 1])
    new = np.flatnonzero(ordered[1:, 0] > reach[:-1]) + 1
    firsts, lasts = np.concatenate(([0], new)), np.concatenate((new - 1, [len(ordered) - 1]))
    return [(int(ordered[first, 0]), int(reach[last])) for first, last in zip(firsts, lasts, strict=True)]


def _spans(windows: Ints, y0: int, y1: int, columns: int) -> Spans:
    some = windows[(windows[:, 0] < y1) & (windows[:, 1] > y0)]
    first, last = np.maximum(some[:, 0], y0), np.minimum(some[:, 1], y1)
    counts = last - first
    window = np.repeat(np.arange(len(some)), counts)
    rows = first[window] + np.arange(window.size) - np.repeat(np.cumsum(counts) - counts, counts)
    return merge_spans(rows, some[window, 2], some[window, 3], columns=columns)


def _stack(rows: Ints, starts: Ints, stops: Ints) -> Ints:
    """(box, 4) of disjoint runs: those of equal columns in rows one below the other become one."""
    order = np.lexsort((rows, stops, starts))
    rows, starts, stops = rows[order], starts[order], stops[order]
    goes_on = (np.diff(rows) == 1) & (np.diff(starts) == 0) & (np.diff(stops) == 0)
    first = np.flatnonzero(np.concatenate((np.ones(min(1, rows.size), np.bool_), ~goes_on)))
    last = np.append(first[1:], rows.size)[: first.size] - 1
    return np.stack((rows[first], rows[last] + 1, starts[first], stops[first]), axis=1)


def _of_boxes(boxes: Ints, shape: tuple[int, int]) -> Area:
    """The area of disjoint boxes. Level edges count for nothing here, and where the area is made coarser they do."""
    y0, y1, x0, x1 = boxes.astype(np.float64).T
    sides = ((x0, y0, x0, y1), (x1, y0, x1, y1), (x0, y0, x1, y0), (x0, y1, x1, y1))
    edges = np.concatenate([np.stack(side, axis=1) for side in sides])
    edges = edges[np.argsort(edges[:, 1], kind="stable")]
    return Area(edges=edges, reach=np.maximum.accumulate(edges[:, 3]), shape=shape)


def _moment(time: datetime) -> np.datetime64:
    return np.datetime64(time.replace(tzinfo=None), "us")
