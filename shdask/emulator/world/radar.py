"""The synthetic Earth as Sentinel-1 GRD sees it: passes by night and day, in both directions, and their backscatter.

Refuses to know requests and scripts. Clouds do not matter.
"""

from __future__ import annotations

import math
import zlib
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import replace
from datetime import datetime, timedelta
from typing import Any

import numpy as np
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from shdask.emulator.lattice import Lattice
from shdask.emulator.process.choices import Choices
from shdask.emulator.refusal import Refusal
from shdask.emulator.source import BandInfo, Pixels, Scene
from shdask.emulator.world.backscatter import (
    LOOKS,
    SHADOW_AREA,
    Sight,
    brightness_on,
    see,
    speckle,
    tangent_of,
)
from shdask.emulator.world.cells import Cells, grow, lay_cells, level_m
from shdask.emulator.world.cover import Cover, snow_line_m
from shdask.emulator.world.earth import Earth
from shdask.emulator.world.footprint import footprint_of
from shdask.emulator.world.ground import Ground
from shdask.emulator.world.mission import Mission, of_earth, place_of, see_swath
from shdask.emulator.world.orbit import EarthScene, Orbit
from shdask.emulator.world.place import AROUND, NODE_PX, UNIT_M, Mesh, Place, latitude_of, locate
from shdask.emulator.world.swath import across_swath
from shdask.emulator.world.texture import hash_cells, unit
from shdask.emulator.world.view import AIR_REACH

SENTINEL_1 = Orbit(
    satellites=("S1A", "S1B"),
    cycle_days=12,
    orbits_a_cycle=175,
    inclination=98.18,
    local_hour=6.0,
    half_swath_m=125_000.0,
    swath_offset_m=540_000.0,
    ascending=(False, True),
)
COARSEST_M = 1500.0
"""Not documented for this collection; taken from Sentinel-2's."""
ICE_LATITUDE, EXTRA_WIDE_LATITUDE = 66.5, 75.0
"""Beyond them both HH and HV are acquired, and in the mode EW."""
CELL_M = {"HIGH": 10.0, "MEDIUM": 40.0}
TIMELINESS = ("Fast24h", "Fast24h", "NRT3h", "Offline")
SLICE = timedelta(seconds=25)
GRAIN = 0.1
"""How much patches of one cover differ."""
WIND_DB, WET_DB = 3.0, 0.8
POWER = BandInfo(units={"LINEAR_POWER": 1.0})
NUMBER = BandInfo(units={"DN": 1.0})
POLARIZATIONS = {"DV": ("VV", "VH"), "DH": ("HH", "HV")}

F = np.float32
Floats = NDArray[np.float32]


