"""Polygons from one CRS to another without bending their edges: valid, densified, contiguous across the antimeridian.

Refuses to know pixels and requests; holds the list of CRSs that the service accepts.
"""

from __future__ import annotations

from collections.abc import Sequence
from functools import cache
from typing import TYPE_CHECKING, NamedTuple

import numpy as np
import shapely
from pyproj import CRS, Transformer
from shapely.affinity import translate

from shdask.errors import PlanError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    Floats = NDArray[np.float64]

# Documentation of the service, page Process/Crs.
_NATIONAL = (
    2154, 2180, 2193, 3003, 3004, 3005, 3006, 3031, 3035, 3161, 3346, 3413, 3416, 3578,
    3580, 3765, 3794, 3844, 3912, 3995, 4026, 5514, 28992, 32184,
)  # fmt: skip
SUPPORTED_EPSG = frozenset((4326, 3857, *range(32601, 32661), *range(32701, 32761), *_NATIONAL))
"""EPSG codes that the service renders in."""

DEGREES_ROUND = 360.0
WEB_MERCATOR = "EPSG:3857"
WEB_MERCATOR_ROUND = 2 * 20037508.342789244
MAX_HALVINGS = 24


class Cleaned(NamedTuple):
    """A valid geometry, and what was mended to make it so."""

    geometry: shapely.Geometry
    notes: tuple[str, ...]


def clean(geometry: shapely.Geometry, crs: str) -> Cleaned:
    """``geometry`` as one valid Polygon or MultiPolygon; members of a collection are united. Pure.

    In degrees, an edge of more than half the globe is a jump across the antimeridian: the ring goes on past 180.
    An invalid member is mended where both of GEOS's methods find the same area. Raises PlanError with the place
    where they disagree (since then it is not known what was meant), for a ring around a pole, and for a
    latitude beyond 90.
    """
    members = list(geometry.geoms) if isinstance(geometry, shapely.GeometryCollection) else [geometry]
    if CRS.from_user_input(crs).is_geographic:
        members = [_unwrap(member) for member in members]
    mended = [_repair(member) for member in members]
    united = mended[0].geometry if len(mended) == 1 else only_polygons(_unite([one.geometry for one in mended]))
    return Cleaned(united, tuple(note for one in mended for note in one.notes))


def reproject(geometry: shapely.Geometry, source: str, target: str, *, tolerance: float) -> shapely.Geometry:
    """``geometry`` in CRS ``target``: Polygon or MultiPolygon, x east, y north. Pure.

    Edges are straight in ``source`` and are divided until the chords in ``target`` are less than ``tolerance``
    (target units) off; an edge is divided alike whichever way it is walked. Where the target is in degrees or
    web mercator, the result is contiguous and may pass 180: see ``split_at_antimeridian``.
    Raises PlanError with the place where a point cannot be projected.
    """
    if source == target:
        return geometry
    parts = [_reproject_polygon(part, source, target, tolerance) for part in shapely.get_parts(geometry)]
    return parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts)


def split_at_antimeridian(geometry: shapely.Geometry, crs: str) -> shapely.Geometry:
    """``geometry`` cut at 180 degrees, each piece on its side of the map; unchanged in other CRSs. Pure."""
    period = _period(crs)
    if period is None:
        return geometry
    left, bottom, right, top = shapely.bounds(geometry)
    half = period / 2
    if -half <= left and right <= half:
        return geometry
    turns = range(int(np.floor((left + half) / period)), int(np.ceil((right - half) / period)) + 1)
    strips = [shapely.box(turn * period - half, bottom, turn * period + half, top) for turn in turns]
    with _quiet():
        cut = [shapely.intersection(geometry, strip) for strip in strips]
    return only_polygons(_unite([translate(piece, -turn * period) for turn, piece in zip(turns, cut, strict=True)]))


def find_centre(geometry: shapely.Geometry, crs: str) -> tuple[float, float]:
    """(longitude, latitude) of the centre of the bounds in degrees, on the shorter way around the globe. Pure."""
    degrees = reproject(geometry, crs, "EPSG:4326", tolerance=0.01)
    parts = shapely.bounds(shapely.get_parts(degrees))
    south, north = float(parts[:, 1].min()), float(parts[:, 3].max())
    spans = []
    for start in (-180.0, 0.0):
        turns = np.floor((parts[:, 0] - start) / DEGREES_ROUND) * DEGREES_ROUND
        spans.append((float((parts[:, 0] - turns).min()), float((parts[:, 2] - turns).max())))
    west, east = min(spans, key=lambda span: span[1] - span[0])
    return ((west + east) / 2 + 180.0) % DEGREES_ROUND - 180.0, (south + north) / 2


