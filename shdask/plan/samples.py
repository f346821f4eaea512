"""How many dates a composite reads of each window: the days on which a scene of its step reaches it; and what it costs.

Pure. Refuses to know bands and scripts.
"""

from __future__ import annotations

import hashlib
from collections import defaultdict
from collections.abc import Sequence
from dataclasses import replace
from datetime import date
from typing import TYPE_CHECKING

import numpy as np
import shapely
from pyproj import Transformer

from shdask.errors import PlanError
from shdask.model import Window
from shdask.plan.acquisition import WGS84
from shdask.plan.windows import TileWindows
from shdask.request.evalscript import SAMPLE_DTYPES
from shdask.request.reproject import reproject, split_at_antimeridian

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shdask.plan.acquisition import Acquisition
    from shdask.plan.grid import Grid
    from shdask.plan.group import GroupPlan
    from shdask.plan.timeline import Step, Timeline

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]
    Shapes = NDArray[np.object_]

PIECES = 32
"""Into how many each side of a window is cut before it is bent into degrees."""
BLOCK_BOXES = 4096
"""The outlines of so many windows are in memory at once: 2 kB each, and four times as much while they are made."""
KEPT = 4
"""Counts that a plan keeps: of its tiles whole, as they are cut, and as they are by jobs."""
FEW = 256
"""Counts of fewer windows are made again: those of single requests."""
HALF_ROUND = 180.0
DEGREES_OFF = 1e-6


class SampleMemo:
    """The last counts of plans that descend from one; pickled empty, for all can be counted again."""

    __slots__ = ("_found",)

    def __init__(self) -> None:
        self._found: dict[tuple[int, bytes], tuple[Timeline, Grid, Floats]] = {}

    def __reduce__(self) -> tuple[type[SampleMemo], tuple[()]]:
        return SampleMemo, ()

    def count(self, timeline: Timeline, of_step: NDArray[np.intp], boxes: Ints, grid: Grid) -> Floats:
        """`count_samples` of windows at steps of ``timeline``; of many windows it is read only."""
        if len(boxes) < FEW:
            return count_samples(timeline.steps, of_step, boxes, grid)
        asked = hashlib.blake2b(np.column_stack((of_step, boxes)).astype(np.int64).tobytes()).digest()
        key = id(timeline), asked
        known = self._found.get(key)
        if known is not None and known[0] is timeline and known[1] == grid:
            return known[2]
        found = count_samples(timeline.steps, of_step, boxes, grid)
        found.setflags(write=False)
        for oldest in list(self._found)[: 1 - KEPT]:
            self._found.pop(oldest, None)
        self._found[key] = timeline, grid, found
        return found


def count_samples(steps: Sequence[Step], of_step: NDArray[np.intp], boxes: Ints, grid: Grid) -> Floats:
    """(window,): on how many UTC days a scene meets each window at its step, as the service counts samples. Pure.

    ``of_step`` is each window's position in ``steps``; ``boxes`` is (window, 4): first row, row after the last, first
    column, column after the last, in the array. Within a day the service lays scenes over each other (documentation
    page on evalscripts, ORBIT); those that meet a request's box count at all its pixels.
    """
    unique, place = np.unique(boxes, axis=0, return_inverse=True)
    place = place.reshape(-1)
    order = np.argsort(place, kind="stable")
    footprints = {number: _by_day(_scenes_of(steps, number)) for number in np.unique(of_step).tolist()}
    found: Floats = np.zeros(len(boxes))
    for first in range(0, len(unique), BLOCK_BOXES):
        block = unique[first : first + BLOCK_BOXES]
        begin, end = np.searchsorted(place[order], (first, first + len(block)))
        some = order[begin:end]
        tree = shapely.STRtree(_in_degrees(block, grid))
        for number in np.unique(of_step[some]).tolist():
            here = some[of_step[some] == number]
            found[here] = _count_days(footprints[number], tree)[place[here] - first]
    return found


def _scenes_of(steps: Sequence[Step], number: int) -> Sequence[Acquisition]:
    """All scenes that a request for a step finds; one that buys a step again names only the new ones itself."""
    step = steps[number]
    if not step.revision:
        return step.acquisitions
    known = {scene.id: scene for each in steps for scene in each.acquisitions}
    return [scene for scene in known.values() if step.interval.start <= scene.time < step.interval.end]


def _by_day(scenes: Sequence[Acquisition]) -> list[Shapes]:
    """The footprints of each UTC day."""
    found: dict[date, list[shapely.Geometry]] = defaultdict(list)
    for scene in scenes:
        found[scene.time.date()].append(scene.footprint)
    return [np.array(some, dtype=object) for some in found.values()]


def _count_days(footprints: Sequence[Shapes], tree: shapely.STRtree) -> Floats:
    """(box,): on how many days a footprint meets each box of ``tree``."""
    # not by shapely.prepare: plans are read by several threads
    hits = [np.unique(tree.query(some, predicate="intersects")[1]) for some in footprints]
    return np.bincount(np.concatenate([np.empty(0, np.intp), *hits]), minlength=len(tree)).astype(np.float64)


