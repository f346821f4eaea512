"""Where patches lie on the globe, told from their table alone.

Pure. Refuses to know cubes.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING

import numpy as np
import shapely
from pyproj import Transformer

from shdask.patches.neighbours import Squares
from shdask.request.reproject import split_at_antimeridian

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shdask.patches.table import Patches

    Floats = NDArray[np.float64]

WGS84 = "EPSG:4326"
STRAIGHT_M = 1000.0
"""A side of UTM's squares that is no longer is as good as straight in degrees: it is bent by 2 cm at 45 degrees."""
MOST_POINTS = 16
"""Along a side."""


def find_centres(patches: Patches) -> tuple[Floats, Floats]:
    """(longitude, latitude) of the middle of each, in degrees. Pure."""
    left, bottom, right, top = patches.bounds.T
    return _degrees(patches.epsg, (left + right)[:, np.newaxis] / 2, (bottom + top)[:, np.newaxis] / 2)


def find_outlines(patches: Patches) -> NDArray[np.object_]:
    """(patch,) polygons in degrees (longitude, latitude), counter-clockwise; cut at 180 where one crosses it. Pure."""
    left, bottom, right, top = patches.bounds.T[:, :, np.newaxis]
    longest = float((right - left).max(initial=0.0))  # in degrees, which need none, less than one
    points = int(np.clip(np.ceil(longest / STRAIGHT_M), 1, MOST_POINTS))
    along = np.arange(points) / points
    east, north = left + (right - left) * along, bottom + (top - bottom) * along
    west, south = right - (right - left) * along, top - (top - bottom) * along
    still = np.ones_like(along)
    xs = np.concatenate((east, right * still, west, left * still), axis=1)
    ys = np.concatenate((bottom * still, north, top * still, south), axis=1)
    longitude, latitude = _degrees(patches.epsg, xs, ys)
    longitude, latitude = longitude.reshape(xs.shape), latitude.reshape(xs.shape)
    longitude = longitude[:, :1] + (longitude - longitude[:, :1] + 180.0) % 360.0 - 180.0
    outlines = np.asarray(shapely.polygons(np.stack((longitude, latitude), axis=2)), object)
    crosses = np.flatnonzero((longitude.max(axis=1) > 180.0) | (longitude.min(axis=1) < -180.0))  # noqa: PLR2004  # degrees
    for row in crosses.tolist():
        outlines[row] = shapely.orient_polygons(split_at_antimeridian(outlines[row], WGS84))
    return outlines


def describe_extent(longitude: Floats, latitude: Floats) -> str:
    """Where points lie, for people. Pure."""
    return (
        f"{longitude.min():.2f} to {longitude.max():.2f} degrees east, "
        f"{latitude.min():.2f} to {latitude.max():.2f} north"
    )


def squares_of(patches: Patches) -> Squares:
    """Patches as squares on their grids. Pure."""
    codes, grid = np.unique(patches.epsg, return_inverse=True)
    longitude, latitude = find_centres(patches)
    return Squares(
        size_px=patches.size_px,
        grid=np.asarray(grid, np.intp),
        epsg=tuple(codes.tolist()),
        y0=patches.y0,
        x0=patches.x0,
        bounds=patches.bounds,
        longitude=longitude,
        latitude=latitude,
    )


def _degrees(epsg: NDArray[np.int64], x: Floats, y: Floats) -> tuple[Floats, Floats]:
    """(longitude, latitude) of (patch, point) coordinates, flat."""
    longitude, latitude = np.empty(x.shape), np.empty(x.shape)
    for code in np.unique(epsg).tolist():
        rows = epsg == code
        longitude[rows], latitude[rows] = _to_degrees(code).transform(x[rows], y[rows])
    return longitude.ravel(), latitude.ravel()


@cache
def _to_degrees(epsg: int) -> Transformer:
    return Transformer.from_crs(f"EPSG:{epsg}", WGS84, always_xy=True)
