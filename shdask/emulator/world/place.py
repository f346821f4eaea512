"""Where the pixels of a lattice lie on the globe.

Refuses to know what is there.
"""

from __future__ import annotations

import math
from dataclasses import dataclass, field
from typing import TypeVar

import numpy as np
from numpy.typing import NDArray

from shdask.emulator.lattice import Lattice
from shdask.emulator.projection import METRES_PER_DEGREE, find_transformer, is_geographic

CIRCUMFERENCE_M = 2 * math.pi * 6378137.0
AROUND = 2**20
"""Units round the globe: 38.2 m at the equator, 26.5 m at 46 degrees."""
UNIT_M = CIRCUMFERENCE_M / AROUND
NODE_PX = 32
EDGE_LATITUDE = 85.0

FINE_UNIT_M = 20.0
"""Length of a unit at 58 degrees, for which meshes are laid out."""

Coordinates = NDArray[np.float64]
_Number = TypeVar("_Number", np.float32, np.float64)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Mesh:
    """Nodes among the pixels of a block, on which smooth fields are worked out; between them they are blended.

    Nodes are counted from the CRS's origin, so that a pixel lies between the same ones in every window.
    """

    u: Coordinates
    """(node row, node column), eastwards in units as in Place."""
    v: Coordinates
    step_px: int
    """Pixels from node to node, a power of two; 1: the nodes are the pixels."""
    first: tuple[int, int]
    """Row and column of the block's first pixel, counted from the first node."""
    shape: tuple[int, int]
    """Of the block."""

    @property
    def reach(self) -> float:
        """Units within which all pixels between four nodes lie from any of them. Pure."""
        if self.step_px == 1:
            return 0.0
        return float(
            np.abs(np.diff(self.u)).max(initial=0)
            + np.abs(np.diff(self.u, axis=0)).max(initial=0)
            + np.abs(np.diff(self.v)).max(initial=0)
            + np.abs(np.diff(self.v, axis=0)).max(initial=0)
        )

    def spread(self, nodes: NDArray[_Number]) -> NDArray[_Number]:
        """(y, x): ``nodes`` (node row, node column) blended bilinearly. Pure."""
        step, (row0, column0), (height, width) = self.step_px, self.first, self.shape
        if step == 1:
            return nodes
        # along the rows by index, for runs of a few pixels are slow to repeat; down the columns whole rows at once
        columns = np.arange(column0, column0 + width)
        index, t = columns // step, ((columns % step) / step).astype(nodes.dtype)
        wide = (nodes[:, 1:] - nodes[:, :-1]).take(index, 1)
        wide *= t
        wide += nodes.take(index, 1)
        rise = (wide[1:] - wide[:-1])[:, None, :]
        down = rise * (np.arange(step).astype(nodes.dtype) / nodes.dtype.type(step))[:, None]
        down += wide[:-1, None, :]
        return np.asarray(down.reshape(-1, width)[row0 : row0 + height])

    def mark(self, nodes: NDArray[np.bool_]) -> NDArray[np.bool_]:
        """(y, x): True where one of the four nodes around is. Pure."""
        step, (row0, column0), (height, width) = self.step_px, self.first, self.shape
        if step == 1:
            return nodes
        cells = nodes[:-1, :-1] | nodes[:-1, 1:] | nodes[1:, :-1] | nodes[1:, 1:]
        return cells.repeat(step, 1)[:, column0 : column0 + width].repeat(step, 0)[row0 : row0 + height]


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
    lattice: Lattice
    nodes: tuple[Coordinates, Coordinates] = field(repr=False)
    """Exact u and v every NODE_PX pixels."""

    def mesh(self, reach: float) -> Mesh:
        """Nodes at most about ``reach`` units apart, and at most NODE_PX pixels. Pure."""
        step = NODE_PX
        while step > 1 and step * self.resolution_m > reach * FINE_UNIT_M:
            step //= 2
        if step == 1:
            return Mesh(u=self.u, v=self.v, step_px=1, first=(0, 0), shape=self.lattice.shape)
        return _make_mesh(self.lattice, self.nodes, step)


