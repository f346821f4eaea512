"""Which collections an emulator serves.

Refuses to know how their pixels come about.
"""

from __future__ import annotations

from collections.abc import Mapping

from shdask.emulator.config import EmulatorConfig
from shdask.emulator.pattern import PatternSource
from shdask.emulator.source import Source


def make_sources(config: EmulatorConfig) -> Mapping[str, Source]:
    """Collection id -> its source. Opens the archives' folders, renders nothing."""
    pattern = PatternSource()
    sources: dict[str, Source] = {
        "sentinel-2-l2a": pattern,
        "sentinel-2-l1c": pattern,
        "S2L2A": pattern,
        "S2L1C": pattern,
        "pattern": pattern,
    }
    return sources
