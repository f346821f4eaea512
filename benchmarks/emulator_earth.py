"""How many pixels of the synthetic Earth does one core draw in a second, cold, per band and in all?"""

from __future__ import annotations

import time
from collections.abc import Sequence
from datetime import UTC, datetime
from typing import Any

import numpy as np

from shdask.emulator.lattice import Lattice, make_lattice
from shdask.emulator.process.choices import Choices
from shdask.emulator.render.mosaic import order_scenes, render_samples
from shdask.emulator.source import Scene, Source
from shdask.emulator.world.earth import Earth, EarthSource
from shdask.emulator.world.elevation import ElevationSource
from shdask.emulator.world.landsat import LandsatSource
from shdask.emulator.world.radar import RadarSource

SEED = 7
SIZE_PX = 2048
LEFT, TOP = 500_000, 5_200_000
"""UTM 33N, metres: fields, woods, towns and hills."""
STEP_PX = 64
REPEATS = 5
FIRST, LAST = datetime(2024, 6, 1, tzinfo=UTC), datetime(2024, 6, 30, tzinfo=UTC)
CLOUDY_PERCENT = (20.0, 70.0)
BANDS = {
    1: ("B04",),
    3: ("B02", "B03", "B04"),
    4: ("B02", "B03", "B04", "B08"),
    12: ("B01", "B02", "B03", "B04", "B05", "B06", "B07", "B08", "B8A", "B09", "B11", "B12"),
}
SENSORS = {
    "sentinel-1-grd": (("VV",), ("VV", "VH")),
    "dem": (("DEM",),),
    "landsat-ot-l1": (("B04",), ("B02", "B03", "B04"), ("B04", "B08", "B10")),
    "landsat-ot-l2": (("B04",), ("B02", "B03", "B04", "B05", "B06", "B07", "B10")),
}
MEGA = 1e6


def lay_out(resolution_m: float, repeat: int) -> Lattice:
    """An image of its own for each repeat, so that none finds ground that another has left."""
    left = LEFT + repeat * STEP_PX * resolution_m
    side = SIZE_PX * resolution_m
    return make_lattice("EPSG:32633", (left, TOP - side, left + side, TOP), SIZE_PX, SIZE_PX)


def choose(source: Source, lattice: Lattice, *, cloudy: bool) -> Sequence[Scene]:
    """Scenes of a month, least cloudy first; or only those of middling clouds."""
    scenes = order_scenes(source.scenes(lattice, FIRST, LAST), "leastCC", 100.0)
    low, high = CLOUDY_PERCENT
    return [scene for scene in scenes if low < scene.cloud_cover < high] if cloudy else scenes


def measure(source: Source, resolution_m: float, bands: Sequence[str], *, cloudy: bool = False) -> dict[str, float]:
    """The best of some repeats: processor seconds of one thread, and output pixels and band values per second."""
    seconds = []
    for repeat in range(REPEATS):
        lattice = lay_out(resolution_m, repeat)
        scenes = choose(source, lattice, cloudy=cloudy)
        inside = np.ones(lattice.shape, dtype=np.bool_)
        began = time.thread_time()
        render_samples(lattice, inside, source, [scenes], [*bands, "dataMask"], Choices())
        seconds.append(time.thread_time() - began)
    rate = SIZE_PX * SIZE_PX / min(seconds) / MEGA
    return {
        "seconds": round(min(seconds), 3),
        "mpx_per_s": round(rate, 2),
        "mpx_per_s_and_band": round(rate * len(bands), 1),
    }


def run() -> dict[str, Any]:
    """Each sensor with dataMask at 10 m, Sentinel-2 at 20 m and under clouds too; textures are made before."""
    earth = Earth(SEED)
    source = EarthSource(earth, surface=True)
    began = time.perf_counter()
    _ = earth.landscape
    textures_s = time.perf_counter() - began
    others: dict[str, Source] = {
        "sentinel-1-grd": RadarSource(earth),
        "dem": ElevationSource(earth, default="COPERNICUS_30"),
        "landsat-ot-l1": LandsatSource(earth, surface=False),
        "landsat-ot-l2": LandsatSource(earth, surface=True),
    }
    return {
        "seed": SEED,
        "size_px": SIZE_PX,
        "repeats": REPEATS,
        "textures_s": round(textures_s, 2),
        **{
            f"{count} bands, {resolution_m:.0f} m, {'cloudy' if cloudy else 'clear'}": measure(
                source, resolution_m, bands, cloudy=cloudy
            )
            for count, bands in BANDS.items()
            for resolution_m in (10.0, 20.0)
            for cloudy in (False, True)
        },
        **{
            f"{name}, {' '.join(bands)}, 10 m": measure(others[name], 10.0, bands)
            for name, choices in SENSORS.items()
            for bands in choices
        },
    }
