"""Where the pixels of a lattice lie on the globe.

Refuses to know what is there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from functools import lru_cache

import numpy as np
from numpy.typing import NDArray
from pyproj import CRS, Transformer

from shdask.emulator.lattice import Lattice

CIRCUMFERENCE_M = 2 * math.pi * 6378137.0
AROUND = 2**20
"""Units round the globe: 38.2 m at the equator, 26.5 m at 46 degrees."""
UNIT_M = CIRCUMFERENCE_M / AROUND
NODE_PX = 32
EDGE_LATITUDE = 85.0
METRES_PER_DEGREE = 111319.49

Coordinates = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Place:
    """Pixel centres in spherical Mercator units; all arrays (y, x)."""

    u: Coordinates
    """Eastwards, in [-AROUND / 2, AROUND / 2)."""
    v: Coordinates
    """Southwards, 0 at the equator."""
    metres: NDArray[np.float32]
    """Length of a unit on the ground."""
    extent: tuple[float, float, float, float]
    """Least and greatest u, least and greatest v."""
    resolution_m: float
    """Pixel size in metres, roughly; the same for all windows of a grid."""


def locate(lattice: Lattice) -> Place:
    """Where each pixel centre lies. Pure; a pixel gets the same bits in every window.

    Exact at nodes every 32 pixels, counted from the CRS's origin, and bilinear between.
    """
    column0, row0 = lattice.column // NODE_PX, lattice.row // NODE_PX
    columns = np.arange(column0, (lattice.column + lattice.width - 1) // NODE_PX + 2) * NODE_PX
    rows = np.arange(row0, (lattice.row + lattice.height - 1) // NODE_PX + 2) * NODE_PX
    x = (columns + (lattice.fraction_x + 0.5)) * lattice.res_x
    y = (rows + (lattice.fraction_y + 0.5)) * -lattice.res_y
    u, v = to_units(lattice.crs, *np.meshgrid(x, y))
    tx, ix = _between(lattice.column, lattice.width, column0)
    ty, iy = _between(lattice.row, lattice.height, row0)
    metres = np.array([[UNIT_M * math.cos(math.radians(latitude_of(node))) for node in row] for row in v.tolist()])
    degrees = CRS.from_user_input(lattice.crs).is_geographic
    east, south = _blend(_blend(u, ix, tx, 1), iy, ty, 0), _blend(_blend(v, ix, tx, 1), iy, ty, 0)
    east -= np.floor(east * (1.0 / AROUND) + 0.5) * AROUND
    return Place(
        u=east,
        v=south,
        extent=(float(east.min()), float(east.max()), float(south.min()), float(south.max())),
        metres=_blend(_blend(metres, ix, tx, 1), iy, ty, 0).astype(np.float32),
        resolution_m=lattice.res_y * (METRES_PER_DEGREE if degrees else 1.0),
    )


def to_units(crs: str, x: Coordinates, y: Coordinates) -> tuple[Coordinates, Coordinates]:
    """(u, v) of points in a CRS; latitudes beyond 85 degrees are taken for 85. Pure."""
    longitude, latitude = _transformer(crs, "EPSG:4326").transform(x, y)
    longitude = np.nan_to_num(longitude, posinf=0.0, neginf=0.0)
    latitude = np.clip(np.nan_to_num(latitude, posinf=EDGE_LATITUDE), -EDGE_LATITUDE, EDGE_LATITUDE)
    east, north = _transformer("EPSG:4326", "EPSG:3857").transform(longitude, latitude)
    return np.asarray(east) / UNIT_M, np.asarray(north) / -UNIT_M


def latitude_of(v: float) -> float:
    """Latitude in degrees of a v coordinate. Pure."""
    return math.degrees(math.atan(math.sinh(-v * UNIT_M / 6378137.0)))


def v_of(latitude: float) -> float:
    """The v coordinate of a latitude in degrees. Pure."""
    return -math.asinh(math.tan(math.radians(latitude))) * 6378137.0 / UNIT_M


def _between(first: int, count: int, node0: int) -> tuple[Coordinates, NDArray[np.int64]]:
    index = np.arange(first, first + count)
    node = index // NODE_PX
    return (index - node * NODE_PX) / NODE_PX, node - node0


def _blend(nodes: Coordinates, index: NDArray[np.int64], t: Coordinates, axis: int) -> Coordinates:
    near, far = nodes.take(index, axis), nodes.take(index + 1, axis)
    step = far - near
    # a cell that straddles the antimeridian is crossed the short way
    step -= np.round(step / AROUND) * AROUND
    return np.asarray(near + step * (t[None, :] if axis else t[:, None]))


@lru_cache(maxsize=64)
def _transformer(source: str, target: str) -> Transformer:
    return Transformer.from_crs(source, target, always_xy=True)
