"""What Sentinel-2 scenes are called, and what their STAC items tell besides time and place.

Refuses to know how scenes are found.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from functools import lru_cache
from typing import Any

import numpy as np
import shapely
from numpy.typing import NDArray
from pyproj import Transformer
from shapely.geometry import box, mapping
from shapely.geometry.base import BaseGeometry

from shdask.emulator.world.footprint import footprint_of
from shdask.emulator.world.orbit import EarthScene
from shdask.emulator.world.place import AROUND

LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ"
ZONES = 60
BASELINE_4_FROM = datetime(2022, 1, 25, tzinfo=UTC)
PROCESSED_AFTER = timedelta(minutes=90)
PIXEL_M = 10


def name_product(scene: EarthScene, level: str) -> str:
    """A product id such as ``S2A_MSIL2A_20240610T101012_N0400_R022_T33QEF_20240610T114012``. Pure.

    The tile reads like one of the military grid, but only its zone is: the emulator has squares of its own.
    """
    zone = int((scene.column + 0.5) * scene.size / AROUND * ZONES + ZONES / 2) + 1
    # a zone is less than eight columns wide
    number = (scene.row + AROUND // scene.size // 2) * 8 + scene.column % 8
    first, rest = divmod(number, len(LETTERS) ** 2)
    second, third = divmod(rest, len(LETTERS))
    tile = f"{zone:02d}{LETTERS[first]}{LETTERS[second]}{LETTERS[third]}"
    baseline = "N0400" if scene.time >= BASELINE_4_FROM else "N0300"
    sensed, made = (f"{time:%Y%m%dT%H%M%S}" for time in (scene.time, scene.time + PROCESSED_AFTER))
    flight = scene.flight
    return f"{flight.satellite_name}_MSI{level}_{sensed}_{baseline}_R{flight.relative_orbit:03d}_T{tile}_{made}"


def describe_product(scene: EarthScene) -> dict[str, Any]:
    """The properties of a Sentinel-2 item, as the service has them, but for ``datetime``. Pure."""
    return {
        "platform": f"sentinel-2{scene.flight.satellite_name[-1].lower()}",
        "instruments": ["msi"],
        "constellation": "sentinel-2",
        "gsd": PIXEL_M,
        "eo:cloud_cover": scene.cloud_cover,
        **describe_projection(footprint_of(scene)),
    }


def describe_projection(footprint: BaseGeometry) -> dict[str, Any]:
    """``proj:epsg``, ``proj:bbox`` and ``proj:geometry`` in the UTM zone of the footprint's middle. Pure."""
    middle = box(*footprint.bounds).centroid
    epsg = (32600 if middle.y >= 0 else 32700) + min(int((middle.x + 180) / 6), ZONES - 1) + 1

    def to_zone(points: NDArray[np.float64]) -> NDArray[np.float64]:
        return np.stack(_transformer(epsg).transform(points[:, 0], points[:, 1]), axis=1)

    projected = shapely.transform(footprint, to_zone)
    left, bottom, right, top = projected.bounds
    return {
        "proj:epsg": epsg,
        "proj:bbox": [
            PIXEL_M * edge for edge in (left // PIXEL_M, bottom // PIXEL_M, right // PIXEL_M + 1, top // PIXEL_M + 1)
        ],
        "proj:geometry": to_multipolygon(projected, f"EPSG::{epsg}"),
    }


def to_multipolygon(geometry: BaseGeometry, crs: str) -> dict[str, Any]:
    """A (multi)polygon as the service writes them: GeoJSON MultiPolygon that names its CRS. Pure."""
    parts = [part for part in shapely.get_parts(geometry) if part.geom_type == "Polygon"]
    return {
        "type": "MultiPolygon",
        "crs": {"type": "name", "properties": {"name": f"urn:ogc:def:crs:{crs}"}},
        "coordinates": [mapping(part)["coordinates"] for part in parts],
    }


@lru_cache(maxsize=128)
def _transformer(epsg: int) -> Transformer:
    return Transformer.from_crs("EPSG:4326", f"EPSG:{epsg}", always_xy=True)
