"""Areas of any CRS on the globe: in degrees, cut at the antimeridian, whole over the poles.

Refuses to know what the areas are of.
"""

from __future__ import annotations

from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import Transformer
from shapely.affinity import translate
from shapely.geometry import Polygon, box, mapping
from shapely.geometry.base import BaseGeometry

from shdask.emulator.projection import find_transformer

WORLD = box(-180.0, -90.0, 180.0, 90.0)
PIECES = 64
"""Into how many the longer side of an area is cut before it is bent."""
ZONES = 60
PIXEL_M = 10.0


def to_degrees(area: BaseGeometry, crs: str) -> BaseGeometry:
    """A (multi)polygon of a CRS in degrees of longitude and latitude, within [-180, 180] and [-90, 90]. Pure.

    ``crs`` as pyproj reads it, x first. An area of which no edge can be reached on the globe becomes the whole world.
    """
    left, bottom, right, top = area.bounds
    transformer = find_transformer(crs, "EPSG:4326")
    parts = []
    for part in shapely.get_parts(shapely.segmentize(area, max(right - left, top - bottom) / PIECES)):
        rings = [_bend(np.asarray(ring.coords), transformer) for ring in (part.exterior, *part.interiors)]
        if not all(np.isfinite(ring).all() for ring in rings):
            return WORLD
        parts.append(shapely.make_valid(Polygon(rings[0], rings[1:])))
    return wrap(shapely.union_all(parts))


def wrap(area: BaseGeometry) -> BaseGeometry:
    """An area whose longitudes may go beyond 180 degrees, within [-180, 180]; empty beyond a turn. Pure."""
    west, _, east, _ = area.bounds
    if west >= WORLD.bounds[0] and east <= WORLD.bounds[2]:
        return area
    return shapely.union_all([translate(area, turn).intersection(WORLD) for turn in (-360.0, 0.0, 360.0)])


def describe_projection(footprint: BaseGeometry) -> dict[str, Any]:
    """``proj:epsg``, ``proj:bbox`` and ``proj:geometry`` in the UTM zone of a footprint's middle. Pure."""
    middle = box(*footprint.bounds).centroid
    epsg = (32600 if middle.y >= 0 else 32700) + min(int((middle.x + 180) / 6), ZONES - 1) + 1
    transformer = find_transformer("EPSG:4326", f"EPSG:{epsg}")

    def to_zone(points: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.stack(transformer.transform(points[:, 0], points[:, 1]), axis=1)

    projected = shapely.transform(footprint, to_zone)
    left, bottom, right, top = projected.bounds
    return {
        "proj:epsg": epsg,
        "proj:bbox": [
            PIXEL_M * (left // PIXEL_M),
            PIXEL_M * (bottom // PIXEL_M),
            PIXEL_M * (right // PIXEL_M + 1),
            PIXEL_M * (top // PIXEL_M + 1),
        ],
        "proj:geometry": write_multipolygon(projected, f"EPSG::{epsg}"),
    }


def write_multipolygon(area: BaseGeometry, crs: str) -> dict[str, Any]:
    """A (multi)polygon as the service writes them: a MultiPolygon that names its CRS, such as OGC::CRS84. Pure."""
    parts = [part for part in shapely.get_parts(area) if part.geom_type == "Polygon"]
    return {
        "type": "MultiPolygon",
        "crs": {"type": "name", "properties": {"name": f"urn:ogc:def:crs:{crs}"}},
        "coordinates": [mapping(part)["coordinates"] for part in parts],
    }


def _bend(ring: NDArray[np.float64], transformer: Transformer) -> NDArray[np.float64]:
    longitude, latitude = transformer.transform(ring[:, 0], ring[:, 1])
    if not (np.isfinite(longitude).all() and np.isfinite(latitude).all()):
        return np.full(ring.shape, np.nan)
    # an edge that jumps round the globe is followed across the antimeridian
    longitude = np.unwrap(longitude, period=360.0)
    turned = longitude[-1] - longitude[0]
    if abs(turned) < 180.0:  # noqa: PLR2004  # half a turn
        return np.stack([longitude, latitude], axis=1)
    # the ring goes round a pole: it is closed over that one
    pole = 90.0 if latitude.mean() > 0 else -90.0
    around = np.append(longitude, [longitude[-1], longitude[0]])
    return np.stack([around, np.append(latitude, [pole, pole])], axis=1)
