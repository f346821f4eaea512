"""Which cells of the tile grid each step reaches: never fewer than the service would deliver data in.

Pure. Refuses to know areas, requests and prices.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import TYPE_CHECKING

import numpy as np
import shapely
from pyproj import Transformer

from shdask.errors import PlanError
from shdask.plan.acquisition import WGS84
from shdask.plan.area import Area, make_area
from shdask.plan.grown_area import join_areas

if TYPE_CHECKING:
    from collections.abc import Iterable

    from numpy.typing import NDArray

    from shdask.plan.grid import Grid
    from shdask.plan.timeline import Step, Timeline

    Floats = NDArray[np.float64]
    Bools = NDArray[np.bool_]
    Shapes = NDArray[np.object_]

MARGIN_PX = 4.0
"""Bicubic kernels read two pixels further, and footprints are rounded."""
MARGIN_SHARE = 0.001
"""Of a footprint's longer side: catalogues simplify outlines."""
WIDE_DEGREES = 60.0
"""A footprint this wide is taken to reach every cell: no scene is, but a stand-in for a broken footprint may be."""
SEGMENT_DEGREES = 0.05
CHORD_M = 20.0
"""More than a straight edge of that length can be off in any projection that the service has, up to 88 degrees."""
EARTH_RADIUS_M = 6_371_008.8
NUDGE_DEGREES = 1e-4


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Reach:
    """A table of steps by cells, a bit each."""

    packed: NDArray[np.uint8]
    """(step, byte): the cells of a step row by row from the north, eight a byte, the highest bit first."""
    grid_shape: tuple[int, int]
    """(rows, columns) of cells."""

    @property
    def step_count(self) -> int:
        """Length of the time axis."""
        return len(self.packed)

    def mask(self, index: int) -> Bools:
        """(row, column) of one step: True where it may hold data. Pure."""
        rows, columns = self.grid_shape
        return np.unpackbits(self.packed[index], count=rows * columns).astype(np.bool_).reshape(rows, columns)

    def cells(self, index: int, rows: NDArray[np.int64], columns: NDArray[np.int64]) -> Bools:
        """One entry for each pair of a row and a column of cells: True where the step may hold data. Pure."""
        flat = np.asarray(rows) * self.grid_shape[1] + np.asarray(columns)
        bits = self.packed[index, flat >> 3] >> (7 - (flat & 7)).astype(np.uint8)
        found: Bools = (bits & 1).astype(np.bool_)
        return found

    def without(self, other: Reach) -> Reach:
        """What is in this table and not in ``other``, of the same steps and cells. Pure."""
        return replace(self, packed=self.packed & ~other.packed)

    @property
    def counts(self) -> NDArray[np.int64]:
        """(step,) numbers of cells that may hold data."""
        counts: NDArray[np.int64] = np.bitwise_count(self.packed).sum(axis=1, dtype=np.int64)
        return counts


def find_reach(timeline: Timeline, grid: Grid, tile_px: int) -> Reach:
    """The cells of ``tile_px`` x ``tile_px`` pixels that a scene of each step may hold data in. Pure.

    Footprints are brought into the grid's CRS and widened by 4 pixels, 0.1 % of their longer side, and what an edge
    may bend by: catalogues give corners, and do not tell in which projection the line between them is straight.

    Raises PlanError where two passes whose intervals overlap reach one cell, for a request cannot tell them apart.
    """
    reach = find_cells(timeline, grid, tile_px)
    _check_passes(timeline.steps, reach)
    return reach


