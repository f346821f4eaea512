"""Small grids to choose patches on, and patches made by hand."""

from __future__ import annotations

from functools import cache
from typing import Any

import numpy as np
import shapely
from pyproj import Transformer

import shdask
from shdask.patches.choosing.places import Ground
from shdask.patches.neighbours import Squares
from shdask.patches.table import Patches
from shdask.plan.grid import Grid

ZONES_EDGE = 12.0
"""Degrees east: between UTM zones 32 and 33."""


def make_grid(*, epsg: int = 32633, shape: tuple[int, int] = (512, 512), resolution: float = 10.0, **more: Any) -> Grid:
    """North-up, its upper left corner at (500 000, 5 200 000) of a UTM zone unless told otherwise."""
    offset = more.get("offset", (50_000, 520_000))
    return Grid(epsg=epsg, origin=(0.0, 0.0), resolution=(resolution, resolution), offset=offset, shape=shape)


def make_ground(*, chunk_px: int = 64, tile_px: int = 128, tiles: np.ndarray | None = None, **grid: Any) -> Ground:
    """All of a grid."""
    made = make_grid(**grid)
    rows, columns = (-(-length // tile_px) for length in made.shape)
    known = np.ones((rows, columns), np.bool_) if tiles is None else tiles
    return Ground(zone="", grid=made, chunk_px=chunk_px, tile_px=tile_px, tiles=known, area=None, layers=("s2",))


def make_squares(y0: list[int], x0: list[int], *, size_px: int = 16, **grid: Any) -> Squares:
    """Windows on one grid."""
    ground = make_ground(**grid)
    y, x = np.array(y0, np.int64), np.array(x0, np.int64)
    longitude, latitude = ground.centres(y, x, size_px)
    return Squares(
        size_px=size_px,
        grid=np.zeros(y.size, np.intp),
        epsg=(ground.grid.epsg,),
        y0=y,
        x0=x,
        bounds=ground.bounds(y, x, size_px),
        longitude=longitude,
        latitude=latitude,
    )


def zones_spec(box: tuple[float, float, float, float] = (11.9, 46.0, 12.1, 46.1), **changes: Any) -> shdask.CubeSpec:
    """A job over the edge between two UTM zones, that needs no catalogue."""
    fields: dict[str, Any] = {
        "aoi": shapely.box(*box),
        "crs": "utm-zones",
        "resolution": 20,
        "time": ["2024-06-01", "2024-06-30"],
        "layers": {"s2": {"collection": "sentinel-2-l2a", "bands": ["B02", "SCL"]}},
        "store": {"chunk_px": 64, "tile_px": 256},
    }
    return shdask.CubeSpec(**{**fields, **changes})


def plain_spec(**changes: Any) -> shdask.CubeSpec:
    """A job of one grid: 400 x 300 pixels of 20 m with a corner cut off."""
    area = shapely.Polygon([(500_000, 5_100_000), (506_000, 5_100_000), (506_000, 5_106_000), (503_000, 5_108_000),
                            (500_000, 5_108_000)])  # fmt: skip  # a ring
    return zones_spec(**{"aoi": area, "aoi_crs": "EPSG:32633", "crs": "EPSG:32633", **changes})


def outlines_in(patches: Patches, epsg: int) -> np.ndarray:
    """Patches as polygons in one CRS, by pyproj and shapely alone."""
    shapes = np.array(shapely.segmentize(shapely.box(*patches.bounds.T), 200.0), object)
    for own in np.unique(patches.epsg).tolist():
        rows = patches.epsg == own
        shapes[rows] = shapely.transform(shapes[rows], to_crs(own, epsg).transform, interleaved=False)
    return shapes


@cache
def to_crs(source: int, target: int | str) -> Transformer:
    """Made once."""
    return Transformer.from_crs(source, target, always_xy=True)
