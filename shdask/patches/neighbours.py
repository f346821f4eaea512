"""Which patches of different sets lie near each other, or hold the same ground: on one grid, and across UTM zones.

Pure. Refuses to know what is done about it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import shapely
from pyproj import CRS, Geod, Transformer

from shdask.errors import PlanError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Ints = NDArray[np.int64]
    Rows = NDArray[np.intp]
    Floats = NDArray[np.float64]
    Sets = NDArray[np.uint8]

WGS84 = 4326
UTM = frozenset((*range(32601, 32661), *range(32701, 32761)))
"""EPSG codes of WGS 84's zones."""
GEOD = Geod(ellps="WGS84")
TINY = 1e-300
METRES_PER_DEGREE = 110_574.0
"""Of latitude, where they are shortest; of longitude at the equator there are a little more."""
STRETCH = 1.003
"""UTM's metres are up to 0.1 % longer or shorter than the ground's, and a zone's edge lies beyond its best part."""
FAR_IN_ZONE = 3.5
"""Degrees from a zone's meridian, up to which its metres are true to 0.15 %: a zone's edge is at 3."""
MOST_PAIRS = 30_000_000
"""Of different sets and near each other: some 2 GB."""
BATCH = 4_000_000
"""Pairs that are looked at at once."""
_HALF = ((0, 0), (0, 1), (1, -1), (1, 0), (1, 1))
"""A cell and half of the eight around it: each pair of cells once."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Squares:
    """Windows of one size on the grids of a cube; arrays are (square,)."""

    size_px: int
    grid: Rows
    """Number of the grid that each lies on."""
    epsg: tuple[int, ...]
    """Of each grid; where there are several they are UTM zones."""
    y0: Ints
    x0: Ints
    bounds: Floats
    """(square, 4): left, bottom, right, top in the CRS of its grid."""
    longitude: Floats
    """Of its centre, in degrees."""
    latitude: Floats

    def take(self, rows: Rows) -> Squares:
        """Those of ``rows``."""
        return replace(
            self,
            grid=self.grid[rows],
            y0=self.y0[rows],
            x0=self.x0[rows],
            bounds=self.bounds[rows],
            longitude=self.longitude[rows],
            latitude=self.latitude[rows],
        )

    def metres_per_px(self) -> tuple[Floats, Floats]:
        """(y, x) on the ground, rather less than more: the CRS's own where they are true to 0.3 %, else geodesics'.

        The shorter of two opposite sides, and less where sides are no right angle on the ground, so that no distance
        by them is longer than the ground's. Pure. Raises PlanError where one lies beyond what its CRS is made for.
        """
        along_y, along_x = np.empty(self.grid.size), np.empty(self.grid.size)
        for grid, epsg in enumerate(self.epsg):
            rows = np.flatnonzero(self.grid == grid)
            along_y[rows], along_x[rows] = _own_metres_per_px(self.bounds[rows], epsg, self.size_px)
            if epsg in UTM:
                rows = rows[_is_far(self.longitude[rows], epsg)]
            if rows.size:
                along_y[rows], along_x[rows] = _metres_per_px(self.bounds[rows], epsg, self.size_px)
        return along_y, along_x


def find_close(squares: Squares, sets: Sets, within_m: float) -> tuple[Rows, Rows]:
    """Every pair of squares of different ``sets`` that share ground, or are nearer than ``within_m``. Pure.

    On one grid by its pixels, exactly where the CRS is true to the ground, as UTM is in its zone, and elsewhere rather
    more than less (see `Squares.metres_per_px`); across zones by their outlines, and a pixel's diagonal more than less.
    What lies on both sides of 180 degrees on one grid is taken to be far apart. Raises PlanError where there are more
    than 30 million, and where squares lie beyond what their CRS is made for.
    """
    found: list[tuple[Rows, Rows]] = []
    count = 0
    for first, second in _pairs(squares, sets, within_m):
        count += first.size
        if count > MOST_PAIRS:
            raise PlanError(
                f"more than {MOST_PAIRS:,} pairs of patches of different sets lie within {within_m:g} m of each other; "
                f"make guard_m smaller, or block_m, size_px or stride_px larger"
            )
        found.append((first, second))
    nothing = np.empty(0, np.intp)
    return (
        np.concatenate([nothing, *(first for first, _ in found)]),
        np.concatenate([nothing, *(second for _, second in found)]),
    )


def shared_px(squares: Squares, first: Rows, second: Rows) -> Floats:
    """How many pixels of ``first`` lie, in full or in part, under ``second``; (pair,). Pure.

    Whole pixels on one grid; across zones the ground that both hold, in pixels.
    """
    side = squares.size_px
    y = np.maximum(side - np.abs(squares.y0[first] - squares.y0[second]), 0)
    x = np.maximum(side - np.abs(squares.x0[first] - squares.x0[second]), 0)
    found = np.asarray(y * x, np.float64)
    across = np.flatnonzero(squares.grid[first] != squares.grid[second])
    for one, other in _kinds(squares.grid[first][across], squares.grid[second][across]):
        here = across[(squares.grid[first[across]] == one) & (squares.grid[second[across]] == other)]
        boxes = _boxes(squares.bounds[first[here]])
        there = _outlines(squares, second[here], squares.epsg[one])
        found[here] = shapely.area(shapely.intersection(boxes, there)) / shapely.area(boxes) * side**2
    return found


def _kinds(first: Rows, second: Rows) -> list[tuple[int, int]]:
    return sorted(set(zip(first.tolist(), second.tolist(), strict=True)))


def _pairs(squares: Squares, sets: Sets, within_m: float) -> Iterator[tuple[Rows, Rows]]:
    rows = [np.flatnonzero(squares.grid == grid) for grid in range(len(squares.epsg))]
    for here in rows:
        yield from _on_one_grid(squares, sets, here, within_m)
    for one in range(len(rows)):
        for other in range(one + 1, len(rows)):
            yield _across_zones(squares, sets, rows[one], rows[other], within_m)


def _on_one_grid(squares: Squares, sets: Sets, rows: Rows, within_m: float) -> Iterator[tuple[Rows, Rows]]:
    if not rows.size:
        return
    along_y, along_x = (metres[rows] for metres in squares.metres_per_px())
    side = squares.size_px
    y, x = squares.y0[rows], squares.x0[rows]
    # at a pole pixels have no width, and none is farther than the farthest
    reach_y, reach_x = (within_m / np.maximum(metres.min(), TINY) for metres in (along_y, along_x))
    cell_y, cell_x = side + math.ceil(min(reach_y, np.ptp(y))), side + math.ceil(min(reach_x, np.ptp(x)))
    width = int(x.max() // cell_x) + 3
    key = (y // cell_y + 1) * width + x // cell_x + 1
    order = np.argsort(key, kind="stable")
    order = order[_meets_another_set(key[order], sets[rows[order]], width)]
    key, y, x, own = key[order], y[order], x[order], sets[rows[order]]
    along_y, along_x = along_y[order], along_x[order]
    for down, right in _HALF:
        target = key + down * width + right
        start = np.arange(key.size) + 1 if (down, right) == (0, 0) else np.searchsorted(key, target, side="left")
        counts = np.searchsorted(key, target, side="right") - start
        for some in _batches(counts):
            first = np.repeat(some, counts[some])
            second = np.arange(first.size) - np.repeat(np.cumsum(counts[some]) - counts[some], counts[some])
            second += start[first]
            differ = own[first] != own[second]
            first, second = first[differ], second[differ]
            gap_y = np.abs(y[first] - y[second]) - side
            gap_x = np.abs(x[first] - x[second]) - side
            apart = np.hypot(
                np.maximum(gap_y, 0) * np.minimum(along_y[first], along_y[second]),
                np.maximum(gap_x, 0) * np.minimum(along_x[first], along_x[second]),
            )
            close = ((gap_y < 0) & (gap_x < 0)) | (apart < within_m)
            yield rows[order[first[close]]], rows[order[second[close]]]


def _meets_another_set(key: Ints, sets: Sets, width: int) -> NDArray[np.bool_]:
    """Of squares sorted by the ``key`` of their cell: whether their cell and those around it hold several sets."""
    cells, starts, number = np.unique(key, return_index=True, return_inverse=True)
    bits = np.bitwise_or.reduceat(np.left_shift(np.uint64(1), sets.astype(np.uint64)), starts)
    near = bits.copy()
    for step in (1, width - 1, width, width + 1):
        for target in (cells - step, cells + step):
            place = np.minimum(np.searchsorted(cells, target), cells.size - 1)
            near |= np.where(cells[place] == target, bits[place], np.uint64(0))
    return np.asarray(np.bitwise_count(near)[number] > 1)


def _batches(counts: Ints) -> Iterator[Rows]:
    """Rows with any pairs, so many at once that they have some 4 million."""
    busy = np.flatnonzero(counts > 0)
    if busy.size:
        yield from np.split(busy, np.flatnonzero(np.diff(np.cumsum(counts[busy]) // BATCH)) + 1)


def _across_zones(squares: Squares, sets: Sets, one: Rows, other: Rows, within_m: float) -> tuple[Rows, Rows]:
    nothing = np.empty(0, np.intp), np.empty(0, np.intp)
    if not one.size or not other.size:
        return nothing
    left, bottom, right, top = squares.bounds[one[0]]
    pixel = float(np.hypot(right - left, top - bottom)) / squares.size_px
    distance = within_m * STRETCH + pixel
    one, other = _near_each_other(squares, one, other, distance + 2 * pixel * squares.size_px)
    if not one.size or not other.size:
        return nothing
    epsg = squares.epsg[int(squares.grid[one[0]])]
    tree = shapely.STRtree(_boxes(squares.bounds[one]))
    there, here = tree.query(_outlines(squares, other, epsg), predicate="dwithin", distance=distance)
    first, second = one[here], other[there]
    differ = sets[first] != sets[second]
    return first[differ], second[differ]


def _near_each_other(squares: Squares, one: Rows, other: Rows, distance: float) -> tuple[Rows, Rows]:
    """Those of both whose centres may lie so near to the others', by longitude and latitude."""
    up = distance * STRETCH / METRES_PER_DEGREE
    highest = np.abs(squares.latitude[np.concatenate((one, other))]).max()
    across = up / max(np.cos(np.radians(min(highest + up, 89.0))), 0.01)
    middle = squares.longitude[one[0]]

    def turned(rows: Rows) -> Floats:
        return np.asarray((squares.longitude[rows] - middle + 180.0) % 360.0 - 180.0)

    def inside(rows: Rows, others: Rows) -> Rows:
        if not others.size:
            return rows[:0]
        east, north = turned(others), squares.latitude[others]
        here, high = turned(rows), squares.latitude[rows]
        is_near = (here >= east.min() - across) & (here <= east.max() + across)
        is_near &= (high >= north.min() - up) & (high <= north.max() + up)
        found: Rows = rows[is_near]
        return found

    kept = inside(other, one)
    return inside(one, kept), kept