def find_cells(timeline: Timeline, grid: Grid, tile_px: int) -> Reach:
    """`find_reach` of cells that are not to be bought one by one, whatever passes meet in them. Pure."""
    cells = _cell_grid(grid, tile_px)
    scenes = [scene for step in timeline.steps for scene in step.acquisitions]
    shapes, is_everywhere = _on_grid(np.array([scene.footprint for scene in scenes], dtype=object), grid)
    # most footprints hold all of a small cube, or none of it
    frame = shapely.box(*cells.bounds())
    is_everywhere |= shapely.contains(shapes, frame)
    is_near = shapely.intersects(shapes, frame) & ~is_everywhere
    packed = np.zeros((len(timeline.steps), -(-cells.shape[0] * cells.shape[1] // 8)), np.uint8)
    first = 0
    for index, step in enumerate(timeline.steps):
        own = slice(first, first + len(step.acquisitions))
        first = own.stop
        if is_everywhere[own].any():
            packed[index] = np.packbits(np.ones(cells.shape, np.bool_))
        elif is_near[own].any():
            packed[index] = np.packbits(_touched(shapes[own][is_near[own]], cells))
    return Reach(packed=packed, grid_shape=cells.shape)


def step_regions(timeline: Timeline, grid: Grid) -> list[Area | None]:
    """For each step the pixels in which its scenes may hold data, by `find_reach`'s rule; None: all of them. Pure."""
    frame = shapely.box(*grid.bounds())
    regions: list[Area | None] = []
    for step in timeline.steps:
        footprints = np.array([scene.footprint for scene in step.acquisitions], dtype=object)
        shapes, is_everywhere = _on_grid(footprints, grid)
        if is_everywhere.any() or shapely.contains(shapes, frame).any():
            regions.append(None)
            continue
        near = shapes[shapely.intersects(shapes, frame)]
        regions.append(join_areas([make_area(shape, grid, all_touched=True) for shape in near]) if near.size else None)
    return regions


def _cell_grid(grid: Grid, tile_px: int) -> Grid:
    """The cells as the pixels of a coarse grid."""
    left, _, _, top = grid.bounds()
    rows, columns = grid.shape
    return replace(
        grid,
        origin=(left, top),
        resolution=(grid.resolution[0] * tile_px, grid.resolution[1] * tile_px),
        offset=(0, 0),
        shape=(-(-rows // tile_px), -(-columns // tile_px)),
    )


def _touched(shapes: Iterable[shapely.Geometry], cells: Grid) -> Bools:
    """(row, column): True where a cell's interior meets any of the shapes."""
    rows, columns = cells.shape
    turns = np.zeros((rows, columns + 1), np.int32)
    for shape in shapes:
        row, start, stop = make_area(shape, cells, all_touched=True).spans(0, rows)
        # the runs of one shape do not touch, so no index comes twice
        turns[row, start] += 1
        turns[row, stop] -= 1
    touched: Bools = np.cumsum(turns[:, :-1], axis=1) > 0
    return touched


def _on_grid(footprints: Shapes, grid: Grid) -> tuple[Shapes, Bools]:
    """The footprints in the grid's CRS, widened; and which of them have no place there, and may be anywhere."""
    bounds = shapely.bounds(footprints).reshape(-1, 4)
    is_lost = (bounds[:, 2] - bounds[:, 0] > WIDE_DEGREES) | (bounds[:, 3] - bounds[:, 1] > WIDE_DEGREES)
    footprints = _without(footprints, is_lost)
    transformer = Transformer.from_crs(WGS84, grid.crs, always_xy=True)
    dense = shapely.segmentize(footprints, SEGMENT_DEGREES)
    coordinates, owner = shapely.get_coordinates(dense, return_index=True)
    moved = np.stack(transformer.transform(coordinates[:, 0], coordinates[:, 1]), axis=1)
    is_lost[owner[~np.isfinite(moved).all(axis=1)]] = True
    placed = shapely.set_coordinates(dense, np.where(np.isfinite(moved), moved, 0.0))
    placed = _without(placed, is_lost)
    metres = CHORD_M + _bend_m(footprints)
    margin = MARGIN_PX * max(grid.resolution) + MARGIN_SHARE * _longer_side(placed)
    margin += metres * _units_per_m(bounds, transformer)
    is_lost |= ~np.isfinite(margin)
    with np.errstate(invalid="ignore", divide="ignore", over="ignore"):  # GEOS may, on the way to a right answer
        return shapely.buffer(placed, np.where(is_lost, 0.0, margin), quad_segs=2), is_lost


def _without(shapes: Shapes, is_lost: Bools) -> Shapes:
    kept = shapes.copy()
    kept[is_lost] = shapely.Polygon()
    return kept


def _longer_side(shapes: Shapes) -> Floats:
    bounds = np.nan_to_num(shapely.bounds(shapes).reshape(-1, 4))
    sides: Floats = np.maximum(bounds[:, 2] - bounds[:, 0], bounds[:, 3] - bounds[:, 1])
    return sides


def _bend_m(footprints: Shapes) -> Floats:
    """How far a footprint's edges, straight in degrees, may be from straight lines on the ground, in metres.

    The chord of a parallel is radius / 8 x (difference of longitude)^2 x sin(latitude) x cos(latitude) away from it.
    """
    points, owner = shapely.get_coordinates(footprints, return_index=True)
    bends = np.zeros(len(footprints))
    if len(points) > 1:
        is_edge = owner[:-1] == owner[1:]
        steps = np.radians(np.diff(points[:, 0])[is_edge])
        latitudes = np.radians(np.maximum(np.abs(points[:-1, 1]), np.abs(points[1:, 1]))[is_edge])
        # sin x cos is largest at 45 degrees: beyond it, and for edges that reach towards it, half stands for it
        slopes = np.where(latitudes > np.pi / 4, 0.5, np.sin(latitudes) * np.cos(latitudes))
        np.maximum.at(bends, owner[:-1][is_edge], EARTH_RADIUS_M / 8 * steps**2 * slopes)
    return bends


def _units_per_m(bounds: Floats, transformer: Transformer) -> Floats:
    """The greatest number of CRS units to a metre at the corners of each box in degrees; NaN where it has no place."""
    found = np.zeros(len(bounds))
    for west, south in ((0, 1), (0, 3), (2, 1), (2, 3)):
        x, y = bounds[:, west], np.clip(bounds[:, south], -89.9, 89.9)
        here = np.stack(transformer.transform(x, y), axis=1)
        east = np.stack(transformer.transform(x - np.copysign(NUDGE_DEGREES, x), y), axis=1)
        north = np.stack(transformer.transform(x, y - np.copysign(NUDGE_DEGREES, y)), axis=1)
        metre = np.radians(NUDGE_DEGREES) * EARTH_RADIUS_M
        with np.errstate(invalid="ignore"):  # inf - inf where there is no place
            along = np.hypot(*(east - here).T) / (metre * np.cos(np.radians(y)))
            found = np.maximum(found, np.maximum(along, np.hypot(*(north - here).T) / metre))
    return found


def _check_passes(steps: tuple[Step, ...], reach: Reach) -> None:
    """Raise PlanError where two first buys of one cell ask for overlapping times."""
    order = sorted(
        (index for index, step in enumerate(steps) if not step.revision), key=lambda index: steps[index].interval.start
    )
    open_steps: list[int] = []
    for index in order:
        open_steps = [other for other in open_steps if steps[other].interval.end > steps[index].interval.start]
        for other in open_steps:
            shared = reach.packed[other] & reach.packed[index]
            if shared.any():
                cell = int(np.flatnonzero(np.unpackbits(shared))[0])
                raise PlanError(_describe_clash(steps[other], steps[index], *divmod(cell, reach.grid_shape[1])))
        open_steps.append(index)


def _describe_clash(one: Step, two: Step, row: int, column: int) -> str:
    return (
        f"the passes {_name(one)} and {_name(two)} both reach the cell in row {row}, column {column} within the same "
        f'seconds, and a request cannot tell them apart; take cadence = "day", or build smaller areas'
    )


def _name(step: Step) -> str:
    flown = f" of {', '.join(step.platforms)}" if step.platforms else ""
    return f"at {step.time:%Y-%m-%dT%H:%M:%SZ}{flown}"
