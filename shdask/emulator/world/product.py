"""What Sentinel-2 scenes are called, and what their STAC items tell besides time and place.

Refuses to know how scenes are found.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta
from typing import Any

from shdask.emulator.world.orbit import EarthScene
from shdask.emulator.world.place import AROUND

LETTERS = "ABCDEFGHJKLMNPQRSTUVWXYZ"
ZONES = 60
BASELINE_4_FROM = datetime(2022, 1, 25, tzinfo=UTC)
PROCESSED_AFTER = timedelta(minutes=90)
PIXEL_M = 10


def name_product(scene: EarthScene, level: str) -> str:
    """A product id such as ``S2A_MSIL2A_20240610T101012_N0400_R022_T33QEF_20240610T114012``. Pure.

    The tile reads like one of the military grid, but only its zone is: the emulator has squares of its own.
    """
    zone = int((scene.column + 0.5) * scene.size / AROUND * ZONES + ZONES / 2) + 1
    # a zone is less than eight columns wide
    number = (scene.row + AROUND // scene.size // 2) * 8 + scene.column % 8
    first, rest = divmod(number, len(LETTERS) ** 2)
    second, third = divmod(rest, len(LETTERS))
    tile = f"{zone:02d}{LETTERS[first]}{LETTERS[second]}{LETTERS[third]}"
    baseline = "N0400" if scene.time >= BASELINE_4_FROM else "N0300"
    sensed, made = (f"{time:%Y%m%dT%H%M%S}" for time in (scene.time, scene.time + PROCESSED_AFTER))
    flight = scene.flight
    return f"{flight.satellite_name}_MSI{level}_{sensed}_{baseline}_R{flight.relative_orbit:03d}_T{tile}_{made}"


def describe_product(scene: EarthScene) -> dict[str, Any]:
    """The properties of a Sentinel-2 item, as the service has them, but for ``datetime``. Pure."""
    return {
        "platform": f"sentinel-2{scene.flight.satellite_name[-1].lower()}",
        "instruments": ["msi"],
        "constellation": "sentinel-2",
        "gsd": PIXEL_M,
        "eo:cloud_cover": scene.cloud_cover,
    }