class RadarSource:
    """Sentinel-1 GRD over the synthetic Earth.

    Values are computed on the sensor's own cells of 10 m, or of 20, 40 m and so on for coarser requests, and resampled
    as ``upsampling`` says. Without orthorectification a place seems to lie nearer to the sensor the higher it is.
    """

    def __init__(self, earth: Earth) -> None:
        self.name = "S1GRD"
        self.max_metres_per_px: float | None = COARSEST_M
        self.bands: Mapping[str, BandInfo] = {
            **dict.fromkeys(("VV", "VH", "HH", "HV"), POWER),
            **dict.fromkeys(("localIncidenceAngle", "scatteringArea", "shadowMask"), NUMBER),
        }
        self._earth = earth
        self._mission = Mission(SENTINEL_1, _finish)

    def scenes(self, lattice: Lattice, start: datetime, end: datetime) -> Sequence[Scene]:
        """Squares of passes that may touch the lattice in [start, end], with the traits that requests filter by."""
        return self._mission.scenes(lattice, start, end)

    def render(
        self, scene: Scene, bands: Sequence[str], lattice: Lattice, choices: Choices, wanted: NDArray[np.bool_]
    ) -> Pixels | None:
        """The scene's square of its swath; linear power, degrees, and numbers.

        Raises Refusal (400) for a polarization that the scene lacks.
        """
        scene = of_earth(scene)
        place = place_of(lattice)
        data_mask = see_swath(scene, place, wanted)
        if data_mask is None:
            return None
        if not bands:
            return Pixels(values=np.empty((0, *lattice.shape), dtype=np.float32), data_mask=data_mask)
        _check_polarizations(scene, bands)
        cells = lay_cells(scene, place, level_m(CELL_M[scene.traits["resolution"]], place.resolution_m))
        ground = self._survey(scene, cells.lattice, shifted=not choices.orthorectify)
        mesh = ground.place.mesh(AIR_REACH)
        tangent = mesh.spread(tangent_of(_from_near_edge(scene, mesh)))
        sight = see(tangent, ground.slope_east, ground.slope_south, _look(scene))
        cover = _with_snow(ground, scene.day)
        values = np.empty((len(bands), *lattice.shape), dtype=np.float32)
        for number, band in enumerate(bands):
            raster = self._band(band, scene, choices, (ground, cover, sight, cells))
            values[number] = cells.spread(raster, "NEAREST" if band == "shadowMask" else choices.upsampling)
        return Pixels(values=values, data_mask=data_mask)

    def search(self, area: BaseGeometry, start: datetime, end: datetime) -> Iterator[Scene]:
        """Squares of passes whose part in the swath meets the area, newest first."""
        return self._mission.search(area, start, end)

    def find(self, scene_id: str) -> Scene | None:
        """The scene of a product id."""
        return self._mission.find(scene_id)

    def footprint(self, scene: Scene) -> BaseGeometry:
        """The part of the scene's square that is in its swath."""
        return footprint_of(of_earth(scene))

    def properties(self, scene: Scene) -> dict[str, Any]:
        """Those of a Sentinel-1 product."""
        scene = of_earth(scene)
        traits = scene.traits
        return {
            "platform": f"sentinel-1{scene.flight.satellite_name[-1].lower()}",
            "instruments": ["c-sar"],
            "constellation": "sentinel-1",
            "sar:instrument_mode": traits["acquisitionMode"],
            "sar:frequency_band": "C",
            "sar:polarizations": list(POLARIZATIONS[traits["polarization"]]),
            "sar:product_type": "GRD",
            "sat:orbit_state": traits["orbitDirection"].lower(),
            "sat:relative_orbit": scene.flight.relative_orbit,
            "sat:absolute_orbit": scene.flight.revolution,
            "s1:polarization": traits["polarization"],
            "s1:resolution": traits["resolution"],
            "s1:timeliness": traits["timeliness"],
        }

    def _survey(self, scene: EarthScene, lattice: Lattice, *, shifted: bool) -> Ground:
        if not shifted:
            return self._earth.ground(lattice)
        # a pixel of the image shows what lies further from the sensor, the higher that stands
        nodes = locate(_nodes(lattice))
        place = locate(lattice)
        height = self._earth.landscape.survey(nodes).height_m
        shift = (height / (tangent_of(_from_near_edge(scene, nodes)) * nodes.metres)).astype(np.float64)
        east, south = _look(scene)
        moved = replace(place, nodes=(place.nodes[0] + east * shift, place.nodes[1] + south * shift))
        exact = moved.mesh(0.0)
        ground = self._earth.landscape.survey(replace(moved, u=exact.u, v=exact.v))
        return replace(ground, place=place)

    def _band(
        self, band: str, scene: EarthScene, choices: Choices, seen: tuple[Ground, NDArray[np.uint8], Sight, Cells]
    ) -> Floats:
        ground, cover, sight, cells = seen
        if band == "localIncidenceAngle":
            return np.asarray(np.round(np.degrees(np.arccos(sight.incidence.astype(np.float64))), 2), dtype=np.float32)
        if band == "scatteringArea":
            return sight.area
        if band == "shadowMask":
            return grow(sight.area < F(SHADOW_AREA)).astype(np.float32)
        power = brightness_on(scene.day, band, *_weather(scene, self._earth.seed)).take(cover)
        power *= np.maximum(F(1) + F(GRAIN) * ground.fine, F(0.2))
        lattice = cells.lattice
        size = lattice.res_x / UNIT_M
        coarser = size * _unit_m(scene) / CELL_M["HIGH"]
        power *= speckle(
            range(lattice.row, lattice.row + lattice.height),
            range(lattice.column, lattice.column + lattice.width),
            around=round(AROUND / size),
            salt=scene.flight.number + self._earth.seed,
            cross=band in {"VH", "HV"},
            looks=LOOKS * round(coarser) ** 2,
            window_px=choices.lee_window_px or (1, 1),
        )
        return _calibrate(power, sight, choices)


