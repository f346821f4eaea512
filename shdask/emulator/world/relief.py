"""The shape of the land: heights, slopes, valleys with their rivers, and the smooth noises that land cover follows.

Refuses to know land cover, bands and seasons.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shdask.emulator.world.place import Mesh, Place
from shdask.emulator.world.texture import Footing, Texture, ramp

CONTINENT = 2.0**-8
"""Scale of the coarse texture: one of its pixels is 256 units, 9.8 km at the equator."""
REGION = 2.0**-4
PLACE = 1.0
VALLEY = REGION / 2
REGION_REACH = 8.0
"""Units between nodes of the regional noises, half a pixel of their texture."""
PLACE_REACH = 1.0
LAND = (938.6, 124.4)
BELT_FROM_LAND = (-822, 89)
"""These two give central Europe plains, alps and a sea with the default seed; in pixels of the coarse texture."""
VALLEYS = (97.0, 411.0)
WOODS = (331, 77)
BROOKS = (655.0, 120.0)
SEA_LEVEL = np.float32(-0.6)
RIDGE = 2.2
ALPS_M = 2000.0
BANK = 1.6 * 0.75
"""Share of the heights around by which a valley's sides rise, per unit of the noise."""
RIVER_HALF_WIDTH, BROOK_HALF_WIDTH = 2.0, 0.5
"""In units of 26 m at 46 degrees."""

F = np.float32
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Noises:
    """The textures of one Earth."""

    coarse: Texture
    middle: Texture
    fine: Texture
    belt: Floats
    """``coarse`` seen from elsewhere: where mountains stand."""
    woods: Floats
    """``middle`` seen from elsewhere."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Relief:
    """The shape of the land under the pixels of a block; all arrays (y, x)."""

    height_m: Floats
    slope_east: Floats
    """Rise over run."""
    slope_south: Floats
    steep: Floats
    """Rise over run, uphill."""
    water: NDArray[np.bool_]
    """Rivers and brooks."""
    fine: Floats
    """The finest noise, mean 0 and deviation 1."""
    middle: Floats
    """Noise of regions, likewise."""
    woods: Floats
    """Another one."""
    wooded: Floats
    """How much the region favours woods."""
    wet: Floats
    """Low where lakes may lie."""
    shore: Floats
    """Below SEA_LEVEL in the sea."""


def shape_land(noises: Noises, place: Place) -> Relief:
    """The relief of a place. Pure."""
    detail, mesh = place.mesh(PLACE_REACH), place.mesh(REGION_REACH)
    local = Footing(detail.u, detail.v, PLACE)
    f = detail.spread(local.take(noises.fine.values))
    region = _shape_region(noises, mesh)

    r, r_east, r_south = (mesh.spread(field) for field in (region.valley, region.valley_east, region.valley_south))
    share = np.minimum(np.abs(r) * F(1.6), F(1))
    depth = F(0.25) + F(0.75) * share
    rough = mesh.spread(region.rough)
    by_f = mesh.spread(region.by_f)
    rough += by_f * f
    bank = np.copysign(rough, r) * (share < F(1))
    bank *= F(BANK * VALLEY)
    by_f *= depth
    run = F(1) / place.metres
    east = (by_f * detail.spread(local.take(noises.fine.slope_x)) + depth * mesh.spread(region.rough_east)) * run
    east += bank * r_east * run
    south = (by_f * detail.spread(local.take(noises.fine.slope_y)) + depth * mesh.spread(region.rough_south)) * run
    south += bank * r_south * run

    # brooks bend with the fine noise
    brook = mesh.spread(region.brook) + mesh.spread(region.brook_bend) * f
    water = r * r < F((RIVER_HALF_WIDTH * VALLEY) ** 2) * (r_east * r_east + r_south * r_south)
    water |= brook * brook < mesh.spread(region.brook_width2)
    return Relief(
        height_m=mesh.spread(region.base) + rough * depth,
        slope_east=east,
        slope_south=south,
        steep=np.sqrt(east * east + south * south),
        water=water,
        fine=f,
        middle=mesh.spread(region.middle),
        woods=mesh.spread(region.woods),
        wooded=mesh.spread(region.wooded),
        wet=mesh.spread(region.wet),
        shore=mesh.spread(region.shore),
    )


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Region:
    """What is smooth enough to be worked out on a mesh; all arrays (node row, node column)."""

    base: Floats
    rough: Floats
    """Height above ``base`` where no valley lowers it, but for the fine noise."""
    by_f: Floats
    """Its change with the fine noise."""
    rough_east: Floats
    """Change of ``rough`` per unit."""
    rough_south: Floats
    valley: Floats
    """0 in the middle of a valley."""
    valley_east: Floats
    """Change of ``valley`` per texture pixel."""
    valley_south: Floats
    brook: Floats
    """0 in a brook."""
    brook_bend: Floats
    brook_width2: Floats
    middle: Floats
    woods: Floats
    wooded: Floats
    wet: Floats
    shore: Floats


def _shape_region(noises: Noises, mesh: Mesh) -> _Region:
    u, v = mesh.u, mesh.v
    continental, regional = Footing(u, v, CONTINENT, LAND), Footing(u, v, REGION)
    valleys, brooks = Footing(u, v, VALLEY, VALLEYS), Footing(u, v, REGION, BROOKS)
    middle = noises.middle
    land, belt = continental.take(noises.coarse.values), ramp(continental.take(noises.belt), -0.1, 1.5)
    m, woods = regional.take(middle.values), regional.take(noises.woods)
    mountains = belt * (F(0.85) + F(0.15) * np.clip(woods, F(-2), F(2)))
    plain = F(1) - mountains
    ridge = F(1) / (F(1) + F(RIDGE) * m * m)
    by_m = plain * F(55) - mountains * F(ALPS_M * 2 * RIDGE) * ridge * ridge * m
    brook_east, brook_south = brooks.take(middle.slope_x), brooks.take(middle.slope_y)
    return _Region(
        base=F(40) + F(120) * np.maximum(land - SEA_LEVEL, F(0)),
        rough=plain * (F(70) + F(55) * m) + mountains * (F(ALPS_M) * ridge + F(200)),
        by_f=F(6) + F(54) * mountains,
        rough_east=by_m * regional.take(middle.slope_x) * F(REGION),
        rough_south=by_m * regional.take(middle.slope_y) * F(REGION),
        valley=valleys.take(middle.values),
        valley_east=valleys.take(middle.slope_x),
        valley_south=valleys.take(middle.slope_y),
        brook=brooks.take(middle.values),
        brook_bend=(brook_east - brook_south) * F(1.5 * REGION),
        brook_width2=F((BROOK_HALF_WIDTH * REGION) ** 2) * (brook_east * brook_east + brook_south * brook_south),
        middle=m,
        woods=woods,
        wooded=woods + F(0.5) * belt + F(0.25) * land,
        # no lakes in the mountains
        wet=woods + F(20) * np.maximum(belt - F(0.5), F(0)),
        shore=land + F(0.08) * m,
    )
