"""Writes searches of the Catalog: bodies, filters, areas, and what one is priced by. Pure.

Refuses to know HTTP, and what a search finds.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping
from datetime import datetime
from typing import Any

import shapely
from dateutil.relativedelta import relativedelta

from shdask.errors import PlanError
from shdask.model import TimeInterval
from shdask.request.body import time_range_json
from shdask.request.parts import without_none
from shdask.request.reproject import split_at_antimeridian

MAX_LIMIT = 100
"""Items of one page; the service cuts what is larger."""
MAX_CORNERS = 500
"""An area with more is searched by its hull: the service's limit is not published."""
EARTH_RADIUS_KM = 6371.0088
# documentation page "Catalog API": by the names that Process requests have for the same
_FILTERS = {
    "maxCloudCoverage": ("eo:cloud_cover", "<="),
    "acquisitionMode": ("sar:instrument_mode", "="),
    "polarization": ("s1:polarization", "="),
    "resolution": ("s1:resolution", "="),
    "timeliness": ("s1:timeliness", "="),
    "orbitDirection": ("sat:orbit_state", "="),
}
_SHOWN = (
    "id", "type", "geometry", "bbox", "properties.datetime", "properties.start_datetime", "properties.platform",
    "properties.eo:cloud_cover", "properties.sat:orbit_state", "properties.sat:relative_orbit",
    "properties.landsat:wrs_path", "properties.s2:processing_baseline", "properties.processing:version",
)  # fmt: skip
_HIDDEN = ("links", "assets")
PAGE_SCENES = 80
"""So many scenes are expected to fit one page, with some to spare."""
CALL_SCENES = 1000
"""About so many scenes one call should find at most: far from where catalogues stop to count."""
CALL_MONTHS = 6
SCENES_A_DAY = 0.4
"""Of one 10,000 km2: two satellites that come by every five days, and their tiles overlap."""
SCENE_KM2 = 10_000.0
DAYS_A_MONTH = 31


def search_body(
    collection: str,
    *,
    area: shapely.Geometry,
    interval: TimeInterval,
    cql: str | None = None,
    limit: int = MAX_LIMIT,
    next: int | None = None,  # noqa: A002  # the service's name
) -> dict[str, Any]:
    """The body of one page of a search in an area of EPSG:4326 (longitude, latitude). Pure.

    ``area`` is sent as ``intersects``, but as ``bbox`` where it is a box. ``interval`` is half-open, and sent closed,
    its end less 1 ms. Only members that acquisitions are read from are asked for.
    """
    times = time_range_json(interval)
    return without_none(
        {
            "collections": [collection],
            "datetime": f"{times['from']}/{times['to']}",
            **_area_json(area),
            "filter": cql,
            "filter-lang": None if cql is None else "cql2-text",
            "fields": {"include": list(_SHOWN), "exclude": list(_HIDDEN)},
            "limit": limit,
            "next": next,
        }
    )


def search_filter(data_filter: Mapping[str, Any]) -> str | None:
    """CQL2 for the filters of a Process request, so that both choose the same scenes; None for none. Pure.

    Names and values are those of ``dataFilter``: ``maxCloudCoverage`` in percent, ``orbitDirection``,
    ``acquisitionMode``, ``polarization``, ``resolution``, ``timeliness``. Raises PlanError for one that the Catalog
    cannot filter by.
    """
    conditions = []
    for name, value in without_none(data_filter).items():
        if name not in _FILTERS:
            raise PlanError(f"the catalogue cannot be searched by {name}; it can by {', '.join(_FILTERS)}")
        known, comparison = _FILTERS[name]
        constant = str(value).lower() if name == "orbitDirection" else value
        conditions.append(f"{known} {comparison} {_constant(constant)}")
    return " AND ".join(conditions) or None


def search_areas(area: shapely.Geometry) -> tuple[shapely.Geometry, ...]:
    """The polygons that are searched for an ``area`` of EPSG:4326, each in a call of its own; they hold it. Pure.

    One on either side of the antimeridian, for a call is priced by the box around its area; hulls in place of
    areas with very many corners.
    """
    whole = split_at_antimeridian(area, "EPSG:4326")
    parts = shapely.get_parts(whole)
    west, east = shapely.bounds(parts)[:, 0], shapely.bounds(parts)[:, 2]
    # as the area was cut there, unless it goes around the globe
    is_cut = bool((west == -180.0).any() and (east == 180.0).any())  # noqa: PLR2004  # degrees
    sides = [parts[east > 0], parts[east <= 0]] if is_cut else [parts]
    found = [side[0] if len(side) == 1 else shapely.MultiPolygon(list(side)) for side in sides if len(side)]
    return tuple(one if shapely.get_num_coordinates(one) <= MAX_CORNERS else shapely.convex_hull(one) for one in found)


def search_intervals(area: shapely.Geometry, interval: TimeInterval) -> Iterator[TimeInterval]:
    """The spans that ``interval`` is searched in, one call of one or more pages each: disjoint, in order. Pure.

    Every page of a call costs what the whole call does, area times started months. So a call is of as many months as
    one page should hold, six over a small area, of one where that is too much, and of days over a continent.
    """
    scenes_a_day = SCENES_A_DAY * max(box_km2(area) / SCENE_KM2, 1.0)
    days = max(1, int(CALL_SCENES / scenes_a_day))
    months = max(1, min(int(PAGE_SCENES / scenes_a_day / DAYS_A_MONTH), CALL_MONTHS))
    length = relativedelta(days=days) if days < DAYS_A_MONTH else relativedelta(months=months)
    start, count = interval.start, 1
    while start < interval.end:
        end = min(_later(interval.start, length * count), interval.end)
        yield TimeInterval(start=start, end=end)
        start, count = end, count + 1


def box_km2(area: shapely.Geometry) -> float:
    """Area of the box around ``area`` (degrees) on a sphere. Pure."""
    west, south, east, north = (math.radians(float(edge)) for edge in shapely.bounds(area))
    return EARTH_RADIUS_KM**2 * (east - west) * (math.sin(north) - math.sin(south))


def count_months(interval: TimeInterval) -> int:
    """Months that are begun in ``interval``, by the calendar and from its start. Pure."""
    whole = relativedelta(interval.end, interval.start)
    months = whole.years * 12 + whole.months
    return months + (_later(interval.start, relativedelta(months=months)) < interval.end)


def _later(moment: datetime, length: relativedelta) -> datetime:
    return moment + length


def _area_json(area: shapely.Geometry) -> dict[str, Any]:
    west, south, east, north = (float(edge) for edge in shapely.bounds(area))
    if shapely.equals(area, shapely.box(west, south, east, north)):
        return {"bbox": [west, south, east, north]}
    return {"intersects": _geojson(area)}


def _geojson(area: shapely.Geometry) -> dict[str, Any]:
    polygons = [
        [shapely.get_coordinates(ring).tolist() for ring in shapely.get_rings(part)] for part in shapely.get_parts(area)
    ]
    if len(polygons) == 1:
        return {"type": "Polygon", "coordinates": polygons[0]}
    return {"type": "MultiPolygon", "coordinates": polygons}


def _constant(value: object) -> str:
    if isinstance(value, int | float):
        return f"{value:g}"
    quoted = str(value).replace("'", "''")
    return f"'{quoted}'"
