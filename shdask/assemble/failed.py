"""The failed tiles of a cube as a map: GeoJSON in longitude and latitude, with the error of each.

Refuses to know why tiles fail, and to change anything in the cube.
"""

from __future__ import annotations

import json
import os
from pathlib import Path
from typing import Any

import shapely

from shdask.assemble.disk import disk_errors
from shdask.assemble.ledger import read_ledger
from shdask.assemble.place import Place, open_place
from shdask.assemble.store import read_cube_attributes
from shdask.assemble.tree import begun_groups
from shdask.assemble.verify import CubeTiles
from shdask.model import Window
from shdask.request.reproject import reproject, split_at_antimeridian

DEGREES = "EPSG:4326"
TOLERANCE = 1e-6
"""Degrees: a tenth of a metre."""
DECIMALS = 7


def failed_tiles(store: str | os.PathLike[str] | Place) -> dict[str, Any]:
    """A GeoJSON FeatureCollection (EPSG:4326) of the tiles whose last attempt failed, as the ledgers have it.

    Each feature has ``tile``, ``row``, ``column``, ``error``, ``step`` where there is a time axis, and ``group``, the
    path, where there are several. Raises StoreError where there is no cube of ours.
    """
    groups = begun_groups(open_place(store))
    features = [feature for path, place in groups.items() for feature in _features(path, place)]
    return {"type": "FeatureCollection", "features": features}


def _features(path: str, place: Place) -> list[dict[str, Any]]:
    group = {"group": path} if path else {}
    attributes = read_cube_attributes(place)
    errors = read_ledger(place).errors
    tiles = CubeTiles.of(place, attributes)
    features = []
    for tile, error in sorted(errors.items()):
        found = tiles.tile(tile)
        step = {} if found.step is None else {"step": found.step}
        features.append(
            {
                "type": "Feature",
                "id": f"{path}/{tile}" if path else tile,
                "properties": {**group, "tile": tile, **step, "row": found.row, "column": found.column, "error": error},
                "geometry": json.loads(shapely.to_geojson(_outline(found.extent, attributes))),
            }
        )
    return features


def write_failed_tiles(store: str | os.PathLike[str] | Place, path: Path) -> int:
    """Write `failed_tiles` to ``path``; returns how many there are. Raises StoreError."""
    found = failed_tiles(store)
    with disk_errors(path, opening=True):
        path.write_text(json.dumps(found))
    return len(found["features"])


def _outline(extent: Window, attributes: dict[str, Any]) -> shapely.Geometry:
    x_px, _, left, _, y_px, top = attributes["spatial:transform"]
    box = shapely.box(left + extent.x0 * x_px, top + extent.y1 * y_px, left + extent.x1 * x_px, top + extent.y0 * y_px)
    degrees = reproject(box, attributes["proj:code"], DEGREES, tolerance=TOLERANCE)
    return shapely.set_precision(split_at_antimeridian(degrees, DEGREES), 10.0**-DECIMALS)
