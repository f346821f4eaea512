"""An area in UTM zones: a grid for each zone that it meets, and for every pixel the one zone that owns it.

Refuses to know layers, tiles and prices. The wider zones around Norway and Svalbard are not used.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace
from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import shapely
from pyproj import Transformer
from shapely.affinity import translate

from shdask.errors import PlanError
from shdask.model import Window
from shdask.plan.area import Area, make_area
from shdask.plan.footprint import EDGE_TOLERANCE_PX, METRES_PER_DEGREE, Footprint
from shdask.plan.grid import Grid, snap_grid
from shdask.request.reproject import DEGREES_ROUND, clean, only_polygons, reproject, utm_epsg, widen

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shdask.inputs import AreaOfInterest
    from shdask.plan.area import Spans
    from shdask.plan.spec import CubeSpec

    Ints = NDArray[np.int64]
    Floats = NDArray[np.float64]

WGS84 = "EPSG:4326"
ZONE_DEGREES = 6.0
ZONES = 60
MAX_LATITUDE = 84.0
"""UTM ends there in the north (EPSG's area of use); the same is taken in the south, where it ends at 80."""
FALSE_NORTHING = 10_000_000.0
"""The equator's in the southern zones; the northern ones have it at 0."""
MARGIN_PX = 4
"""A strip is cut so much wider, so that the cut touches no pixel that the zone owns."""
METRES_OFF = 1.02
"""Degrees of latitude are up to 1 % shorter than ``METRES_PER_DEGREE``, and UTM's metres up to 0.1 % off."""
KNOT_ROWS = 16
"""Between rows so far apart, a zone's edge is looked for only in the columns between its places there."""
BLOCK_ROWS = 8192
NORWAY = shapely.MultiPolygon([shapely.box(3, 56, 6, 64), shapely.box(6, 72, 36, 84)])
"""Where maps use other zones than these."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Zone:
    """A UTM zone of WGS 84: 6 degrees of longitude, [west, east), of one hemisphere; the equator is northern."""

    number: int
    """1 to 60, from 180 degrees west."""
    is_north: bool

    @property
    def epsg(self) -> int:
        """Code of its CRS, 32601 to 32660 or 32701 to 32760."""
        return utm_epsg(self.west + ZONE_DEGREES / 2, 0.0 if self.is_north else -1.0)

    @property
    def west(self) -> float:
        """Degrees of longitude."""
        return (self.number - 1) * ZONE_DEGREES - 180.0

    def degrees_in(self, longitudes: Floats) -> Floats:
        """How far east of the zone's west edge, -180 to 180: the zone's own are [0, 6). Pure."""
        return np.asarray((longitudes - self.west + 180.0) % DEGREES_ROUND - 180.0)

    def owns(self, longitudes: Floats, latitudes: Floats) -> NDArray[np.bool_]:
        """Whether points are the zone's; every point is one zone's. Pure."""
        east = self.degrees_in(longitudes)
        return np.asarray((east >= 0.0) & (east < ZONE_DEGREES) & ((latitudes >= 0.0) == self.is_north))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class ZoneArea(Area):
    """An area on a zone's grid, without the pixels whose centre another zone owns."""

    zone: Zone
    grid: Grid

    def spans(self, y0: int, y1: int) -> Spans:
        """As `Area.spans`. Pure."""
        rows, starts, stops = Area.spans(self, y0, y1)
        first, after = owned_columns(self.zone, self.grid, y0, y1)
        starts, stops = np.maximum(starts, first[rows - y0]), np.minimum(stops, after[rows - y0])
        keep = starts < stops
        return rows[keep], starts[keep], stops[keep]


def make_zone_footprints(spec: CubeSpec, area: AreaOfInterest) -> dict[str, Footprint]:
    """For each zone that owns a pixel of the area, by its EPSG code: its grid, no larger than those, and they. Pure.

    A pixel is the zone's that holds its centre, whatever its size, so that the zones together hold the area once, but
    for the pixels along their edges, which are cut by the grids of two. Raises PlanError beyond 84 degrees of latitude,
    and where no zone owns a pixel.
    """
    geometry, notes = clean(area.geometry, area.crs)
    degrees = _in_degrees(geometry, area.crs, _pair(spec.resolution))
    if shapely.intersects(degrees, NORWAY):
        notes = (*notes, "crs: zones are 6 degrees wide everywhere; maps of Norway and Svalbard use wider ones")
    found = {str(zone.epsg): _place(spec, zone, strip, notes) for zone, strip in _strips(degrees, spec)}
    footprints = {name: footprint for name, footprint in found.items() if footprint is not None}
    if not footprints:
        raise PlanError("aoi: no pixel centre lies in the area; set all_touched = true, or take a finer resolution")
    return footprints


def owned_columns(zone: Zone, grid: Grid, y0: int, y1: int) -> tuple[Ints, Ints]:
    """(first, after the last) column of each row [y0, y1) whose pixel centre ``zone`` owns; equal where none is. Pure.

    Each end is where the longitude of a centre itself says so: eastwards along a row of a zone it only grows.
    """
    first = np.zeros(y1 - y0, np.int64)
    after = first.copy()
    centres = grid.y_coords(Window(y0=y0, y1=y1, x0=0, x1=0))
    own = np.flatnonzero((centres >= 0.0) if zone.is_north else (centres < FALSE_NORTHING))
    if own.size:
        for columns, east in ((first, 0.0), (after, ZONE_DEGREES)):
            columns[own] = _find_edge(zone, grid, own + y0, east)
    return first, after


def _find_edge(zone: Zone, grid: Grid, rows: Ints, east: float) -> Ints:
    """First column of each of ``rows``, which are neighbours, at least ``east`` degrees into the zone."""
    width = grid.shape[1]
    knots = np.unique(np.append(np.arange(0, rows.size, KNOT_ROWS), rows.size - 1))
    whole = np.zeros(knots.size, np.int64), np.full(knots.size, width)
    at_knots = _bisect(zone, grid, rows[knots], whole, east)
    # a meridian only comes nearer to the middle one towards the pole
    before = np.searchsorted(knots, np.arange(rows.size), side="right") - 1
    ends = np.stack((at_knots[before], at_knots[np.minimum(before + 1, knots.size - 1)]))
    between = np.maximum(ends.min(axis=0) - 1, 0), np.minimum(ends.max(axis=0) + 1, width)
    return _bisect(zone, grid, rows, between, east)


def _bisect(zone: Zone, grid: Grid, rows: Ints, between: tuple[Ints, Ints], east: float) -> Ints:
    """The first column of each row at least ``east`` degrees into the zone, of those from one ``between`` to the other.

    The last where none is.
    """
    low, high = between[0].copy(), between[1].copy()
    (ox, oy), (rx, ry), (column, row) = grid.origin, grid.resolution, grid.offset
    transform = _to_degrees(zone.epsg).transform
    while (active := np.flatnonzero(low < high)).size:
        middle = (low[active] + high[active]) // 2
        longitudes, _ = transform(ox + (middle + column + 0.5) * rx, oy + (row - rows[active] - 0.5) * ry)
        is_in = zone.degrees_in(longitudes) >= east
        high[active[is_in]] = middle[is_in]
        low[active[~is_in]] = middle[~is_in] + 1
    return low


def _in_degrees(geometry: shapely.Geometry, crs: str, resolution: tuple[float, float]) -> shapely.Geometry:
    if shapely.is_empty(geometry):
        raise PlanError("aoi: its polygons enclose nothing; check the corners")
    poles = Transformer.from_crs(WGS84, crs, always_xy=True).transform([0.0, 0.0], [90.0, -90.0])
    at_pole = any(math.isfinite(x) and math.isfinite(y) and shapely.intersects_xy(geometry, x, y)
                  for x, y in zip(*poles, strict=True))  # fmt: skip
    degrees = geometry
    if not at_pole:
        degrees = reproject(geometry, crs, WGS84, tolerance=EDGE_TOLERANCE_PX * min(resolution) / METRES_PER_DEGREE)
    _, south, _, north = shapely.bounds(degrees)
    if at_pole or max(-south, north) > MAX_LATITUDE:
        raise PlanError(
            f"cube.crs: UTM ends at {MAX_LATITUDE:g} degrees, and the area reaches beyond; take a polar crs such as "
            f'"EPSG:3995" or "EPSG:3031", or cut the area there'
        )
    return degrees


def _strips(degrees: shapely.Geometry, spec: CubeSpec) -> Iterator[tuple[Zone, shapely.Geometry]]:
    """Each zone that the area meets, and the area cut a little wider than it, in the zone's own turn of the globe."""
    left, south, right, north = (float(edge) for edge in shapely.bounds(degrees))
    metres = abs(spec.buffer) + MARGIN_PX * max(_pair(spec.resolution))
    up = metres * METRES_OFF / METRES_PER_DEGREE
    across = up / math.cos(math.radians(min(max(-south, north) + up, 89.0)))
    shapely.prepare(degrees)
    for number in range(1, ZONES + 1):
        for is_north in (True, False):
            zone = Zone(number=number, is_north=is_north)
            bottom, top = (-up, 90.0) if is_north else (-90.0, up)
            west, east = zone.west - across, zone.west + ZONE_DEGREES + across
            turns = range(math.floor((left - east) / DEGREES_ROUND), math.ceil((right - west) / DEGREES_ROUND) + 1)
            boxes = [(turn * DEGREES_ROUND, shapely.box(west, bottom, east, top)) for turn in turns]
            pieces = [
                translate(shapely.intersection(degrees, there), -shift)
                for shift, box in boxes
                if shapely.intersects(degrees, there := translate(box, shift))
            ]
            strip = only_polygons(shapely.union_all(pieces)) if pieces else shapely.MultiPolygon()
            if not shapely.is_empty(strip):
                yield zone, strip


def _place(spec: CubeSpec, zone: Zone, strip: shapely.Geometry, notes: tuple[str, ...]) -> Footprint | None:
    """The zone's part of the area on a grid of its own; None where the zone owns no pixel of it."""
    resolution = _pair(spec.resolution)
    geometry = reproject(strip, WGS84, f"EPSG:{zone.epsg}", tolerance=EDGE_TOLERANCE_PX * min(resolution))
    if spec.buffer:
        geometry = widen(geometry, spec.buffer)
    if shapely.is_empty(geometry):
        return None
    left, bottom, right, top = (float(edge) for edge in shapely.bounds(geometry))
    grid = snap_grid(
        epsg=zone.epsg, origin=spec.origin or (0.0, 0.0), resolution=resolution, bounds=(left, bottom, right, top)
    )
    tight = _tighten(grid, _make_area(geometry, grid, zone, all_touched=spec.all_touched))
    if tight is None:
        return None
    return Footprint(tight, _make_area(geometry, tight, zone, all_touched=spec.all_touched), notes)


def _make_area(geometry: shapely.Geometry, grid: Grid, zone: Zone, *, all_touched: bool) -> ZoneArea:
    area = make_area(geometry, grid, all_touched=all_touched)
    return ZoneArea(edges=area.edges, reach=area.reach, shape=area.shape, all_touched=all_touched, zone=zone, grid=grid)


def _tighten(grid: Grid, area: ZoneArea) -> Grid | None:
    """The part of ``grid`` that the zone's pixels of the area span; None where there is none."""
    boxes = []
    for start, stop in area.row_ranges():
        for y0 in range(start, stop, BLOCK_ROWS):
            rows, starts, stops = area.spans(y0, min(y0 + BLOCK_ROWS, stop))
            if rows.size:
                boxes.append((rows[0], rows[-1] + 1, starts.min(), stops.max()))
    if not boxes:
        return None
    tops, bottoms, lefts, rights = np.array(boxes, np.int64).T
    y0, y1, x0, x1 = int(tops.min()), int(bottoms.max()), int(lefts.min()), int(rights.max())
    return replace(grid, offset=(grid.offset[0] + x0, grid.offset[1] - y0), shape=(y1 - y0, x1 - x0))


def _pair(value: float | tuple[float, float] | None) -> tuple[float, float]:
    if value is None:
        raise PlanError("resolution missing; give the size of a pixel in metres")
    return value if isinstance(value, tuple) else (float(value), float(value))


@cache
def _to_degrees(epsg: int) -> Transformer:
    return Transformer.from_crs(f"EPSG:{epsg}", WGS84, always_xy=True)
