"""The synthetic Earth as a collection like Sentinel-2: scenes of two satellites, and their pixels.

Refuses to know requests and scripts. Every pixel is computed at its own centre and all bands are nearest: the angles by
the documentation, the others because there is nothing coarser to resample.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime
from typing import Any

import numpy as np
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from shdask.emulator.lattice import Lattice
from shdask.emulator.process.choices import Choices
from shdask.emulator.source import REFLECTANCE, BandInfo, Pixels, Scene
from shdask.emulator.world.cover import BANDS, cloud_spectrum, haze_spectrum
from shdask.emulator.world.footprint import footprint_of
from shdask.emulator.world.ground import Ground, Landscape
from shdask.emulator.world.layers import aerosol_depth, angle, cloud_percent, scene_class, snow_percent
from shdask.emulator.world.mission import Mission, of_earth
from shdask.emulator.world.orbit import SENTINEL_2, EarthScene
from shdask.emulator.world.place import locate
from shdask.emulator.world.product import BASELINE_4_FROM, describe_product, name_product
from shdask.emulator.world.states import state_spectra
from shdask.emulator.world.swath import across_swath, find_inside_scene, misses
from shdask.emulator.world.view import AIR_REACH, View, look
from shdask.emulator.world.weather import sky_of, with_cloud_cover

COARSEST_M = 1500.0
BLOCKS_KEPT = 2
DN_MAX = 16000
BASELINE_OFFSET_DN = 1000
"""Added to every reflectance by processing baseline 04.00; harmonised values are without."""
CLEAN_AIR = 0.12
"""Optical depth of the aerosols that surface reflectance is corrected for."""
LEFT_OVER = 0.6
"""Share of the haze that the correction leaves, per optical depth."""
CLEAN_SHARE, MURKY_SHARE = 0.7, 2.5
"""Share of the haze at the top of the atmosphere: of the air itself, and per optical depth of aerosols."""
TRANSMITTANCE = 0.92
CIRRUS_B10 = 2500.0

DEPTH = BandInfo(units={"OPTICAL_DEPTH": 1000.0, "DN": 1.0})
CLASS = BandInfo(units={"DN": 1.0})
PERCENT = BandInfo(units={"PERCENT": 1.0})
DEGREES = BandInfo(units={"DEGREES": 1.0})
ANGLES = ("sunAzimuthAngles", "sunZenithAngles", "viewAzimuthMean", "viewZenithMean")
LAYERS = {"AOT": DEPTH, "SCL": CLASS, "SNW": PERCENT, "CLD": PERCENT}

F = np.float32
Floats = NDArray[np.float32]


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
        optical = dict.fromkeys([band for band in BANDS if not surface or band != "B10"], REFLECTANCE)
        layers = LAYERS if surface else {}
        self.bands: Mapping[str, BandInfo] = {**optical, **layers, **dict.fromkeys(ANGLES, DEGREES)}
        self._earth = earth
        self._surface = surface
        self._mission = Mission(SENTINEL_2, self._name)

    def scenes(self, lattice: Lattice, start: datetime, end: datetime) -> Sequence[Scene]:
        """Squares of passes that may touch the lattice in [start, end]."""
        return self._mission.scenes(lattice, start, end)

    def render(
        self, scene: Scene, bands: Sequence[str], lattice: Lattice, choices: Choices, wanted: NDArray[np.bool_]
    ) -> Pixels | None:
        """The scene's square of its swath; reflectances in whole DN, at least 1 where there is data."""
        scene = of_earth(scene)
        ground = self._earth.ground(lattice)
        if misses(scene, ground.place):
            return None
        mesh = ground.place.mesh(AIR_REACH)
        across = mesh.spread(across_swath(scene, mesh))
        data_mask = find_inside_scene(scene, ground.place, across)
        if not (data_mask & wanted).any():
            return None
        sky = sky_of(scene, self._earth.seed)
        view = look(scene, ground, sky, self._earth.landscape.coarse, across)
        values = np.empty((len(bands), *lattice.shape), dtype=np.float32)
        for plane, band in zip(values, bands, strict=True):
            if band in BANDS:
                self._reflect(band, scene, view, plane)
                if not choices.harmonize_values and scene.time >= BASELINE_4_FROM:
                    np.add(plane, F(BASELINE_OFFSET_DN), out=plane)
            else:
                plane[...] = _layer(band, scene, ground, view)
        return Pixels(values=values, data_mask=data_mask)

    def search(self, area: BaseGeometry, start: datetime, end: datetime) -> Iterator[Scene]:
        """Squares of passes whose part in the swath meets the area, newest first."""
        return self._mission.search(area, start, end)

    def find(self, scene_id: str) -> Scene | None:
        """The scene of a product id, by the second in it."""
        return self._mission.find(scene_id)

    def footprint(self, scene: Scene) -> BaseGeometry:
        """The part of the scene's square that is in its swath."""
        return footprint_of(of_earth(scene))

    def properties(self, scene: Scene) -> dict[str, Any]:
        """Those of a Sentinel-2 product."""
        return describe_product(of_earth(scene))

    def _name(self, scenes: Sequence[EarthScene]) -> Sequence[EarthScene]:
        level = "L2A" if self._surface else "L1C"
        clouded = with_cloud_cover(scenes, self._earth.landscape.coarse, self._earth.seed)
        return [replace(scene, id=name_product(scene, level)) for scene in clouded]

    def _reflect(self, band: str, scene: EarthScene, view: View, seen: Floats) -> None:
        index = BANDS.index(band)
        haze, white = float(haze_spectrum()[index]), float(cloud_spectrum()[index])
        state_spectra(scene.day)[index].take(view.state, out=seen, mode="clip")
        seen *= view.lit
        if self._surface:
            air = (view.haze - F(CLEAN_AIR)) * F(haze * LEFT_OVER)
        else:
            air = (view.haze * F(MURKY_SHARE) + F(CLEAN_SHARE)) * F(haze)
            seen *= F(TRANSMITTANCE)
        seen += air
        if view.cloud is not None:
            seen += view.cloud * (F(white) - seen)
        if band == "B10" and view.cirrus is not None:
            seen += view.cirrus * F(CIRRUS_B10)
        np.clip(seen, F(1), F(DN_MAX), out=seen)
        seen += F(0.5)
        np.floor(seen, out=seen)


def _layer(band: str, scene: EarthScene, ground: Ground, view: View) -> Floats:
    if band == "SCL":
        return scene_class(view, scene.day)
    if band == "CLD":
        return cloud_percent(view)
    if band == "SNW":
        return snow_percent(view)
    if band == "AOT":
        return aerosol_depth(view)
    return angle(band, scene, ground, view)
