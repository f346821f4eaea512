"""Which collections an emulator serves.

Refuses to know how their pixels come about.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path

from shdask.emulator.archive import ArchiveSource
from shdask.emulator.config import EmulatorConfig
from shdask.emulator.pattern import PatternSource
from shdask.emulator.source import Source
from shdask.emulator.world.earth import Earth, EarthSource
from shdask.emulator.world.elevation import ElevationSource
from shdask.emulator.world.landsat import LandsatSource
from shdask.emulator.world.radar import RadarSource
from shdask.emulator.world.truth import NAME as TRUTH
from shdask.emulator.world.truth import TruthSource


def make_sources(config: EmulatorConfig) -> Mapping[str, Source]:
    """Collection id -> its source; archives replace the synthetic collections of their name.

    Reads the archives' folders; raises ValueError for one without GeoTIFFs.
    """
    earth = Earth(config.seed)
    surface, top = EarthSource(earth, surface=True), EarthSource(earth, surface=False)
    radar, heights = RadarSource(earth), ElevationSource(earth, default=config.dem_default)
    sources: dict[str, Source] = {
        "sentinel-2-l2a": surface,
        "S2L2A": surface,
        "sentinel-2-l1c": top,
        "S2L1C": top,
        TRUTH: TruthSource(earth),
        "sentinel-1-grd": radar,
        "S1GRD": radar,
        "dem": heights,
        "DEM": heights,
        "landsat-ot-l1": LandsatSource(earth, surface=False),
        "landsat-ot-l2": LandsatSource(earth, surface=True),
        "pattern": PatternSource(),
    }
    for collection, folder in config.archives.items():
        sources[collection] = ArchiveSource.open_folder(collection, Path(folder))
    return sources
