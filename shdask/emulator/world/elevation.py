"""The heights of the synthetic Earth as the DEM collection: no dates, one sample, a choice of models.

Refuses to know requests and scripts. Every pixel is computed at its own centre, so that resampling does not apply.
"""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from shdask.emulator.lattice import Lattice
from shdask.emulator.process.choices import Choices
from shdask.emulator.source import BandInfo, Pixels, Scene
from shdask.emulator.world.earth import Earth
from shdask.emulator.world.place import AROUND, Place, locate
from shdask.emulator.world.relief import SEA_LEVEL

ALWAYS = datetime(2000, 1, 1, tzinfo=UTC)
DEPTH_M = 1500.0
"""How deep the sea is where the noise of the shore is 1 below its level."""
COAST = 0.01
"""How much the fine noise crooks the shore, as it does for the land cover."""
GEOID_M, GEOID_WAVES = 45.0, 3
"""Sea level over the ellipsoid: up to so much, in so many waves round the globe; made up."""

F = np.float32
Floats = NDArray[np.float32]


class ElevationSource:
    """The heights that hills are shaded with, in metres above the sea, or above the ellipsoid with ``egm``.

    The models differ at sea only: 0 in those of Copernicus, the sea's floor in MAPZEN.
    """

    def __init__(self, earth: Earth, *, default: str) -> None:
        """``default`` is the model of requests that name none."""
        self.name = "DEM"
        self.max_metres_per_px: float | None = None
        self.bands: Mapping[str, BandInfo] = {"DEM": BandInfo(units={"METERS": 1.0, "DN": 1.0})}
        self._earth = earth
        self._default = default

    def scenes(self, lattice: Lattice, start: datetime, end: datetime) -> Sequence[Scene]:
        """Always the same one."""
        del lattice, start, end
        return (Scene(id="DEM", time=ALWAYS, cloud_cover=0.0),)

    def render(
        self, scene: Scene, bands: Sequence[str], lattice: Lattice, choices: Choices, wanted: NDArray[np.bool_]
    ) -> Pixels | None:
        """Heights everywhere."""
        del scene, wanted
        model = choices.dem_instance or self._default
        place = locate(lattice)
        relief = self._earth.landscape.shape(place)
        depth = np.minimum(relief.shore + F(COAST) * relief.fine - SEA_LEVEL, F(0)) * F(DEPTH_M)
        deep = model == "MAPZEN" and not choices.clamp_negative
        height = np.where(depth < 0, depth if deep else F(0), relief.height_m)
        if choices.egm:
            height = height + _geoid(place)
        values = np.repeat(height[None].astype(np.float32), len(bands), 0)
        return Pixels(values=values, data_mask=np.ones(lattice.shape, dtype=np.bool_))


def _geoid(place: Place) -> Floats:
    mesh = place.mesh(64.0)
    turn = 2 * math.pi / AROUND
    waves = np.sin(mesh.u * (turn * GEOID_WAVES)) * np.cos(mesh.v * (turn * GEOID_WAVES))
    return mesh.spread((GEOID_M * np.round(waves, 9)).astype(np.float32))