def utm_epsg(longitude: float, latitude: float) -> int:
    """EPSG code of the WGS 84 UTM zone (6 degrees wide, without the exceptions of Norway) that holds a point. Pure."""
    zone = int((longitude + 180.0) // 6) % 60 + 1
    return (32600 if latitude >= 0 else 32700) + zone


def widen(geometry: shapely.Geometry, distance: float) -> shapely.Geometry:
    """``geometry`` with everything within ``distance`` of it, in its own units; below 0 it shrinks. Pure."""
    with _quiet():
        return only_polygons(shapely.buffer(geometry, distance))


def only_polygons(geometry: shapely.Geometry) -> shapely.Geometry:
    """The polygons of ``geometry``, without the points and lines that set operations leave behind. Pure."""
    parts = shapely.get_parts(shapely.get_parts(geometry))
    polygons = [part for part in parts if isinstance(part, shapely.Polygon) and not shapely.is_empty(part)]
    return polygons[0] if len(polygons) == 1 else shapely.MultiPolygon(polygons)


def _unite(geometries: Sequence[shapely.Geometry]) -> shapely.Geometry:
    with _quiet():
        return shapely.union_all(geometries)


def _quiet() -> np.errstate:
    """GEOS may divide by zero on the way to a right answer, and numpy would warn of it."""
    return np.errstate(divide="ignore", invalid="ignore", over="ignore")


def _repair(geometry: shapely.Geometry) -> Cleaned:
    if shapely.is_valid(geometry):
        return Cleaned(geometry, ())
    reason = shapely.is_valid_reason(geometry)
    with _quiet():
        lines, structure = (shapely.make_valid(geometry, method=method) for method in ("linework", "structure"))
    if not np.isclose(shapely.area(lines), shapely.area(structure), rtol=1e-9, atol=0.0):
        raise PlanError(
            f"aoi: the area is ambiguous: {reason}. Read as lines it has {shapely.area(lines):g} square units, as "
            f"shells and holes {shapely.area(structure):g}; mend it there, for instance with shapely.make_valid"
        )
    return Cleaned(only_polygons(structure), (f"aoi: repaired: {reason}",))


def _unwrap(geometry: shapely.Geometry) -> shapely.Geometry:
    _, south, _, north = shapely.bounds(geometry)
    if south < -90.0 or north > 90.0:  # noqa: PLR2004  # the poles
        raise PlanError(
            f"aoi: latitudes from {south:g} to {north:g} are no degrees; say with aoi_crs which CRS the area is in"
        )
    parts = [_unwrap_polygon(part) for part in shapely.get_parts(geometry)]
    return parts[0] if len(parts) == 1 else shapely.MultiPolygon(parts)


def _unwrap_polygon(polygon: shapely.Geometry) -> shapely.Polygon:
    shell, *holes = (_unwrap_ring(ring) for ring in _rings(polygon))
    west = shell[:, 0].min()
    for hole in holes:  # on the same turn of the globe as the shell
        hole[:, 0] += np.ceil((west - hole[:, 0].min()) / DEGREES_ROUND) * DEGREES_ROUND
    return shapely.Polygon(shell, holes)


def _unwrap_ring(ring: Floats) -> Floats:
    steps = np.diff(ring[:, 0])
    # A side of a whole turn is a map's edge, not a jump.
    jumps = np.where(np.abs(steps) < DEGREES_ROUND, np.round(steps / DEGREES_ROUND), 0.0)
    if jumps.sum():
        raise PlanError(
            f"aoi: the ring at ({ring[0, 0]:g}, {ring[0, 1]:g}) goes around a pole, which no ring in degrees can; "
            f"give the area in a polar CRS such as EPSG:3995 or EPSG:3031"
        )
    turned = ring.copy()
    turned[1:, 0] -= np.cumsum(jumps) * DEGREES_ROUND
    return turned


def _rings(polygon: shapely.Geometry) -> list[Floats]:
    return [shapely.get_coordinates(ring) for ring in shapely.get_rings(polygon)]


def _reproject_polygon(polygon: shapely.Geometry, source: str, target: str, tolerance: float) -> shapely.Polygon:
    shell, *holes = (_reproject_ring(ring, source, target, tolerance) for ring in _rings(polygon))
    return shapely.Polygon(shell, holes)


def _reproject_ring(ring: Floats, source: str, target: str, tolerance: float) -> Floats:
    """(point, 2) in the target CRS, closed: the ring's corners and what lies between them."""
    start, end = ring[:-1], ring[1:]
    backward = (start[:, 0] > end[:, 0]) | ((start[:, 0] == end[:, 0]) & (start[:, 1] > end[:, 1]))
    low, high = np.where(backward[:, None], end, start), np.where(backward[:, None], start, end)
    anchor = ring[0]
    corners = _project(ring, source, target, anchor)
    edge = np.arange(len(start))
    from_t, to_t = np.zeros(len(start)), np.ones(len(start))
    places, points = [edge.astype(np.float64)], [corners[:-1]]
    for _ in range(MAX_HALVINGS):
        if not len(edge):
            break
        a, b = low[edge], high[edge]
        at = [_project(a + (b - a) * t[:, None], source, target, anchor) for t in _quarters(from_t, to_t)]
        bent = np.maximum.reduce([_off_chord(point, at[0], at[4]) for point in at[1:4]]) >= tolerance
        edge, from_t, to_t, middle = edge[bent], from_t[bent], to_t[bent], at[2][bent]
        half = (from_t + to_t) / 2
        places.append(edge + np.where(backward[edge], 1 - half, half))
        points.append(middle)
        edge = np.concatenate((edge, edge))
        from_t, to_t = np.concatenate((from_t, half)), np.concatenate((half, to_t))
    order = np.argsort(np.concatenate(places), kind="stable")
    ordered = np.concatenate(points)[order]
    return np.concatenate((ordered, ordered[:1]))


def _quarters(from_t: Floats, to_t: Floats) -> list[Floats]:
    return [from_t + (to_t - from_t) * quarter for quarter in (0.0, 0.25, 0.5, 0.75, 1.0)]


def _off_chord(point: Floats, start: Floats, end: Floats) -> Floats:
    """Distance of each point from the straight line between start and end."""
    chord, arm = end - start, point - start
    length = np.hypot(chord[:, 0], chord[:, 1])
    cross = np.abs(chord[:, 0] * arm[:, 1] - chord[:, 1] * arm[:, 0])
    apart = np.hypot(arm[:, 0], arm[:, 1])
    return np.where(length > 0, cross / np.where(length > 0, length, 1.0), apart)


def _project(points: Floats, source: str, target: str, anchor: Floats) -> Floats:
    x, y = _transformer(source, target).transform(points[:, 0], points[:, 1])
    lost = ~(np.isfinite(x) & np.isfinite(y))
    if target == WEB_MERCATOR:
        lost |= np.abs(y) > WEB_MERCATOR_ROUND  # beyond 89.8 degrees: a map twice as high as the world is wide
    if lost.any():
        place = points[np.flatnonzero(lost)[0]]
        raise PlanError(
            f"aoi: ({place[0]:g}, {place[1]:g}) in {_short(source)} has no place in {_short(target)}; "
            f"cut the area there or choose another crs"
        )
    period = _period(target)
    if period is not None:
        expected = _expected(points, source, target, anchor, period)
        x = x + np.round((expected - x) / period) * period
    return np.stack((x, y), axis=1)


def _expected(points: Floats, source: str, target: str, anchor: Floats, period: float) -> Floats:
    """About where x must be for neighbours to stay neighbours across the antimeridian."""
    own = _period(source) or (DEGREES_ROUND if CRS.from_user_input(source).is_geographic else None)
    if own is not None:
        return points[:, 0] * (period / own)
    x, _ = _transformer(source, target).transform(anchor[0], anchor[1])
    return np.full(len(points), float(x))


def _period(crs: str) -> float | None:
    """Length of a whole turn in units of ``crs``; None where x does not come round again."""
    return {"EPSG:4326": DEGREES_ROUND, WEB_MERCATOR: WEB_MERCATOR_ROUND}.get(crs)


@cache
def _transformer(source: str, target: str) -> Transformer:
    return Transformer.from_crs(source, target, always_xy=True)


def _short(crs: str) -> str:
    return crs if crs.startswith("EPSG:") else CRS.from_user_input(crs).name
