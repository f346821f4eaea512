"""Parishes, their strips and parcels: which crop stands on each, and in what state.

Refuses to know where woods, waters and settlements lie.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shdask.emulator.world.cover import Cover
from shdask.emulator.world.place import AROUND, Place
from shdask.emulator.world.texture import hash_cells, mix, unit

CELL = 64.0
"""Side of a parish in units, about 2.5 km at the equator."""
CELLS_AROUND = int(AROUND / CELL)
BENDS = 3
"""Cells by which the border of a parish may be bent."""
TRACK_WIDTH = 0.3
"""In units; of a track along two sides of a parcel."""
FINEST_TRACK_M = 25.0
CROPS = np.array(
    [Cover.WHEAT, Cover.MAIZE, Cover.PASTURE, Cover.RAPESEED, Cover.WHEAT, Cover.GREENS, Cover.PASTURE, Cover.FALLOW],
    dtype=np.uint8,
)
WIDTHS = np.array([2.5, 3.5, 5.0, 8.0])
LENGTHS = np.array([2.0, 3.0, 4.0, 5.5])
"""In widths."""
PATCHES = 128
GRAIN = np.random.default_rng(5).integers(0, 8, (PATCHES, PATCHES), dtype=np.uint8).reshape(-1)
"""Patches of half a unit, a parish wide; each parcel turns them into others."""

F = np.float32
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Parcels:
    """The parcels under the pixels of a block; all arrays (y, x)."""

    cover: NDArray[np.uint8]
    """A crop, or a track between two parcels."""
    variant: NDArray[np.uint8]
    """The state of the parcel in the upper five bits, that of a patch of the ground in the lower three."""


def lay_parcels(place: Place, m: Floats, f: Floats) -> Parcels:
    """The parcels of a place; the noises ``m`` and ``f`` bend the borders of parishes. Pure."""
    column, x = _split(place.u)
    row, y = _split(place.v)
    # a hair before the next parish rounds to its first patch
    patch = (y * F(2)).astype(np.intp) & (PATCHES - 1)
    patch *= PATCHES
    patch |= (x * F(2)).astype(np.intp) & (PATCHES - 1)
    # parishes have crooked borders, the strips in them are straight
    bent_x = np.floor((x + F(14) * m + F(3.5) * f) * F(1 / CELL))
    bent_y = np.floor((y - F(11) * m - F(3.5) * f) * F(1 / CELL))
    x -= bent_x * F(CELL)
    y -= bent_y * F(CELL)
    # cells are counted from the block's first, so that small numbers name them
    if np.ptp(column) > CELLS_AROUND // 2:
        column = np.where(column < 0, column + CELLS_AROUND, column)
    column0, row0 = float(column.min()) - BENDS, float(row.min()) - BENDS
    columns, rows = (int(cells.max() - first) + BENDS + 1 for cells, first in ((column, column0), (row, row0)))
    column -= column0
    row -= row0
    at = ((row.astype(np.float32) + bent_y) * F(columns) + (column.astype(np.float32) + bent_x)).astype(np.intp)
    parish = _Parishes.make(int(column0), int(row0), columns, rows)

    across = x * parish.across_x.take(at) + y * parish.across_y.take(at)
    along = x * parish.along_x.take(at) + y * parish.along_y.take(at)
    strip = np.floor(across)
    h = strip.astype(np.int32).view(np.uint32) * np.uint32(0x9E3779B1)
    h += parish.name.take(at)
    mix(h)
    along += unit(h)
    plot = np.floor(along)
    h += plot.astype(np.int32).view(np.uint32) * np.uint32(0x85EBCA77)
    mix(h)
    cover = CROPS.take((h & np.uint32(7)).astype(np.intp))
    if place.resolution_m <= FINEST_TRACK_M:
        edge = (across - strip < parish.track_across.take(at)) | (along - plot < parish.track_along.take(at))
        cover[edge] = Cover.TRACK
    states = (h >> np.uint32(8)).astype(np.uint8)
    patches = GRAIN.take(patch) ^ (h >> np.uint32(16)).astype(np.uint8)
    return Parcels(cover=cover, variant=(states & np.uint8(0xF8)) | (patches & np.uint8(7)))


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Parishes:
    """How the parishes around a block are divided; all arrays (cell,)."""

    name: NDArray[np.uint32]
    across_x: Floats
    """Strips per unit."""
    across_y: Floats
    along_x: Floats
    """Parcels per unit."""
    along_y: Floats
    track_across: Floats
    """Of a strip."""
    track_along: Floats

    @classmethod
    def make(cls, column0: int, row0: int, columns: int, rows: int) -> _Parishes:
        i, j = np.meshgrid(np.arange(column0, column0 + columns), np.arange(row0, row0 + rows))
        name = hash_cells((i + CELLS_AROUND // 2) % CELLS_AROUND, j, 1).reshape(-1)
        bits = name.astype(np.int64)
        turns = np.arange(16) * (np.pi / 16)
        cos, sin = np.cos(turns).take(bits & 15), np.sin(turns).take(bits & 15)
        width = WIDTHS.take(bits >> 4 & 3)
        length = width * LENGTHS.take(bits >> 6 & 3)
        return cls(
            name=name,
            across_x=(cos / width).astype(np.float32),
            across_y=(sin / width).astype(np.float32),
            along_x=(-sin / length).astype(np.float32),
            along_y=(cos / length).astype(np.float32),
            track_across=(TRACK_WIDTH / width).astype(np.float32),
            track_along=(TRACK_WIDTH / length).astype(np.float32),
        )


def _split(units: NDArray[np.float64]) -> tuple[NDArray[np.float64], Floats]:
    # the cell, and how far in it
    cell = np.floor(units * (1 / CELL))
    return cell, (units - cell * CELL).astype(np.float32)
