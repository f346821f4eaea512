"""What one scene sees of a block of ground: the state of the land that day, light and shade, clouds, haze, and angles.

Refuses to know bands and their spectra.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shdask.emulator.world.cover import Cover, snow_line_m
from shdask.emulator.world.ground import Ground
from shdask.emulator.world.orbit import EarthScene, sun_of
from shdask.emulator.world.place import Mesh
from shdask.emulator.world.states import STATES
from shdask.emulator.world.texture import Texture, paint
from shdask.emulator.world.weather import Sky, cirrus_opacity, cloud_field, haze_depth, opacity

AIR_REACH = 16.0
"""Units between nodes for what changes slowly: sun, view, clouds and haze."""
LIMB = 0.05
"""How much brighter one edge of the swath is than its middle; makes seams between passes visible."""
CLOUD_REACH_UNITS = 55.0
"""Distance from a cloud to its shadow with the sun at 45 degrees."""
SHADE = 0.55
LIGHT_MIN, LIGHT_MAX = 0.3, 1.55
FRAY_M = 60.0
"""How far up and down the edge of the snow runs with the fine noise."""
FRAYS = 5.0
"""No noise is larger."""

F = np.float32
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class View:
    """What a scene sees of a block; all arrays (y, x)."""

    cover: NDArray[np.uint8]
    """A value of Cover, with the snow of the day."""
    state: NDArray[np.intp]
    """``cover`` * STATES + its state: a column of ``state_spectra``."""
    snow: Floats | None
    """Metres above the snow line, negative below; None where there is no snow in the block."""
    light: Floats
    """Sunlight on the ground against level ground, without clouds, with the limb of the swath."""
    lit: Floats
    """``light`` in the shadow of the clouds."""
    across: Floats
    """Position across the swath: -1 its western edge, 1 its eastern."""
    haze: Floats
    """Optical depth of the aerosols."""
    cloud: Floats | None
    """How much of the ground clouds and cirrus hide, 0 .. 1; None under a clear sky, as the two below."""
    cirrus: Floats | None
    """The part of thin high clouds."""
    shadow: Floats | None
    """How much of the sun clouds hide, 0 .. 1."""


def look(scene: EarthScene, ground: Ground, sky: Sky, noise: Texture, across: Floats) -> View:
    """What the scene sees; ``noise`` makes the clouds, ``across`` (y, x) is the place in the swath. Pure."""
    mesh = ground.place.mesh(AIR_REACH)
    cover, snow = _lay_snow(scene, ground)
    state = cover.astype(np.uint16)
    state *= np.uint16(STATES)
    state |= ground.variant
    cloud, cirrus, shadow = (None, None, None) if sky.clear else _cloud_over(scene, ground, sky, noise, mesh)
    light = _shine(scene, ground, mesh, across)
    return View(
        cover=cover,
        state=state.astype(np.intp),
        snow=snow,
        light=light,
        lit=light if shadow is None else light * (F(1) - F(SHADE) * shadow),
        across=across,
        haze=mesh.spread(haze_depth(sky, noise, mesh.u, mesh.v)),
        cloud=cloud,
        cirrus=cirrus,
        shadow=shadow,
    )


def sun_angles(scene: EarthScene, ground: Ground) -> tuple[Floats, Floats]:
    """(zenith, azimuth clockwise from north) of the sun in degrees, each (y, x). Pure.

    They change with the latitude as the light on the ground does.
    """
    upper, lower = (_angles_of(sun_of(scene, down)) for down in (0.0, 1.0))
    mesh = ground.place.mesh(AIR_REACH)
    down = _down(scene, mesh)
    zenith, azimuth = (mesh.spread(F(first) + F(last - first) * down) for first, last in zip(upper, lower, strict=True))
    return zenith, azimuth


def _lay_snow(scene: EarthScene, ground: Ground) -> tuple[NDArray[np.uint8], Floats | None]:
    line = snow_line_m(scene.day)
    if float(ground.height_m.max()) + FRAYS * FRAY_M < line:
        return ground.cover, None
    above = ground.height_m + F(FRAY_M) * ground.fine
    above -= F(line)
    cover = ground.cover.copy()
    snow = above > 0
    snow &= cover > Cover.RIVER
    wood = (cover == Cover.CONIFER) | (cover == Cover.BROADLEAF)
    paint(cover, Cover.SNOW, snow)
    paint(cover, Cover.SNOWY_WOOD, snow & wood)
    return cover, above


def _shine(scene: EarthScene, ground: Ground, mesh: Mesh, across: Floats) -> Floats:
    suns = [sun_of(scene, down) for down in (0.0, 1.0)]
    (east0, south0), (east1, south1) = [(east / up, south / up) for east, south, up in suns]
    down = _down(scene, mesh)
    light = mesh.spread(F(east0) + F(east1 - east0) * down) * ground.slope_east
    light += mesh.spread(F(south0) + F(south1 - south0) * down) * ground.slope_south
    np.subtract(F(1), light, out=light)
    upright = ground.slope_east * ground.slope_east
    upright += ground.slope_south * ground.slope_south
    upright += F(1)
    light /= np.sqrt(upright, out=upright)
    np.clip(light, F(LIGHT_MIN), F(LIGHT_MAX), out=light)
    light *= ground.grain
    # water lies level
    light -= F(1)
    light *= ground.cover > Cover.RIVER
    light += F(1)
    limb = F(LIMB) * across
    limb += F(1)
    light *= limb
    return light


def _cloud_over(
    scene: EarthScene, ground: Ground, sky: Sky, noise: Texture, mesh: Mesh
) -> tuple[Floats | None, Floats | None, Floats | None]:
    east, south, up = sun_of(scene)
    reach = CLOUD_REACH_UNITS / up
    overhead = cloud_field(sky, noise, mesh.u, mesh.v)
    # a pixel lies in the shadow of the cloud that stands towards the sun
    sunwards = cloud_field(sky, noise, mesh.u + east * reach, mesh.v + south * reach)
    thin = cirrus_opacity(sky, noise, mesh.u, mesh.v)
    lowest = sky.threshold - FRAYS * 0.07
    shadow = opacity(sky, mesh.spread(sunwards), ground.fine) if sunwards.max() > lowest else None
    cirrus = mesh.spread(thin) if thin.any() else None
    cloud = opacity(sky, mesh.spread(overhead), ground.fine) if overhead.max() > lowest else None
    if cirrus is not None:
        cloud = cirrus if cloud is None else cloud + cirrus * (F(1) - cloud)
    return cloud, cirrus, shadow


def _down(scene: EarthScene, mesh: Mesh) -> Floats:
    # how far down the scene's square a node lies, 0 .. 1 inside
    return np.asarray((mesh.v - scene.row * scene.size) * (1.0 / scene.size), dtype=np.float32)


def _angles_of(sun: tuple[float, float, float]) -> tuple[float, float]:
    east, south, up = sun
    return math.degrees(math.acos(up)), math.degrees(math.atan2(east, -south)) % 360.0
