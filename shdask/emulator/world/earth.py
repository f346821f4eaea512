"""The synthetic Earth as a collection like Sentinel-2: scenes of two satellites, and their pixels.

Refuses to know requests and scripts. Resampling does not apply: every pixel is computed at its own centre.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from shdask.emulator.choices import Choices
from shdask.emulator.lattice import Lattice
from shdask.emulator.source import BandInfo, Pixels, Scene
from shdask.emulator.world.cover import BANDS, Cover, cloud_spectrum, haze_spectrum, snow_line_m, spectra_on
from shdask.emulator.world.footprint import WORLD, footprint_of, search_scenes, second_of
from shdask.emulator.world.ground import Ground, Landscape
from shdask.emulator.world.orbit import SENTINEL_2, EarthScene, sun_of
from shdask.emulator.world.place import locate
from shdask.emulator.world.product import describe_product, name_product
from shdask.emulator.world.swath import across_swath, find_inside_scene, find_scenes, misses, squares_of
from shdask.emulator.world.weather import Sky, opacity, sky_of, with_cloud_cover

COARSEST_M = 1500.0
BLOCKS_KEPT = 2
SEARCHES_KEPT = 32
LIMB = 0.05
"""How much brighter one edge of the swath is than its middle; makes seams between passes visible."""
CLOUD_REACH_UNITS = 55.0
"""Distance from a cloud to its shadow with the sun at 45 degrees."""
SHADE = 0.55
DN_MAX = 16000
LIGHT_MIN, LIGHT_MAX = 0.3, 1.55

OPTICAL = BandInfo(units={"REFLECTANCE": 10000.0, "DN": 1.0})
CLASS = BandInfo(units={"DN": 1.0})
PERCENT = BandInfo(units={"PERCENT": 1.0, "DN": 1.0})

WATERS = (Cover.SEA, Cover.SHALLOWS, Cover.LAKE, Cover.RIVER)
GREEN = (Cover.CONIFER, Cover.BROADLEAF, Cover.PASTURE, Cover.GARDEN, Cover.ALPINE, Cover.GREENS)
SCL_WATER, SCL_VEGETATION, SCL_BARE, SCL_SHADOW, SCL_THIN, SCL_THICK, SCL_SNOW = 6, 4, 5, 3, 8, 9, 11

F = np.float32
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _View:
    """What one scene sees of a block; all arrays (y, x)."""

    cover: NDArray[np.uint8]
    light: Floats
    cloud: Floats
    shadow: Floats


class Earth:
    """Landscapes, shared by the collections that show them; keeps the latest blocks of ground."""

    def __init__(self, seed: int) -> None:
        self.seed = seed
        self._landscape: Landscape | None = None
        self._grounds: OrderedDict[Lattice, Ground] = OrderedDict()

    @property
    def landscape(self) -> Landscape:
        """The textures; made at the first use."""
        if self._landscape is None:
            self._landscape = Landscape.make(self.seed)
        return self._landscape

    def ground(self, block: Lattice) -> Ground:
        """The ground under a block."""
        if block not in self._grounds:
            self._grounds[block] = self.landscape.survey(locate(block))
            if len(self._grounds) > BLOCKS_KEPT:
                self._grounds.popitem(last=False)
        return self._grounds[block]


class EarthSource:
    """A Sentinel-2-like collection of the synthetic Earth: L2A at the surface, or L1C through the air."""

    def __init__(self, earth: Earth, *, surface: bool) -> None:
        self.name = "S2L2A" if surface else "S2L1C"
        self.max_metres_per_px: float | None = COARSEST_M
        optical = dict.fromkeys([band for band in BANDS if not surface or band != "B10"], OPTICAL)
        self.bands: Mapping[str, BandInfo] = {**optical, "SCL": CLASS, "CLD": PERCENT} if surface else optical
        self._earth = earth
        self._surface = surface
        self._found: OrderedDict[tuple[range, range, datetime, datetime], Sequence[EarthScene]] = OrderedDict()

    def scenes(self, lattice: Lattice, start: datetime, end: datetime) -> Sequence[Scene]:
        """Squares of passes that may touch the lattice in [start, end]."""
        squares = squares_of(SENTINEL_2, lattice)
        question = (*squares, start, end)
        if question not in self._found:
            self._found[question] = self._name(find_scenes(SENTINEL_2, squares, start, end))
            if len(self._found) > SEARCHES_KEPT:
                self._found.popitem(last=False)
        return self._found[question]

    def render(
        self, scene: Scene, bands: Sequence[str], lattice: Lattice, choices: Choices, wanted: NDArray[np.bool_]
    ) -> Pixels | None:
        """The scene's square of its swath; whole DN, at least 1 where there is data."""
        del choices
        scene = _check(scene)
        ground = self._earth.ground(lattice)
        if misses(scene, ground.place):
            return None
        across = across_swath(scene, ground.place)
        data_mask = find_inside_scene(scene, ground.place, across)
        if not (data_mask & wanted).any():
            return None
        view = self._look(scene, ground, across)
        values = np.stack([self._band(band, scene, view) for band in bands] or [np.zeros_like(view.light)])
        return Pixels(values=values[: len(bands)], data_mask=data_mask)

    def search(self, area: BaseGeometry, start: datetime, end: datetime) -> Iterator[Scene]:
        """Squares of passes whose part in the swath meets the area, newest first."""
        for scene in search_scenes(SENTINEL_2, area, start, end):
            yield from self._name([scene])

    def find(self, scene_id: str) -> Scene | None:
        """The scene of a product id, by the second in it."""
        when = second_of(scene_id)
        found = self.search(WORLD, when, when) if when else iter(())
        return next((scene for scene in found if scene.id == scene_id), None)

    def footprint(self, scene: Scene) -> BaseGeometry:
        """The part of the scene's square that is in its swath."""
        return footprint_of(_check(scene))

    def properties(self, scene: Scene) -> dict[str, Any]:
        """Those of a Sentinel-2 product."""
        return describe_product(_check(scene))

    def _name(self, scenes: Sequence[EarthScene]) -> Sequence[EarthScene]:
        level = "L2A" if self._surface else "L1C"
        clouded = with_cloud_cover(scenes, self._earth.landscape.coarse, self._earth.seed)
        return [replace(scene, id=name_product(scene, level)) for scene in clouded]

    def _look(self, scene: EarthScene, ground: Ground, across: Floats) -> _View:
        east, south, up = sun_of(scene)
        facing = F(up) - F(east) * ground.slope_east - F(south) * ground.slope_south
        upright = np.sqrt(F(1) + ground.slope_east * ground.slope_east + ground.slope_south * ground.slope_south)
        light = np.clip(facing / (upright * F(up)), F(LIGHT_MIN), F(LIGHT_MAX)) * ground.grain
        water = ground.cover <= Cover.RIVER
        light[water] = 1.0
        cover = ground.cover
        snow = (ground.height_m + F(60) * ground.fine > F(snow_line_m(scene.day))) & ~water
        if snow.any():
            wood = (cover == Cover.CONIFER) | (cover == Cover.BROADLEAF)
            cover = np.where(snow, np.where(wood, np.uint8(Cover.SNOWY_WOOD), np.uint8(Cover.SNOW)), cover)
        cloud, shadow = self._clouds(sky_of(scene, self._earth.seed), ground, (east, south, up))
        return _View(cover=cover, light=light * (F(1) + F(LIMB) * across), cloud=cloud, shadow=shadow)

    def _clouds(self, sky: Sky, ground: Ground, sun: tuple[float, float, float]) -> tuple[Floats, Floats]:
        if sky.clear:
            nothing = np.zeros(ground.height_m.shape, dtype=np.float32)
            return nothing, nothing
        noise, place = self._earth.landscape.coarse, ground.place
        cloud = opacity(sky, noise, place.u, place.v, ground.fine)
        reach = CLOUD_REACH_UNITS / sun[2]
        # a pixel lies in the shadow of the cloud that stands towards the sun
        shadow = opacity(sky, noise, place.u + sun[0] * reach, place.v + sun[1] * reach, ground.fine)
        return cloud, shadow

    def _band(self, band: str, scene: EarthScene, view: _View) -> Floats:
        if band == "SCL":
            return _classify(view)
        if band == "CLD":
            return np.asarray(np.floor(view.cloud * F(100) + F(0.5)), dtype=np.float32)
        index = BANDS.index(band)
        spectrum = spectra_on(scene.day)[:, index].astype(np.float32)
        haze, white = haze_spectrum()[index], cloud_spectrum()[index]
        seen = spectrum.take(view.cover) * view.light * (F(1) - F(SHADE) * view.shadow)
        seen += view.cloud * (F(white) - seen)
        if not self._surface:
            seen = seen * F(0.92) + F(haze)
        return np.asarray(np.floor(np.clip(seen, F(1), F(DN_MAX)) + F(0.5)), dtype=np.float32)


def _check(scene: Scene) -> EarthScene:
    if not isinstance(scene, EarthScene):
        raise TypeError(f"{scene.id} is no scene of the synthetic Earth")
    return scene


def _classify(view: _View) -> Floats:
    table = np.full(len(Cover), SCL_BARE, dtype=np.float32)
    table[list(GREEN)] = SCL_VEGETATION
    table[list(WATERS)] = SCL_WATER
    table[[Cover.SNOW, Cover.SNOWY_WOOD]] = SCL_SNOW
    classes = table.take(view.cover)
    classes[view.shadow > 0.4] = SCL_SHADOW  # noqa: PLR2004  # opacity
    classes[view.cloud > 0.15] = SCL_THIN  # noqa: PLR2004
    classes[view.cloud > 0.6] = SCL_THICK  # noqa: PLR2004
    return classes
