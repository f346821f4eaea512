"""Writes where a request looks: bbox or geometry with its CRS, as the service's JSON. Pure.

Refuses to know grids, reprojection and which CRS the service accepts.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Mapping
from typing import Any

from shdask.errors import PlanError

_CRS_URI = "http://www.opengis.net/def/crs/EPSG/0/{}"


def crs_uri(epsg: int) -> str:
    """The CRS as the service names it, ``http://www.opengis.net/def/crs/EPSG/0/32633``. Pure.

    Coordinates stay (easting, northing) or (longitude, latitude) for every code, 4326 included.
    Raises PlanError for a code that is not a positive integer.
    """
    if epsg <= 0:
        raise PlanError(f"EPSG code {epsg} cannot be written into a request; expected a positive number")
    return _CRS_URI.format(epsg)


def bounds_json(
    epsg: int,
    *,
    bbox: tuple[float, float, float, float] | None = None,
    geometry: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The ``input.bounds`` member: what is asked for, in the units of ``epsg``. Pure.

    ``bbox`` is (left, bottom, right, top); ``geometry`` a GeoJSON Polygon or MultiPolygon without a CRS member.
    With both, the picture covers the bbox and holds data inside the geometry only.
    Raises PlanError without either, and for a bbox that is not finite or has no area.
    """
    if bbox is not None:
        left, bottom, right, top = bbox
        if not all(math.isfinite(edge) for edge in bbox) or left >= right or bottom >= top:
            raise PlanError(f"bbox {bbox} is not (left, bottom, right, top) with left < right and bottom < top")
        bbox = (float(left), float(bottom), float(right), float(top))
    return place_json(epsg, bbox=bbox, geometry=geometry)


def place_json(
    epsg: int,
    *,
    bbox: Iterable[float] | None = None,
    geometry: Mapping[str, Any] | None = None,
) -> dict[str, Any]:
    """The same member from numbers that are taken as they come. Pure. Raises PlanError without either."""
    if bbox is None and geometry is None:
        raise PlanError("a request needs a bbox or a geometry")
    bounds: dict[str, Any] = {"properties": {"crs": crs_uri(epsg)}}
    if bbox is not None:
        bounds["bbox"] = list(bbox)
    if geometry is not None:
        bounds["geometry"] = dict(geometry)
    return bounds