def _boxes(bounds: Floats) -> NDArray[np.object_]:
    return np.asarray(shapely.box(*bounds.T), object)


def _outlines(squares: Squares, rows: Rows, epsg: int) -> NDArray[np.object_]:
    """The squares as polygons in another CRS: their corners, and what lies between them."""
    own = squares.epsg[int(squares.grid[rows[0]])] if rows.size else epsg
    left, bottom, right, top = squares.bounds[rows].T
    middle_x, middle_y = (left + right) / 2, (bottom + top) / 2
    xs = np.stack((left, middle_x, right, right, right, middle_x, left, left), axis=1)
    ys = np.stack((bottom, bottom, bottom, middle_y, top, top, top, middle_y), axis=1)
    return np.asarray(shapely.polygons(np.stack(_transformer(own, epsg).transform(xs, ys), axis=2)), object)


@cache
def _transformer(source: int, target: int) -> Transformer:
    return Transformer.from_crs(f"EPSG:{source}", f"EPSG:{target}", always_xy=True)


@cache
def _metres(epsg: int) -> float:
    """Of a unit of the CRS; NaN where it is in degrees."""
    crs = CRS.from_epsg(epsg)
    return math.nan if crs.is_geographic else float(crs.axis_info[0].unit_conversion_factor)


def _is_far(longitude: Floats, epsg: int) -> NDArray[np.bool_]:
    """Whether they lie so far from the meridian of a UTM zone that its metres may not be the ground's."""
    meridian = epsg % 100 * 6 - 183.0
    return np.asarray(~(np.abs((longitude - meridian + 180.0) % 360.0 - 180.0) <= FAR_IN_ZONE))


