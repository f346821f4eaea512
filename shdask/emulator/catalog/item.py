"""Scenes as STAC items.

Refuses to know searches, and which members a client wants to see.
"""

from __future__ import annotations

from typing import Any
from urllib.parse import quote

import shapely
from shapely.geometry.base import BaseGeometry

from shdask.emulator.catalog.collections import STAC_VERSION, CatalogCollection, make_link
from shdask.emulator.globe import describe_projection, write_multipolygon
from shdask.emulator.source import Scene
from shdask.emulator.times import write_time

PROJECTION = "https://stac-extensions.github.io/projection/v1.0.0/schema.json"
HALF_TURN = 180.0


def write_item(collection: CatalogCollection, scene: Scene, root: str) -> dict[str, Any]:
    """The STAC item of a scene, with all members; ``root`` is the Catalog's URL without a slash at the end. Pure.

    The asset's address is the ``dataPath`` that scripts see; there is nothing to be had under it.
    """
    footprint = collection.source.footprint(scene)
    parent = f"{root}/collections/{collection.id}"
    return {
        "stac_version": STAC_VERSION,
        "stac_extensions": [*collection.extensions, PROJECTION],
        "id": scene.id,
        "type": "Feature",
        "geometry": write_multipolygon(footprint, "OGC::CRS84"),
        "bbox": find_bbox(footprint),
        "properties": {
            "datetime": write_time(scene.time),
            **collection.source.properties(scene),
            **describe_projection(footprint),
        },
        "assets": {
            "data": {"href": f"emulator://{collection.id}/{scene.id}", "title": "s3", "type": "inode/directory"}
        },
        "collection": collection.id,
        "links": [
            make_link(f"{root}/", "root"),
            make_link(f"{parent}/items/{quote(scene.id, safe='')}", "self", "application/geo+json"),
            make_link(parent, "parent"),
            make_link(parent, "collection"),
        ],
    }


def find_bbox(area: BaseGeometry) -> list[float]:
    """[west, south, east, north] in degrees; west is greater than east across the antimeridian. Pure."""
    west, south, east, north = area.bounds
    parts = [part.bounds for part in shapely.get_parts(area)]
    if west <= -HALF_TURN and east >= HALF_TURN and all(part[2] - part[0] < HALF_TURN for part in parts):
        west = min(part[0] for part in parts if part[0] >= 0)
        east = max(part[2] for part in parts if part[0] < 0)
    return [west, south, east, north]
