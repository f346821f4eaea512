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


def make_sources(config: EmulatorConfig) -> Mapping[str, Source]:
    """Collection id -> its source; archives replace the synthetic collections of their name.

    Reads the archives' folders; raises ValueError for one without GeoTIFFs.
    """
    pattern = PatternSource()
    sources: dict[str, Source] = dict.fromkeys(
        ("sentinel-2-l2a", "sentinel-2-l1c", "S2L2A", "S2L1C", "pattern"), pattern
    )
    for collection, folder in config.archives.items():
        sources[collection] = ArchiveSource.open_folder(collection, Path(folder))
    return sources
