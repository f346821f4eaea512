"""Villages, towns and the roads between them.

Refuses to know what else the ground holds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from shdask.emulator.world.cover import Cover
from shdask.emulator.world.place import Place
from shdask.emulator.world.texture import hash_cells, unit

VILLAGE_CELL = 128.0
TOWN_CELL = 1024.0
ROAD_HALF_WIDTH = 0.22
FINEST_ROAD_M = 25.0
TILE = 4.0
"""Units between the nodes at which is asked whether a settlement or a road is near."""
FRAYED = 1.75
"""Radii within which a settlement ends, with the noise at its edge."""
ROOFS = np.array(
    [
        Cover.RED_ROOF,
        Cover.RED_ROOF,
        Cover.GREY_ROOF,
        Cover.GARDEN,
        Cover.RED_ROOF,
        Cover.GARDEN,
        Cover.GREY_ROOF,
        Cover.HALL,
    ],
    dtype=np.uint8,
)

F = np.float32
Floats = NDArray[np.float32]
Coordinates = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Spots:
    """Some of the pixels of a block, for what only few pixels need; all arrays (spot,)."""

    index: NDArray[np.intp]
    """In the flat block."""
    u: Coordinates
    v: Coordinates

    @classmethod
    def of(cls, place: Place, marked: NDArray[np.bool_]) -> Self:
        """The marked pixels (y, x). Pure."""
        index = np.flatnonzero(marked)
        return cls(index=index, u=place.u.take(index), v=place.v.take(index))


def paint_settlements(
    place: Place, cover: NDArray[np.uint8], variant: NDArray[np.uint8], f: Floats, buildable: NDArray[np.bool_]
) -> None:
    """Lay streets, roofs, gardens and roads over ``cover``, and their kinds over ``variant``, where one can build.

    All arrays (y, x); ``f`` roughens the edges of settlements.
    """
    mesh = place.mesh(TILE)
    village, town = _villages(mesh.u, mesh.v), _towns(mesh.u, mesh.v)
    near = (village.distance < village.radius * F(FRAYED) + F(mesh.reach)) | (
        town.distance < town.radius * F(FRAYED) + F(mesh.reach)
    )
    if near.any():
        _build(Spots.of(place, mesh.mark(near) & buildable), cover.reshape(-1), variant.reshape(-1), f)
    if place.resolution_m > FINEST_ROAD_M:
        return
    close = _near_roads(mesh.u, mesh.v, village.centres, ROAD_HALF_WIDTH + mesh.reach)
    spots = Spots.of(place, mesh.mark(close) & buildable)
    if spots.index.size:
        road = _near_roads(spots.u, spots.v, _villages(spots.u, spots.v).centres, ROAD_HALF_WIDTH)
        cover.reshape(-1)[spots.index[road]] = Cover.ROAD


def _build(spots: Spots, cover: NDArray[np.uint8], variant: NDArray[np.uint8], f: Floats) -> None:
    if not spots.index.size:
        return
    u, v, fray = spots.u, spots.v, f.take(spots.index)
    village, town = _villages(u, v), _towns(u, v)
    inside = np.maximum(village.depth + F(0.16) * fray, town.depth + F(0.14) * fray)
    cell_u, cell_v = np.floor(u * (1 / TOWN_CELL)), np.floor(v * (1 / TOWN_CELL))
    turn = unit(hash_cells(cell_u.astype(np.int64), cell_v.astype(np.int64), 13)).astype(np.float64)
    # a turned grid without trigonometry: (1, t) and (-t, 1) are at right angles
    across, along = (u + turn * v) * (1 / 3.4), (v - turn * u) * (1 / 4.6)
    block_i, block_j = np.floor(across), np.floor(along)
    h = hash_cells(block_i.astype(np.int64), block_j.astype(np.int64), 14)
    built = ROOFS.take((h & np.uint32(7)).astype(np.intp))
    street = (across - block_i < 0.14) | (along - block_j < 0.12)  # noqa: PLR2004  # of a block
    built[street] = Cover.STREET
    dense = inside > unit(h, 16) * F(0.6)
    index = spots.index[dense]
    cover[index] = built[dense]
    variant[index] = (h >> np.uint32(8)).astype(np.uint8)[dense]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Nearest:
    """The settlement of the cell that each position lies in."""

    distance: Floats
    radius: Floats
    centres: list[tuple[Coordinates, Coordinates]]
    """(u, v) of its middle, and of those of the cells east, west, south and north."""

    @property
    def depth(self) -> Floats:
        """1 in the middle of the settlement, 0 at its edge, negative outside."""
        return np.asarray(F(1) - self.distance / self.radius)


def _villages(u: Coordinates, v: Coordinates) -> _Nearest:
    return _nearest(u, v, size=VILLAGE_CELL, salt=11, radii=(5.0, 20.0), share=0.8)


def _towns(u: Coordinates, v: Coordinates) -> _Nearest:
    return _nearest(u, v, size=TOWN_CELL, salt=12, radii=(50.0, 150.0), share=0.75)


def _nearest(
    u: Coordinates, v: Coordinates, *, size: float, salt: int, radii: tuple[float, float], share: float
) -> _Nearest:
    # a settlement stays inside its cell, so a pixel need look at no neighbour; cells are few, so they are tabled
    i, j = np.floor(u * (1 / size)).astype(np.int64), np.floor(v * (1 / size)).astype(np.int64)
    i0, j0 = int(i.min()) - 1, int(j.min()) - 1
    cells_i, cells_j = np.meshgrid(np.arange(i0, int(i.max()) + 2), np.arange(j0, int(j.max()) + 2))
    h = hash_cells(cells_i, cells_j, salt)
    centre_u = ((cells_i + 0.2 + 0.6 * unit(h)) * size).reshape(-1)
    centre_v = ((cells_j + 0.2 + 0.6 * unit(h, 8)) * size).reshape(-1)
    weight = unit(h, 16)
    radius = F(radii[0]) + F(radii[1] - radii[0]) * weight * weight
    radius[unit(h, 24) > share] = F(0.01)
    width = cells_i.shape[1]
    cell = (j - j0) * width + (i - i0)
    centres = [(centre_u.take(cell + step), centre_v.take(cell + step)) for step in (0, 1, -1, width, -width)]
    du, dv = (u - centres[0][0]).astype(np.float32), (v - centres[0][1]).astype(np.float32)
    return _Nearest(
        distance=np.sqrt(du * du + dv * dv), radius=np.asarray(radius.reshape(-1).take(cell)), centres=centres
    )


def _near_roads(
    u: Coordinates, v: Coordinates, centres: list[tuple[Coordinates, Coordinates]], reach: float
) -> NDArray[np.bool_]:
    (u0, v0), *neighbours = centres
    near = np.zeros(u.shape, dtype=np.bool_)
    du, dv = (u - u0).astype(np.float32), (v - v0).astype(np.float32)
    for u1, v1 in neighbours:
        eu, ev = (u1 - u0).astype(np.float32), (v1 - v0).astype(np.float32)
        t = np.clip((du * eu + dv * ev) / (eu * eu + ev * ev), F(0), F(1))
        gu, gv = du - t * eu, dv - t * ev
        near |= gu * gu + gv * gv < F(reach * reach)
    return near
