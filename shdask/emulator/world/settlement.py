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
class Settlements:
    """How deep in a settlement each pixel lies, and where roads pass."""

    inside: Floats
    """1 in the middle of a settlement, 0 at its edge, negative outside."""
    road: NDArray[np.bool_] | None
    """None where pixels are too coarse to show one."""
    across: Coordinates
    """Street coordinates in blocks."""
    along: Coordinates

    @classmethod
    def at(cls, place: Place, f: Floats) -> Self:
        """The settlements at a place; ``f`` roughens their edges. Pure."""
        u, v = place.u, place.v
        village, centres = _nearest(u, v, size=VILLAGE_CELL, salt=11, radii=(5.0, 20.0), share=0.8)
        town, _ = _nearest(u, v, size=TOWN_CELL, salt=12, radii=(50.0, 150.0), share=0.75)
        inside = np.maximum(village + 0.16 * f, town + 0.14 * f).astype(np.float32)
        cell = hash_cells(
            np.floor(u * (1 / TOWN_CELL)).astype(np.int64), np.floor(v * (1 / TOWN_CELL)).astype(np.int64), 13
        )
        turn = unit(cell).astype(np.float64)
        # a turned grid without trigonometry: (1, t) and (-t, 1) are at right angles
        across, along = (u + turn * v) * (1 / 3.4), (v - turn * u) * (1 / 4.6)
        road = _roads(u, v, centres) if place.resolution_m <= FINEST_ROAD_M else None
        return cls(inside=inside, road=road, across=across, along=along)


def paint_settlements(
    cover: NDArray[np.uint8],
    tone: Floats,
    settlements: Settlements,
    buildable: NDArray[np.bool_],
) -> None:
    """Lay streets, roofs, gardens and roads over ``cover``, and their brightness over ``tone``, where one can build."""
    block_i, block_j = np.floor(settlements.across), np.floor(settlements.along)
    h = hash_cells(block_i.astype(np.int64), block_j.astype(np.int64), 14)
    built = ROOFS.take((h & np.uint32(7)).astype(np.int64))
    street = (settlements.across - block_i < 0.14) | (settlements.along - block_j < 0.12)  # noqa: PLR2004  # of a block
    built[street] = Cover.STREET
    dense = (settlements.inside > unit(h, 16) * F(0.6)) & buildable
    np.copyto(cover, built, where=dense)
    np.copyto(tone, F(0.75) + F(0.5) * unit(h, 8), where=dense)
    if settlements.road is not None:
        cover[settlements.road & buildable] = Cover.ROAD


def _nearest(
    u: Coordinates, v: Coordinates, *, size: float, salt: int, radii: tuple[float, float], share: float
) -> tuple[Floats, list[tuple[Coordinates, Coordinates]]]:
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
    return np.asarray(F(1) - np.sqrt(du * du + dv * dv) / radius.reshape(-1).take(cell)), centres


def _roads(u: Coordinates, v: Coordinates, centres: list[tuple[Coordinates, Coordinates]]) -> NDArray[np.bool_]:
    (u0, v0), *neighbours = centres
    road = np.zeros(u.shape, dtype=np.bool_)
    for u1, v1 in neighbours:
        eu, ev = (u1 - u0).astype(np.float32), (v1 - v0).astype(np.float32)
        du, dv = (u - u0).astype(np.float32), (v - v0).astype(np.float32)
        length2 = eu * eu + ev * ev
        t = np.clip((du * eu + dv * ev) / length2, F(0), F(1))
        gu, gv = du - t * eu, dv - t * ev
        road |= gu * gu + gv * gv < ROAD_HALF_WIDTH * ROAD_HALF_WIDTH
    return road