def window_boxes(plan: GroupPlan, tiles: NDArray[np.intp]) -> tuple[NDArray[np.intp], Ints]:
    """(owner, boxes) of all windows of ``tiles``, by position in them and as `count_samples` has boxes. Pure."""
    cells = tiles % plan.tile_set.cell_count
    side, (height, width) = plan.store.tile_px, plan.grid.shape
    row, column = np.divmod(cells, plan.tile_set.grid_shape[1])
    whole = np.stack((row * side, np.minimum((row + 1) * side, height),
                      column * side, np.minimum((column + 1) * side, width)), axis=1).astype(np.int64)  # fmt: skip
    is_left = ~np.isin(tiles, [index for index, level in plan.reopened.levels.items() if level])
    owners, boxes = [], []
    for position in np.flatnonzero(~is_left).tolist():
        windows = plan.tile(int(tiles[position])).windows
        owners.append(np.full(len(windows), position))
        boxes.append(np.array([box_of(window) for window in windows]))
    for table, keys in ((plan.windows.by_tile, tiles), (plan.windows.by_cell, cells)):
        places = table.places(np.asarray(keys, np.int64))
        hits = np.flatnonzero(is_left & (places >= 0))
        if hits.size:
            counts, first = table.counts[places[hits]], table.first[:-1][places[hits]]
            before = np.cumsum(counts) - counts
            owners.append(np.repeat(hits, counts))
            boxes.append(table.boxes[np.repeat(first - before, counts) + np.arange(counts.sum())].astype(np.int64))
            is_left[hits] = False
    owners.append(np.flatnonzero(is_left))
    boxes.append(whole[is_left])
    return np.concatenate(owners).astype(np.intp), np.concatenate(boxes)


def price_composites(plan: GroupPlan, tiles: NDArray[np.intp]) -> Floats:
    """Projected processing units of ``tiles`` of a composite placed in time, one entry each. Pure."""
    owners, boxes = window_boxes(plan, tiles)
    samples = plan.samples(tiles[owners] // plan.tile_set.cell_count, boxes)
    prices = plan.layer.price_pixels(pixels_of(boxes), samples=samples)
    return np.asarray(np.bincount(owners, weights=prices, minlength=tiles.size), np.float64)


def with_mean_samples(plan: GroupPlan) -> GroupPlan:
    """The same plan, in whose layer the guess of how many dates a pixel has gives way to the mean of its tiles. Pure.

    By it windows are trimmed to the area, and compared with whole boxes. Raises PlanError where the dates of a step are
    more than the type in which they are counted holds.
    """
    tiles = plan.tile_set.indices()
    if not tiles.size:
        return plan
    owners, boxes = window_boxes(replace(plan, windows=TileWindows()), tiles)
    samples = plan.samples(tiles[owners] // plan.tile_set.cell_count, boxes)
    _check_count(plan, int(samples.max()))
    inputs = tuple(replace(each, samples=float(samples.mean())) for each in plan.layer.inputs)
    return replace(plan, layer=replace(plan.layer, inputs=inputs))


def _check_count(plan: GroupPlan, dates: int) -> None:
    for part in plan.layer.parts:
        most = np.iinfo(SAMPLE_DTYPES[part.sample_type]).max if not part.is_float else dates
        if dates > most:
            raise PlanError(
                f"layers.{plan.layer.name}: composite: clear_count comes as {part.sample_type} as the bands do, which "
                f"holds {most}, and a step has up to {dates} dates; encode wider, or take a shorter cadence"
            )


def box_of(window: Window) -> tuple[int, int, int, int]:
    """The window as `count_samples` has boxes. Pure."""
    return window.y0, window.y1, window.x0, window.x1


def pixels_of(boxes: Ints) -> Floats:
    """(window,): number of pixels. Pure."""
    y0, y1, x0, x1 = boxes.astype(np.float64).T
    return np.asarray((y1 - y0) * (x1 - x0))


def _in_degrees(boxes: Ints, grid: Grid) -> Shapes:
    """The outlines of boxes in EPSG:4326, cut at the antimeridian."""
    rx, _, left, _, ry, top = grid.transform
    y0, y1, x0, x1 = boxes.astype(np.float64).T
    along = np.arange(PIECES) / PIECES
    still = np.zeros(PIECES)
    # clockwise from the upper left corner, as shares of the width and of the height
    u = np.concatenate((along, still + 1.0, 1.0 - along, still))
    v = np.concatenate((still, along, still + 1.0, 1.0 - along))
    x = left + (x0[:, None] + u * (x1 - x0)[:, None]) * rx
    y = top + (y0[:, None] + v * (y1 - y0)[:, None]) * ry
    longitudes, latitudes = Transformer.from_crs(grid.crs, WGS84, always_xy=True).transform(x, y)
    outlines: Shapes = np.asarray(shapely.polygons(np.stack((longitudes, latitudes), axis=-1)))
    is_torn = ~np.isfinite(longitudes).all(axis=1) | (np.ptp(longitudes, axis=1) > HALF_ROUND)
    for number in np.flatnonzero(is_torn).tolist():
        rows, after, columns, end = boxes[number].tolist()
        box = shapely.box(*grid.bounds(Window(y0=rows, y1=after, x0=columns, x1=end)))
        outlines[number] = split_at_antimeridian(reproject(box, grid.crs, WGS84, tolerance=DEGREES_OFF), WGS84)
    return outlines
