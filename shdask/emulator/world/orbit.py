"""When two satellites pass where: orbits, swaths and the scenes they are cut into.

Refuses to know what the sensors see.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from shdask.emulator.source import Scene
from shdask.emulator.world.place import AROUND, UNIT_M, latitude_of

EPOCH = datetime(2015, 6, 23, tzinfo=UTC)
ORBITS_A_CYCLE = 143
CYCLE_S = 10 * 86400.0
PERIOD_S = CYCLE_S / ORBITS_A_CYCLE
INCLINATION = math.radians(98.62)
LOCAL_HOUR = 10.5
"""Local solar time at the descending node."""
HALF_SWATH_M = 147_000.0
SCENE_UNITS = 4096
"""Side of a scene: 156 km at the equator, 108 km at 46 degrees."""
SHORT_YEAR_DAY = 86400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class EarthScene(Scene):
    """One square of one pass; the swath's edges are straight lines inside it."""

    pass_number: int
    """Even: first satellite, odd: second."""
    column: int
    row: int
    """The square covers u in [column, column + 1) * SCENE_UNITS, v likewise."""
    track_top: float
    """u of the ground track at the square's upper edge."""
    track_bottom: float
    half_top: float
    """Half of the swath's width in units of u."""
    half_bottom: float

    @property
    def day(self) -> float:
        """Day of the northern year: half a year later on the southern half. Pure."""
        season = 0.0 if self.row < 0 else 182.6
        return (self.time.timetuple().tm_yday + season) % 365.25


def passes(start: datetime, end: datetime) -> Iterator[tuple[int, float]]:
    """(number, seconds since EPOCH at the descending node) of passes that may see any place in [start, end]. Pure."""
    # the two satellites are half a cycle apart, so even and odd numbers are the two
    slack_s = PERIOD_S / 2
    first = ((start - EPOCH).total_seconds() - slack_s) / PERIOD_S
    last = ((end - EPOCH).total_seconds() + slack_s) / PERIOD_S
    for satellite in (0, 1):
        lag = satellite * (ORBITS_A_CYCLE / 2)
        for orbit in range(math.ceil(first - lag), math.floor(last - lag) + 1):
            yield 2 * orbit + satellite, (orbit + lag) * PERIOD_S


def cross_squares(
    number: int, node_s: float, columns: range, rows: range, *, start: datetime, end: datetime
) -> Iterator[EarthScene]:
    """The pass's scenes among these squares and in [start, end], still without clouds. Pure."""
    for row in rows:
        top, half_top, _ = _track(node_s, row * SCENE_UNITS)
        bottom, half_bottom, _ = _track(node_s, (row + 1) * SCENE_UNITS)
        when = EPOCH + timedelta(seconds=round(node_s + _track(node_s, (row + 0.5) * SCENE_UNITS)[2]))
        if not start <= when <= end:
            continue
        for column in columns:
            left = column * SCENE_UNITS
            near = round((left - top) / AROUND) * AROUND
            if min(top - half_top, bottom - half_bottom) + near >= left + SCENE_UNITS:
                continue
            if max(top + half_top, bottom + half_bottom) + near <= left:
                continue
            yield EarthScene(
                id=f"S2{'AB'[number % 2]}_{when:%Y%m%dT%H%M%S}_R{number // 2 % ORBITS_A_CYCLE + 1:03d}_{column}_{row}",
                time=when,
                cloud_cover=0.0,
                pass_number=number,
                column=column,
                row=row,
                track_top=top + near,
                track_bottom=bottom + near,
                half_top=half_top,
                half_bottom=half_bottom,
            )


def _track(node_s: float, v: float) -> tuple[float, float, float]:
    latitude = math.radians(latitude_of(v))
    # past the turning latitude there is no track; the last one stands for it
    sine = max(-1.0, min(1.0, math.sin(latitude) / math.sin(INCLINATION)))
    angle = -math.asin(sine)
    seconds = angle / (2 * math.pi) * PERIOD_S
    hours = (node_s / 3600.0) % 24.0
    at_node = (LOCAL_HOUR - hours) * 15.0
    drift = math.degrees(math.atan2(math.cos(INCLINATION) * math.sin(angle), math.cos(angle)))
    longitude = at_node + drift - seconds / SHORT_YEAR_DAY * 360.0
    half = HALF_SWATH_M / (UNIT_M * math.cos(latitude))
    return longitude / 360.0 * AROUND, half, seconds


def sun_of(scene: EarthScene) -> tuple[float, float, float]:
    """(east, south, up) of the unit vector towards the sun, as in the morning at the scene's latitude. Pure."""
    latitude = latitude_of((scene.row + 0.5) * SCENE_UNITS)
    declination = 23.4 * math.sin(2 * math.pi * (scene.day - 81.0) / 365.25)
    height = math.radians(max(12.0, 86.0 - abs(abs(latitude) - declination)))
    azimuth = math.radians(28.0)
    southern = -1.0 if scene.row >= 0 else 1.0
    level = math.cos(height)
    return level * math.sin(azimuth), level * math.cos(azimuth) * southern, math.sin(height)
