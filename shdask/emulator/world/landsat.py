"""The synthetic Earth as Landsat 8 and 9 see it: 30 m pixels, reflectance, temperature and quality bits.

Refuses to know requests and scripts. The optics are those of the Sentinel-2-like collections.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray
from shapely.geometry import box
from shapely.geometry.base import BaseGeometry

from shdask.emulator.lattice import Lattice
from shdask.emulator.process.choices import Choices
from shdask.emulator.source import BandInfo, Pixels, Scene
from shdask.emulator.world.cells import grow, lay_cells, level_m
from shdask.emulator.world.earth import Earth, EarthSource
from shdask.emulator.world.footprint import footprint_of
from shdask.emulator.world.mission import Mission, of_earth, place_of, see_swath
from shdask.emulator.world.orbit import EarthScene, Orbit, sun_of
from shdask.emulator.world.place import AROUND, latitude_of
from shdask.emulator.world.thermal import cover_with_cloud, quality_bits, surface_kelvin
from shdask.emulator.world.weather import with_cloud_cover

LANDSAT_8_9 = Orbit(
    satellites=("LC08", "LC09"),
    cycle_days=16,
    orbits_a_cycle=233,
    inclination=98.2,
    local_hour=10.0,
    half_swath_m=92_500.0,
)
COARSEST_M = 1500.0
"""Not documented for this collection; taken from Sentinel-2's."""
PIXEL_M, PAN_PIXEL_M = 30.0, 15.0
TIER_2_LATITUDE = 65.0
NO_DATA = float("nan")
# after the tables of bands of the documentation and of the service's own client
REFLECTANCE = BandInfo(units={"REFLECTANCE": 1.0}, absent=NO_DATA)
BRIGHTNESS = BandInfo(units={"BRIGHTNESS_TEMPERATURE": 1.0}, absent=NO_DATA)
TEMPERATURE = BandInfo(units={"SURFACE_TEMPERATURE": 1.0}, absent=NO_DATA)
DEGREES = BandInfo(units={"DEGREES": 1.0}, absent=NO_DATA)
NUMBER = BandInfo(units={"DN": 1.0}, absent=NO_DATA)
ALIKE = {
    "B01": ("B01",),
    "B02": ("B02",),
    "B03": ("B03",),
    "B04": ("B04",),
    "B05": ("B8A",),
    "B06": ("B11",),
    "B07": ("B12",),
    "B08": ("B02", "B03", "B04"),
    "B09": ("B10",),
}
"""Band -> the Sentinel-2 bands whose mean it is."""
ANGLES = {"VAA": "viewAzimuthMean", "VZA": "viewZenithMean", "SAA": "sunAzimuthAngles", "SZA": "sunZenithAngles"}
VIEW_SCALE = 15.0 / 20.6
"""Field of view against Sentinel-2's."""
ABSORBED_K = {"B10": 4.0, "B11": 6.0}
"""How much colder the ground looks through the air."""
STEPS = {"L1": (2e-5, -0.1), "L2": (2.75e-5, -0.2), "K1": (0.01, 0.0), "K2": (0.00341802, 149.0)}
"""Scale and offset of the source's whole numbers: reflectance and temperature by level."""
ID = re.compile(r"LC0[89]_L[12][A-Z]{2}_\d{3}(\d{3})_(\d{8})_\d{8}_02_T[12]")
DEEPEST_ROW = 128

F = np.float32
Floats = NDArray[np.float32]


