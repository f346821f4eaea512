"""What truly lies on the synthetic Earth, as a collection without time: land cover and height, to train against.

Refuses to know scenes, seasons and clouds.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import UTC, datetime

import numpy as np
from numpy.typing import NDArray

from shdask.emulator.lattice import Lattice
from shdask.emulator.process.choices import Choices
from shdask.emulator.source import BandInfo, Pixels, Scene
from shdask.emulator.world.cover import Cover
from shdask.emulator.world.earth import Earth

NAME = "emulator-truth"
COARSEST_M = 1500.0
ALWAYS = Scene(id=NAME, time=datetime(2015, 1, 1, tzinfo=UTC), cloud_cover=0.0)
"""The one scene; it answers every time range."""


class TruthSource:
    """Bands ``cover``, a value of ``world.cover.Cover`` without snow, and ``height`` in metres, 0 on the sea."""

    def __init__(self, earth: Earth) -> None:
        self.name = NAME
        self.max_metres_per_px: float | None = COARSEST_M
        self.bands: Mapping[str, BandInfo] = {
            "cover": BandInfo(units={"DN": 1.0}),
            "height": BandInfo(units={"METERS": 1.0}),
        }
        self._earth = earth

    def scenes(self, lattice: Lattice, start: datetime, end: datetime) -> Sequence[Scene]:
        """Always the same one."""
        del lattice, start, end
        return (ALWAYS,)

    def render(
        self, scene: Scene, bands: Sequence[str], lattice: Lattice, choices: Choices, wanted: NDArray[np.bool_]
    ) -> Pixels | None:
        """Data everywhere; the same pixels that Sentinel-2 sees."""
        del scene, choices, wanted
        ground = self._earth.ground(lattice)
        values = np.empty((len(bands), *lattice.shape), dtype=np.float32)
        for plane, band in zip(values, bands, strict=True):
            plane[...] = ground.cover
            if band == "height":
                np.multiply(ground.height_m, ground.cover > Cover.SHALLOWS, out=plane)
        return Pixels(values=values, data_mask=np.ones(lattice.shape, dtype=np.bool_))