def locate(lattice: Lattice) -> Place:
    """Where each pixel centre lies. Pure; a pixel gets the same bits in every window.

    Exact at nodes every 32 pixels, counted from the CRS's origin, and bilinear between.
    """
    # one node more than the pixels need: a finer mesh may end on the last of theirs
    columns = np.arange(lattice.column // NODE_PX, (lattice.column + lattice.width - 1) // NODE_PX + 3) * NODE_PX
    rows = np.arange(lattice.row // NODE_PX, (lattice.row + lattice.height - 1) // NODE_PX + 3) * NODE_PX
    x = (columns + (lattice.fraction_x + 0.5)) * lattice.res_x
    y = (rows + (lattice.fraction_y + 0.5)) * -lattice.res_y
    u, v = to_units(lattice.crs, *np.meshgrid(x, y))
    u -= np.floor(u * (1.0 / AROUND) + 0.5) * AROUND
    mesh = _make_mesh(lattice, (u, v), NODE_PX)
    # a cell that straddles the antimeridian is crossed the short way
    straddles = bool(np.ptp(mesh.u) > AROUND / 2)
    east = _make_mesh(lattice, (u, v), 1).u if straddles else mesh.spread(mesh.u)
    south = mesh.spread(mesh.v)
    metres = [[UNIT_M * math.cos(math.radians(latitude_of(node))) for node in row] for row in mesh.v.tolist()]
    return Place(
        u=east,
        v=south,
        extent=(float(east.min()), float(east.max()), float(south.min()), float(south.max())),
        metres=mesh.spread(np.array(metres, dtype=np.float32)),
        resolution_m=lattice.res_y * (METRES_PER_DEGREE if is_geographic(lattice.crs) else 1.0),
        lattice=lattice,
        nodes=(u, v),
    )


def to_units(crs: str, x: Coordinates, y: Coordinates) -> tuple[Coordinates, Coordinates]:
    """(u, v) of points in a CRS; latitudes beyond 85 degrees are taken for 85. Pure."""
    longitude, latitude = find_transformer(crs, "EPSG:4326").transform(x, y)
    longitude = np.nan_to_num(longitude, posinf=0.0, neginf=0.0)
    latitude = np.clip(np.nan_to_num(latitude, posinf=EDGE_LATITUDE), -EDGE_LATITUDE, EDGE_LATITUDE)
    east, north = find_transformer("EPSG:4326", "EPSG:3857").transform(longitude, latitude)
    return np.asarray(east) / UNIT_M, np.asarray(north) / -UNIT_M


def latitude_of(v: float) -> float:
    """Latitude in degrees of a v coordinate. Pure."""
    return math.degrees(math.atan(math.sinh(-v * UNIT_M / 6378137.0)))


def v_of(latitude: float) -> float:
    """The v coordinate of a latitude in degrees. Pure."""
    return -math.asinh(math.tan(math.radians(latitude))) * 6378137.0 / UNIT_M


def _make_mesh(lattice: Lattice, nodes: tuple[Coordinates, Coordinates], step: int) -> Mesh:
    """Every ``step``-th pixel, between the exact nodes."""
    more = step > 1
    columns = np.arange(lattice.column // step, (lattice.column + lattice.width - 1) // step + 1 + more) * step
    rows = np.arange(lattice.row // step, (lattice.row + lattice.height - 1) // step + 1 + more) * step
    column0, row0 = lattice.column // NODE_PX, lattice.row // NODE_PX
    u, v = (_blend(_blend(exact, columns, column0, 1), rows, row0, 0) for exact in nodes)
    u -= np.floor(u * (1.0 / AROUND) + 0.5) * AROUND
    return Mesh(u=u, v=v, step_px=step, first=(lattice.row % step, lattice.column % step), shape=lattice.shape)


def _blend(nodes: Coordinates, pixels: NDArray[np.int64], node0: int, axis: int) -> Coordinates:
    index = pixels // NODE_PX
    t = (pixels - index * NODE_PX) / NODE_PX
    near, far = nodes.take(index - node0, axis), nodes.take(index - node0 + 1, axis)
    step = far - near
    step -= np.round(step / AROUND) * AROUND
    return np.asarray(near + step * (t[None, :] if axis else t[:, None]))