class LandsatSource:
    """Landsat 8-9 over the synthetic Earth: Level 1 through the air, Level 2 at the surface.

    Without the bands that only tell how Level 2 was made: SR_QA_AEROSOL, ST_QA, ST_TRAD, ST_URAD, ST_DRAD, ST_ATRAN,
    ST_EMIS, ST_EMSD and ST_CDIST.
    """

    def __init__(self, earth: Earth, *, surface: bool) -> None:
        self.name = "LANDSAT_OT_L2" if surface else "LANDSAT_OT_L1"
        self.max_metres_per_px: float | None = COARSEST_M
        quality = dict.fromkeys(("BQA", "QA_RADSAT"), NUMBER)
        self.bands: Mapping[str, BandInfo] = (
            {**dict.fromkeys(list(ALIKE)[:7], REFLECTANCE), "B10": TEMPERATURE, **quality}
            if surface
            else {
                **dict.fromkeys(ALIKE, REFLECTANCE),
                **dict.fromkeys(("B10", "B11"), BRIGHTNESS),
                **quality,
                **dict.fromkeys(ANGLES, DEGREES),
            }
        )
        self._earth = earth
        self._surface = surface
        self._ground = EarthSource(earth, surface=True)
        self._optics = self._ground if surface else EarthSource(earth, surface=False)
        self._mission = Mission(LANDSAT_8_9, self._finish)

    def scenes(self, lattice: Lattice, start: datetime, end: datetime) -> Sequence[Scene]:
        """Squares of passes that may touch the lattice in [start, end]."""
        return self._mission.scenes(lattice, start, end)

    def render(
        self, scene: Scene, bands: Sequence[str], lattice: Lattice, choices: Choices, wanted: NDArray[np.bool_]
    ) -> Pixels | None:
        """The scene's square of its swath, from the sensor's own cells of 30 m (B08: 15 m) or multiples of two."""
        scene = of_earth(scene)
        place = place_of(lattice)
        data_mask = see_swath(scene, place, wanted)
        if data_mask is None:
            return None
        values = np.empty((len(bands), *lattice.shape), dtype=np.float32)
        for pan, pixel_m in ((False, PIXEL_M), (True, PAN_PIXEL_M)):
            chosen = [index for index, band in enumerate(bands) if (band == "B08") is pan]
            if not chosen:
                continue
            cell_m = level_m(pixel_m, place.resolution_m)
            cells = lay_cells(scene, place, cell_m)
            resampling = choices.upsampling if place.resolution_m <= cell_m else choices.downsampling
            for index, raster in zip(
                chosen, self._see(scene, [bands[index] for index in chosen], cells.lattice), strict=True
            ):
                values[index] = cells.spread(raster, "NEAREST" if bands[index] in {"BQA", "QA_RADSAT"} else resampling)
        return Pixels(values=values, data_mask=data_mask)

    def search(self, area: BaseGeometry, start: datetime, end: datetime) -> Iterator[Scene]:
        """Squares of passes whose part in the swath meets the area, newest first."""
        return self._mission.search(area, start, end)

    def find(self, scene_id: str) -> Scene | None:
        """The scene of a product id, by the row and the day in it."""
        match = ID.fullmatch(scene_id)
        if match is None:
            return None
        try:
            day = datetime.strptime(match[2], "%Y%m%d").replace(tzinfo=UTC)
        except ValueError:
            return None
        size, row = LANDSAT_8_9.scene_units, int(match[1]) - DEEPEST_ROW
        belt = box(-180.0, latitude_of((row + 0.9) * size), 180.0, latitude_of((row + 0.1) * size))
        found = self.search(belt, day, day + timedelta(days=1))
        return next((scene for scene in found if scene.id == scene_id), None)

    def footprint(self, scene: Scene) -> BaseGeometry:
        """The part of the scene's square that is in its swath."""
        return footprint_of(of_earth(scene))

    def properties(self, scene: Scene) -> dict[str, Any]:
        """Those of a Landsat product."""
        scene = of_earth(scene)
        return {
            "platform": f"landsat-{scene.flight.satellite_name[-1]}",
            "instruments": ["oli", "tirs"],
            "constellation": "landsat",
            "gsd": int(PIXEL_M),
            "eo:cloud_cover": scene.cloud_cover,
            "landsat:scene_id": scene.id,
            "landsat:collection_category": scene.traits["tier"],
            "landsat:wrs_path": f"{scene.flight.relative_orbit:03d}",
            "landsat:wrs_row": f"{scene.row + DEEPEST_ROW:03d}",
        }

    def _see(self, scene: EarthScene, bands: Sequence[str], cells: Lattice) -> list[Floats]:
        everywhere = np.ones(cells.shape, dtype=np.bool_)
        alike = sorted({name for band in bands for name in ALIKE.get(band, ANGLES.get(band, "").split())})
        layers = ["SCL", "CLD"]
        optics = self._optics.render(scene, alike, cells, Choices(), everywhere)
        ground = self._ground.render(scene, layers, cells, Choices(), everywhere)
        shape = cells.shape
        seen = dict(zip(alike, optics.values, strict=True)) if optics else {}
        seen |= dict(zip(layers, ground.values, strict=True)) if ground else {}
        # cells beside the square of the scene are asked for by no pixel that has data
        nothing = np.zeros(shape, dtype=np.float32)
        return [
            self._band(band, scene, cells, {name: seen.get(name, nothing) for name in (*alike, *layers)})
            for band in bands
        ]

    def _band(self, band: str, scene: EarthScene, cells: Lattice, seen: Mapping[str, Floats]) -> Floats:
        if band == "BQA":
            clouds = (seen["SCL"] == F(8)) | (seen["SCL"] == F(9))
            return quality_bits(seen["SCL"], grow(clouds))
        if band == "QA_RADSAT":
            return np.asarray(seen["SCL"] == F(1), dtype=np.float32)
        if band in ANGLES:
            return np.asarray(seen[ANGLES[band]] * F(VIEW_SCALE if band == "VZA" else 1.0))
        if band in ALIKE:
            mean = np.mean([seen[name] for name in ALIKE[band]], axis=0, dtype=np.float32)
            return _quantize(np.asarray(mean) * F(1e-4), STEPS["L2" if self._surface else "L1"])
        kelvin = cover_with_cloud(self._warmth(scene, cells), seen["CLD"] * F(0.01))
        if self._surface:
            return _quantize(kelvin, STEPS["K2"])
        return _quantize(kelvin - F(ABSORBED_K[band]), STEPS["K1"])

    def _warmth(self, scene: EarthScene, cells: Lattice) -> Floats:
        ground = self._earth.ground(cells)
        east, south, up = sun_of(scene)
        light = F(1) - F(east / up) * ground.slope_east - F(south / up) * ground.slope_south
        return surface_kelvin(
            ground.cover,
            ground.height_m,
            np.clip(light, F(0.2), F(1.6)),
            day=scene.day,
            latitude=latitude_of((scene.row + 0.5) * scene.size),
            sun_up=up,
        )

    def _finish(self, scenes: Sequence[EarthScene]) -> list[EarthScene]:
        level = "L2SP" if self._surface else "L1TP"
        clouded = with_cloud_cover(scenes, self._earth.landscape.coarse, self._earth.seed)
        return [_name(scene, level) for scene in clouded]


def _name(scene: EarthScene, level: str) -> EarthScene:
    latitude = abs(latitude_of((scene.row + 0.5) * scene.size))
    tier = "T2" if latitude > TIER_2_LATITUDE else "T1"
    # squares of one pass and row differ in the day they were processed
    made = scene.time + timedelta(days=2 + scene.column % (AROUND // scene.size) % 4)
    path, row = scene.flight.relative_orbit, scene.row + DEEPEST_ROW
    return replace(
        scene,
        id=f"{scene.flight.satellite_name}_{level}_{path:03d}{row:03d}_{scene.time:%Y%m%d}_{made:%Y%m%d}_02_{tier}",
        traits={"tier": tier},
    )


def _quantize(values: Floats, step: tuple[float, float]) -> Floats:
    scale, offset = step
    whole = np.clip(np.floor((values - F(offset)) * F(1 / scale) + F(0.5)), F(1), F(65535))
    return np.asarray(whole * F(scale) + F(offset), dtype=np.float32)
