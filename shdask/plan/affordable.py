"""Windows of composites cut smaller, where the dates that they read would make a request too dear for the account.

Pure. Refuses to know why windows are as they are.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from itertools import pairwise
from math import ceil, inf, sqrt
from typing import TYPE_CHECKING

import numpy as np

from shdask.plan.bundles import MAX_MINUTE_SHARE
from shdask.plan.windows import TileWindows, WindowTable

if TYPE_CHECKING:
    from shdask.plan.ground import Ground
    from shdask.plan.layer import LayerPlan
    from shdask.settings import Deployment

Box = tuple[int, int, int, int]
"""First row, row after the last, first column, column after the last; in the array."""


def cut_dear_windows(windows: TileWindows, ground: Ground, layer: LayerPlan, deployment: Deployment) -> TileWindows:
    """The same windows, each in as few nearly equal ones as cost no more than a quarter of a minute's units. Pure.

    By the mean dates of the layer's tiles. The service never serves a request dearer than its whole bucket. Tiles that
    were bought whole are cut as well; where none is too dear, the same windows are returned.
    """
    most_px = _affordable_px(layer, deployment)
    if max(ground.whole_px, float(windows.by_tile.pixels.max(initial=0))) <= most_px:
        return windows
    return replace(
        windows,
        area=ground.area,
        timeline=ground.timeline,
        by_cell=_cut(_every_cell(windows.by_cell, ground), most_px),
        by_tile=_cut(_boxes_of(windows.by_tile), most_px),
    )


def _affordable_px(layer: LayerPlan, deployment: Deployment) -> float:
    million = float(max(layer.part_prices(part, np.array([1e6]))[0] for part in layer.parts))
    return MAX_MINUTE_SHARE * deployment.pu_per_minute / million * 1e6 if million else inf


def _every_cell(table: WindowTable, ground: Ground) -> dict[int, Sequence[Box]]:
    runs, columns = ground.tiles.runs, ground.tiles.grid_shape[1]
    known = _boxes_of(table)
    found: dict[int, Sequence[Box]] = {}
    for row, column in zip(*(each.tolist() for each in runs.cells(0, runs.count)), strict=True):
        extent = ground.extent(row, column)
        found[row * columns + column] = known.get(
            row * columns + column, [(extent.y0, extent.y1, extent.x0, extent.x1)]
        )
    return found


def _boxes_of(table: WindowTable) -> dict[int, Sequence[Box]]:
    boxes: list[Box] = [(y0, y1, x0, x1) for y0, y1, x0, x1 in table.boxes.tolist()]
    first = table.first.tolist()
    return {key: boxes[first[place] : first[place + 1]] for place, key in enumerate(table.keys.tolist())}


def _cut(boxes: Mapping[int, Sequence[Box]], most_px: float) -> WindowTable:
    keys = sorted(boxes)
    pieces = [[piece for box in boxes[key] for piece in _pieces(box, most_px)] for key in keys]
    return WindowTable(
        keys=np.array(keys, np.int64),
        first=np.cumsum([0, *map(len, pieces)], dtype=np.int64),
        boxes=np.array([piece for some in pieces for piece in some], np.int32).reshape(-1, 4),
    )


def _pieces(box: Box, most_px: float) -> Iterator[Box]:
    y0, y1, x0, x1 = box
    height, width = y1 - y0, x1 - x0
    count = max(1, ceil(height * width / most_px))
    down = min(height, max(1, ceil(sqrt(count * height / width))))
    across = min(width, ceil(count / down))
    rows, columns = _edges(y0, y1, down), _edges(x0, x1, across)
    for top, bottom in pairwise(rows):
        for left, right in pairwise(columns):
            yield top, bottom, left, right


def _edges(first: int, last: int, parts: int) -> list[int]:
    return [first + (last - first) * part // parts for part in range(parts + 1)]
