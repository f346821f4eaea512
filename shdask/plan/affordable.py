"""Windows of composites cut smaller, where the dates that they read would make a request too dear for the account.

Pure. Refuses to know why windows are as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import cache
from itertools import pairwise
from math import ceil, sqrt
from typing import TYPE_CHECKING

import numpy as np

from shdask.model import Window
from shdask.plan.bundles import MAX_MINUTE_SHARE
from shdask.plan.samples import box_of, pixels_of, window_boxes
from shdask.plan.windows import TileWindows, WindowTable

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shdask.plan.group import GroupPlan

    Floats = NDArray[np.float64]

Box = tuple[int, int, int, int]
"""First row, row after the last, first column, column after the last; in the array."""


def cut_dear_windows(plan: GroupPlan) -> TileWindows:
    """The windows of a composite's plan, each in as few nearly equal ones as no request costs more than it may. Pure.

    That is a quarter of a minute's units, by the dates that the window reads: the service never serves a request
    dearer than its whole bucket. A tile's windows do not depend on other tiles; where none is too dear, the same ones
    are returned.
    """
    tiles, windows = plan.tile_set.indices(), plan.windows
    owners, boxes = window_boxes(replace(plan, reopened=type(plan.reopened)()), tiles)
    most_px = _affordable_px(plan, plan.samples(tiles[owners] // plan.tile_set.cell_count, boxes))
    dear = np.unique(owners[pixels_of(boxes) > most_px])
    if not dear.size:
        return windows
    pieces = cache(_pieces)  # many dates have the same
    known = _boxes_of(windows.by_tile)
    cut: dict[int, list[Box]] = {int(tiles[owner]): [] for owner in dear}
    some = np.flatnonzero(np.isin(owners, dear))
    for owner, box, most in zip(owners[some].tolist(), boxes[some].tolist(), most_px[some].tolist(), strict=True):
        cut[int(tiles[owner])] += pieces(tuple(box), most)
    return replace(windows, area=plan.area, timeline=plan.timeline, by_tile=_table({**known, **cut}))


def cut_dear_window(plan: GroupPlan, window: Window, index: int) -> tuple[Window, ...]:
    """``window`` of the tile at ``index``, cut by the same rule. Pure."""
    step, box = index // plan.tile_set.cell_count, box_of(window)
    most_px = _affordable_px(plan, plan.samples(np.array([step]), np.array([box])))
    return tuple(Window(y0=y0, y1=y1, x0=x0, x1=x1) for y0, y1, x0, x1 in _pieces(box, float(most_px[0])))


def _affordable_px(plan: GroupPlan, samples: Floats) -> Floats:
    """(window,): how many pixels one request may have at so many dates; no fewer than it is charged at least."""
    million, layer = np.full(samples.shape, 1e6), plan.layer
    pu = np.stack([layer.part_prices(part, million, samples=samples) for part in layer.parts]).max(axis=0)
    afford: Floats = np.full(samples.shape, np.inf)
    np.divide(MAX_MINUTE_SHARE * plan.deployment.pu_per_minute * 1e6, pu, out=afford, where=pu > 0)
    return np.maximum(afford, layer.prices.min_area * layer.prices.px_per_pu)


def _boxes_of(table: WindowTable) -> dict[int, Sequence[Box]]:
    boxes: list[Box] = [(y0, y1, x0, x1) for y0, y1, x0, x1 in table.boxes.tolist()]
    first = table.first.tolist()
    return {key: boxes[first[place] : first[place + 1]] for place, key in enumerate(table.keys.tolist())}


def _table(boxes: dict[int, Sequence[Box]]) -> WindowTable:
    keys = sorted(boxes)
    return WindowTable(
        keys=np.array(keys, np.int64),
        first=np.cumsum([0, *(len(boxes[key]) for key in keys)], dtype=np.int64),
        boxes=np.array([box for key in keys for box in boxes[key]], np.int32).reshape(-1, 4),
    )


def _pieces(box: Box, most_px: float) -> list[Box]:
    y0, y1, x0, x1 = box
    pixels = (y1 - y0) * (x1 - x0)
    count = ceil(pixels / most_px)
    while True:
        found = list(_in_rows(box, count))
        largest = max((bottom - top) * (right - left) for top, bottom, left, right in found)
        if largest <= most_px or count >= pixels:
            return found
        count = max(count + 1, int(count * largest / most_px))  # whole pixels make some larger than others


def _in_rows(box: Box, count: int) -> Iterator[Box]:
    """``count`` pieces as square and as equal as may be: rows are as high as they hold many."""
    y0, y1, x0, x1 = box
    height, width = y1 - y0, x1 - x0
    down = max(1, min(height, count, round(sqrt(count * height / width))))
    for before, after in pairwise(_edges(0, count, down)):
        top, bottom = y0 + height * before // count, y0 + height * after // count
        for left, right in pairwise(_edges(x0, x1, after - before)):
            if top < bottom and left < right:
                yield top, bottom, left, right


def _edges(first: int, last: int, parts: int) -> list[int]:
    return [first + (last - first) * part // parts for part in range(parts + 1)]
