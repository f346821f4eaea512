"""What lies where, whatever the date: height, slope, land cover, parcels, towns, roads and waters.

Refuses to know bands, seasons and clouds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Self

import numpy as np
from numpy.typing import NDArray

from shdask.emulator.world.cover import Cover
from shdask.emulator.world.place import Place
from shdask.emulator.world.settlement import Settlements, paint_settlements
from shdask.emulator.world.texture import Footing, Texture, hash_cells, ramp, unit

CONTINENT = 2.0**-8
"""Scale of the coarse texture: one of its pixels is 256 units, 9.8 km at the equator."""
REGION = 2.0**-4
PLACE = 1.0
LAND = (938.6, 124.4)
BELT_FROM_LAND = (-822, 89)
"""These two give central Europe plains, alps and a sea with the default seed; in pixels of the coarse texture."""
VALLEYS = (97.0, 411.0)
WOODS = (331, 77)
BROOKS = (655.0, 120.0)
SEA_LEVEL = np.float32(-0.6)
WOODED = np.float32(0.75)
LAKE = np.float32(-2.3)
CONIFERS_M = np.float32(620)
PASTURES_M = np.float32(1300)
RIDGE = 2.2
ALPS_M = 2000.0
RIVER_HALF_WIDTH, BROOK_HALF_WIDTH = 2.0, 0.5
"""In units of 26 m at 46 degrees."""
BUILDABLE = np.float32(0.16)
"""Rise over run."""

F = np.float32

Floats = NDArray[np.float32]
Slope = tuple[Floats, Floats]
"""Change of a noise per texture pixel, eastwards and southwards."""
FIELD_CROPS = np.array(
    [Cover.WHEAT, Cover.MAIZE, Cover.PASTURE, Cover.RAPESEED, Cover.WHEAT, Cover.GREENS, Cover.PASTURE, Cover.FALLOW],
    dtype=np.uint8,
)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Ground:
    """The ground under the pixels of a block; all arrays (y, x)."""

    place: Place
    cover: NDArray[np.uint8]
    """A value of Cover."""
    height_m: Floats
    slope_east: Floats
    """Rise over run."""
    slope_south: Floats
    grain: Floats
    """Brightness of the surface, about 1."""
    fine: Floats
    """The finest noise, mean 0 and deviation 1."""


class Landscape:
    """The textures of one Earth, and what they make of a place."""

    def __init__(self, coarse: Texture, middle: Texture, fine: Texture) -> None:
        self._coarse = coarse
        self._middle = middle
        self._fine = fine
        self._belt = coarse.shifted(*BELT_FROM_LAND)
        self._woods = middle.shifted(*WOODS)

    @classmethod
    def make(cls, seed: int) -> Self:
        """The Earth named ``seed``; takes about half a second."""
        return cls(Texture.make(seed, 512.0, 1.5), Texture.make(seed + 1, 64.0, 1.9), Texture.make(seed + 2, 64.0, 1.9))

    @property
    def coarse(self) -> Texture:
        """Noise of continents, for weather too."""
        return self._coarse

    @property
    def middle(self) -> Texture:
        """Noise of regions, for weather too."""
        return self._middle

    def survey(self, place: Place) -> Ground:
        """What lies at a place. Pure."""
        u, v = place.u, place.v
        local, regional = Footing(u, v, PLACE), Footing(u, v, REGION)
        f, m = local.take(self._fine.values), regional.take(self._middle.values)
        valleys = Footing(u, v, REGION / 2, VALLEYS)
        r = valleys.take(self._middle.values)
        continental = Footing(u, v, CONTINENT, LAND)
        land, mountains = continental.take(self._coarse.values), ramp(continental.take(self._belt), -0.1, 1.5)
        woods = regional.take(self._woods)

        level = _level(land, m, f, r, mountains * (F(0.85) + F(0.15) * np.clip(woods, F(-2), F(2))))
        bends = _slope(valleys, self._middle)
        east, south = level.slopes(_slope(local, self._fine), _slope(regional, self._middle), bends, place)
        steep = np.sqrt(east * east + south * south)
        height = level.height

        cover, tone = _paint_fields(u, v, m, f, place.resolution_m)
        wooded = woods + F(0.3) * f + F(0.5) * mountains + F(2.2) * steep + F(0.25) * land > WOODED
        cover[wooded] = Cover.BROADLEAF
        tone[wooded | (height > PASTURES_M)] = 1.0
        cover[wooded & (height + F(120) * woods > CONIFERS_M)] = Cover.CONIFER
        _paint_heights(cover, height, steep, f)
        settlements = Settlements.at(place, f)
        paint_settlements(cover, tone, settlements, (steep < BUILDABLE) & ~wooded)
        brooks = Footing(u + 1.5 * f, v - 1.5 * f, REGION, BROOKS)
        cover[_near_line(r, bends, RIVER_HALF_WIDTH * REGION / 2)] = Cover.RIVER
        brook = _near_line(brooks.take(self._middle.values), _slope(brooks, self._middle), BROOK_HALF_WIDTH * REGION)
        cover[brook] = Cover.RIVER
        cover[(woods + F(0.06) * f < LAKE) & (mountains < F(0.5))] = Cover.LAKE
        shore = land + F(0.08) * m + F(0.01) * f
        cover[shore < SEA_LEVEL + F(0.004)] = Cover.SAND
        cover[shore < SEA_LEVEL] = Cover.SHALLOWS
        cover[shore < SEA_LEVEL - F(0.03)] = Cover.SEA
        return Ground(
            place=place,
            cover=cover,
            height_m=height,
            slope_east=east,
            slope_south=south,
            grain=tone * (F(1) + F(0.05) * f),
            fine=f,
        )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Level:
    height: Floats
    by_f: Floats
    """Change of height with each of the three noises."""
    by_m: Floats
    by_r: Floats

    def slopes(self, of_f: Slope, of_m: Slope, of_r: Slope, place: Place) -> tuple[Floats, Floats]:
        """Rise over run eastwards and southwards, by the chain rule. Pure."""
        east = self.by_f * of_f[0] * F(PLACE) + self.by_m * of_m[0] * F(REGION) + self.by_r * of_r[0] * F(REGION / 2)
        south = self.by_f * of_f[1] * F(PLACE) + self.by_m * of_m[1] * F(REGION) + self.by_r * of_r[1] * F(REGION / 2)
        return east / place.metres, south / place.metres


def _level(land: Floats, m: Floats, f: Floats, r: Floats, mountains: Floats) -> _Level:
    share = np.minimum(np.abs(r) * F(1.6), F(1))
    depth = F(0.25) + F(0.75) * share
    ridge = F(1) / (F(1) + F(RIDGE) * m * m)
    plain = F(1) - mountains
    rough = plain * (F(70) + F(55) * m + F(6) * f) + mountains * (F(ALPS_M) * ridge + F(200) + F(60) * f)
    return _Level(
        height=F(40) + F(120) * np.maximum(land - SEA_LEVEL, F(0)) + rough * depth,
        by_f=(plain * F(6) + mountains * F(60)) * depth,
        by_m=(plain * F(55) - mountains * F(ALPS_M * 2 * RIDGE) * ridge * ridge * m) * depth,
        by_r=np.where(share < F(1), rough * np.sign(r) * F(0.75 * 1.6), F(0)),
    )


def _slope(footing: Footing, texture: Texture) -> Slope:
    return footing.take(texture.slope_x), footing.take(texture.slope_y)


def _near_line(field: Floats, slope: Slope, reach: float) -> NDArray[np.bool_]:
    # distance to the line field = 0, in texture pixels: the field over its slope
    return np.asarray(field * field < F(reach * reach) * (slope[0] * slope[0] + slope[1] * slope[1]), dtype=np.bool_)


def _paint_fields(
    u: NDArray[np.float64], v: NDArray[np.float64], m: Floats, f: Floats, resolution_m: float
) -> tuple[NDArray[np.uint8], Floats]:
    # parishes of about 2.5 km with crooked borders, each with its own direction and width of strips
    i = np.floor((u + 14.0 * m + 3.5 * f) / 64.0).astype(np.int64)
    j = np.floor((v - 11.0 * m - 3.5 * f) / 64.0).astype(np.int64)
    parish = hash_cells(i, j, 1)
    angle = (parish & np.uint32(15)).astype(np.int64)
    turns = np.arange(16) * (np.pi / 16)
    cos, sin = np.cos(turns).take(angle), np.sin(turns).take(angle)
    width = np.array([2.5, 3.5, 5.0, 8.0]).take((parish >> np.uint32(4) & np.uint32(3)).astype(np.int64))
    length = width * np.array([2.0, 3.0, 4.0, 5.5]).take((parish >> np.uint32(6) & np.uint32(3)).astype(np.int64))
    across, along = (u * cos + v * sin) / width, v * cos - u * sin
    strip = np.floor(across)
    shift = hash_cells(strip.astype(np.int64), parish.astype(np.int64), 2)
    along = along / length + unit(shift)
    plot = np.floor(along)
    h = hash_cells(strip.astype(np.int64) * 4099 + parish.astype(np.int64), plot.astype(np.int64), 3)
    cover = FIELD_CROPS.take((h & np.uint32(7)).astype(np.int64))
    tone = F(0.84) + F(0.32) * unit(h, 8)
    if resolution_m <= 25:  # noqa: PLR2004  # tracks between fields are 8 m wide
        edge = ((across - strip) * width < 0.3) | ((along - plot) * length < 0.3)  # noqa: PLR2004
        cover[edge] = Cover.TRACK
    return cover, tone


def _paint_heights(cover: NDArray[np.uint8], height: Floats, steep: Floats, f: Floats) -> None:
    crooked = height + F(60) * f
    cover[crooked > 1700] = Cover.ALPINE  # noqa: PLR2004  # metres
    cover[(crooked > 2250) | ((crooked > 1700) & (steep > 0.75))] = Cover.ROCK  # noqa: PLR2004  # metres, rise over run