def _calibrate(power: Floats, sight: Sight, choices: Choices) -> Floats:
    # beta nought is gamma nought of the terrain times the area; the ellipsoid knows no slopes
    if choices.back_coeff == "GAMMA0_TERRAIN":
        power *= np.minimum(sight.area * F(1 / SHADOW_AREA), F(1))
        return power
    power *= sight.area
    if choices.back_coeff == "BETA0":
        return power
    power *= sight.tangent
    if choices.back_coeff == "SIGMA0_ELLIPSOID":
        power /= np.sqrt(F(1) + sight.tangent * sight.tangent)
    return power


def _finish(scenes: Sequence[EarthScene]) -> list[EarthScene]:
    return [_name(scene) for scene in scenes]


def _name(scene: EarthScene) -> EarthScene:
    latitude = abs(latitude_of((scene.row + 0.5) * scene.size))
    mode, size = ("EW", "M") if latitude > EXTRA_WIDE_LATITUDE else ("IW", "H")
    polarization = "DH" if latitude > ICE_LATITUDE else "DV"
    flight = scene.flight
    begin, end = (f"{time:%Y%m%dT%H%M%S}" for time in (scene.time, scene.time + SLICE))
    check = zlib.crc32(scene.id.encode())
    return replace(
        scene,
        id=(
            f"{flight.satellite_name}_{mode}_GRD{size}_1S{polarization}_{begin}_{end}_{flight.revolution:06d}"
            f"_{flight.number & 0xFFFFFF:06X}_{check & 0xFFFF:04X}"
        ),
        traits={
            "acquisitionMode": mode,
            "polarization": polarization,
            "orbitDirection": "ASCENDING" if flight.ascending else "DESCENDING",
            "resolution": "HIGH" if size == "H" else "MEDIUM",
            "timeliness": TIMELINESS[flight.number % len(TIMELINESS)],
        },
    )


def _check_polarizations(scene: EarthScene, bands: Sequence[str]) -> None:
    for band in bands:
        if band in {"VV", "VH", "HH", "HV"} and band not in POLARIZATIONS[scene.traits["polarization"]]:
            message = (
                f"Requested band '{band}' is not present in Sentinel 1 tile '{scene.id}' returned by criteria "
                "specified in `dataFilter` parameter."
            )
            raise Refusal(400, "RENDERER_S1_MISSING_POLARIZATION", message)


def _unit_m(scene: EarthScene) -> float:
    return UNIT_M * math.cos(math.radians(latitude_of((scene.row + 0.5) * scene.size)))


def _look(scene: EarthScene) -> tuple[float, float]:
    # to the right of the flight and at right angles to the track, (east, south)
    slant = (scene.middle_bottom - scene.middle_top) / scene.size
    sense = 1.0 if scene.flight.ascending else -1.0
    return sense / math.hypot(1.0, slant), -sense * slant / math.hypot(1.0, slant)


def _from_near_edge(scene: EarthScene, place: Place | Mesh) -> Floats:
    across = across_swath(scene, place)
    return across if scene.flight.ascending else -across


def _weather(scene: EarthScene, seed: int) -> tuple[float, float]:
    number = np.array([scene.flight.number], dtype=np.int64)
    h = hash_cells(number, number + seed, 31)
    return WIND_DB * (2 * float(unit(h)[0]) - 1), WET_DB * (2 * float(unit(h, 8)[0]) - 1)


def _with_snow(ground: Ground, day: float) -> NDArray[np.uint8]:
    snow = (ground.height_m + F(60) * ground.fine > F(snow_line_m(day))) & (ground.cover > Cover.RIVER)
    if not snow.any():
        return ground.cover
    wood = (ground.cover == Cover.CONIFER) | (ground.cover == Cover.BROADLEAF)
    return np.where(snow, np.where(wood, np.uint8(Cover.SNOWY_WOOD), np.uint8(Cover.SNOW)), ground.cover)


def _nodes(lattice: Lattice) -> Lattice:
    """The pixels of a lattice at which places are exact, as a lattice of their own."""
    column, row = lattice.column // NODE_PX, lattice.row // NODE_PX
    return Lattice(
        crs=lattice.crs,
        res_x=lattice.res_x * NODE_PX,
        res_y=lattice.res_y * NODE_PX,
        fraction_x=(lattice.fraction_x + 0.5) / NODE_PX - 0.5,
        fraction_y=(lattice.fraction_y + 0.5) / NODE_PX - 0.5,
        column=column,
        row=row,
        width=(lattice.column + lattice.width - 1) // NODE_PX + 3 - column,
        height=(lattice.row + lattice.height - 1) // NODE_PX + 3 - row,
    )