def _own_metres_per_px(bounds: Floats, epsg: int, size_px: int) -> tuple[Floats, Floats]:
    left, bottom, right, top = bounds.T
    return (top - bottom) / size_px * _metres(epsg), (right - left) / size_px * _metres(epsg)


def _metres_per_px(bounds: Floats, epsg: int, size_px: int) -> tuple[Floats, Floats]:
    """(y, x) of each square, see `Squares.metres_per_px`."""
    left, bottom, right, top = bounds.T
    own_y, own_x = _own_metres_per_px(bounds, epsg, size_px)
    corners = _transformer(epsg, WGS84).transform(
        np.stack((left, right, right, left)), np.stack((bottom, bottom, top, top))
    )
    if not np.isfinite(corners).all():
        raise PlanError(
            f"some patches lie beyond what EPSG:{epsg} is made for: their corners have no longitude and latitude, so "
            f'that nobody knows how near they are; choose them in a smaller area, or in a cube of crs = "utm-zones"'
        )

    def apart(one: int, other: int) -> Floats:
        (x0, x1), (y0, y1) = (each[[one, other]] for each in corners)
        return np.asarray(GEOD.inv(x0, y0, x1, y1)[2]) / size_px

    lower, after, upper, before = (apart(one, (one + 1) % 4) for one in range(4))
    along_y, along_x = np.minimum(after, before), np.minimum(lower, upper)
    # of a parallelogram with sides a and b, the squares of the diagonals differ by 4 a b cos
    cosine = np.abs(apart(0, 2) ** 2 - apart(1, 3) ** 2) / np.maximum(4 * along_y * along_x, TINY)
    # a2 + b2 - 2 a b cos is at least (1 - cos) (a2 + b2)
    shrink = np.sqrt(np.clip(1 - cosine, 0, 1))
    off = np.maximum(np.abs(along_y * shrink / own_y - 1), np.abs(along_x * shrink / own_x - 1))
    is_true = off < STRETCH - 1
    shrink /= STRETCH  # between far ones the ground may be shorter than at both
    return np.where(is_true, own_y, along_y * shrink), np.where(is_true, own_x, along_x * shrink)
