"""When the satellites of a mission pass where: orbits, their tracks, and the scenes that swaths are cut into.

Refuses to know what the sensors see.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta

from shdask.emulator.source import Scene
from shdask.emulator.world.place import AROUND, UNIT_M, latitude_of

EPOCH = datetime(2015, 6, 23, tzinfo=UTC)
DAY_S = 86400.0


@dataclass(frozen=True, slots=True, kw_only=True)
class Orbit:
    """The sun-synchronous orbit that a mission's satellites share, and the swath they see."""

    satellites: tuple[str, ...]
    """Their names; they fly one behind the other, evenly spread over the cycle."""
    cycle_days: int
    """After so many days a satellite flies over the same track again."""
    orbits_a_cycle: int
    inclination: float
    """Degrees."""
    local_hour: float
    """Local solar time at the descending node."""
    half_swath_m: float
    swath_offset_m: float = 0.0
    """How far right of the track the middle of the swath lies, as seen in flight."""
    scene_units: int = 4096
    """Side of a scene: 156 km at the equator, 108 km at 46 degrees."""
    ascending: tuple[bool, ...] = (False,)
    """On which halves of an orbit the sensor looks: on the way south (False), on the way north (True)."""

    @property
    def period_s(self) -> float:
        """Of one orbit. Pure."""
        return self.cycle_days * DAY_S / self.orbits_a_cycle


SENTINEL_2 = Orbit(
    satellites=("S2A", "S2B"),
    cycle_days=10,
    orbits_a_cycle=143,
    inclination=98.62,
    local_hour=10.5,
    half_swath_m=147_000.0,
)


@dataclass(frozen=True, slots=True, kw_only=True)
class Pass:
    """Half an orbit of one satellite, on its way south or north."""

    orbit: Orbit
    number: int
    """Names the pass among all of its mission."""
    satellite: int
    revolution: int
    """Of this satellite, counted from its first one."""
    ascending: bool
    node_s: float
    """Seconds after EPOCH when it crosses the equator."""

    @property
    def relative_orbit(self) -> int:
        """Number of the track, 1 .. orbits_a_cycle. Pure."""
        return self.revolution % self.orbit.orbits_a_cycle + 1

    @property
    def satellite_name(self) -> str:
        """Such as S2A. Pure."""
        return self.orbit.satellites[self.satellite]


@dataclass(frozen=True, slots=True, kw_only=True)
class EarthScene(Scene):
    """One square of one pass; the swath's edges are straight lines inside it."""

    flight: Pass
    column: int
    row: int
    """The square covers u in [column, column + 1) * scene_units, v likewise."""
    middle_top: float
    """u of the swath's middle at the square's upper edge."""
    middle_bottom: float
    half_top: float
    """Half of the swath's width in units of u."""
    half_bottom: float

    @property
    def size(self) -> int:
        """Side of the square in units. Pure."""
        return self.flight.orbit.scene_units

    @property
    def pass_number(self) -> int:
        """Names the pass among all of its mission. Pure."""
        return self.flight.number

    @property
    def day(self) -> float:
        """Day of the northern year: half a year later on the southern half. Pure."""
        season = 0.0 if self.row < 0 else 182.6
        return (self.time.timetuple().tm_yday + season) % 365.25


def find_passes(orbit: Orbit, start: datetime, end: datetime) -> Iterator[Pass]:
    """Passes that may see any place in [start, end]. Pure."""
    slack_s = orbit.period_s / 2
    first = ((start - EPOCH).total_seconds() - slack_s) / orbit.period_s
    last = ((end - EPOCH).total_seconds() + slack_s) / orbit.period_s
    for half, ascending in enumerate(orbit.ascending):
        for satellite in range(len(orbit.satellites)):
            lag = satellite * orbit.orbits_a_cycle / len(orbit.satellites) + 0.5 * ascending
            for revolution in range(math.ceil(first - lag), math.floor(last - lag) + 1):
                yield Pass(
                    orbit=orbit,
                    number=(revolution * len(orbit.ascending) + half) * len(orbit.satellites) + satellite,
                    satellite=satellite,
                    revolution=revolution,
                    ascending=ascending,
                    node_s=(revolution + lag) * orbit.period_s,
                )


def cut_scenes(
    flight: Pass, columns: Iterable[int], rows: Iterable[int], *, start: datetime, end: datetime
) -> Iterator[EarthScene]:
    """The pass's scenes among these squares and in [start, end], still without clouds. Pure.

    Columns may go on past the antimeridian; a square has one name, from whichever side it is counted.
    """
    size = flight.orbit.scene_units
    around = AROUND // size
    named = dict.fromkeys((column + around // 2) % around - around // 2 for column in columns)
    for row in rows:
        top, half_top, _ = _swath(flight, row * size)
        bottom, half_bottom, _ = _swath(flight, (row + 1) * size)
        when = EPOCH + timedelta(seconds=round(flight.node_s + _swath(flight, (row + 0.5) * size)[2]))
        if not start <= when <= end:
            continue
        for column in named:
            left = column * size
            near = round((left - top) / AROUND) * AROUND
            if min(top - half_top, bottom - half_bottom) + near >= left + size:
                continue
            if max(top + half_top, bottom + half_bottom) + near <= left:
                continue
            yield EarthScene(
                id=f"{flight.satellite_name}_{when:%Y%m%dT%H%M%S}_R{flight.relative_orbit:03d}_{column}_{row}",
                time=when,
                cloud_cover=0.0,
                flight=flight,
                column=column,
                row=row,
                middle_top=top + near,
                middle_bottom=bottom + near,
                half_top=half_top,
                half_bottom=half_bottom,
            )


def _swath(flight: Pass, v: float) -> tuple[float, float, float]:
    # u of the swath's middle, half of its width in units, and seconds since the node
    orbit = flight.orbit
    latitude, inclination = math.radians(latitude_of(v)), math.radians(orbit.inclination)
    # past the turning latitude there is no track; the last one stands for it
    sine = max(-1.0, min(1.0, math.sin(latitude) / math.sin(inclination)))
    northwards = 1.0 if flight.ascending else -1.0
    angle = northwards * math.asin(sine)
    seconds = angle / (2 * math.pi) * orbit.period_s
    hours = (flight.node_s / 3600.0) % 24.0
    at_node = (orbit.local_hour + 12.0 * flight.ascending - hours) * 15.0
    drift = math.degrees(math.atan2(math.cos(inclination) * math.sin(angle), math.cos(angle)))
    track = (at_node + drift - seconds / DAY_S * 360.0) / 360.0 * AROUND
    unit_m = UNIT_M * math.cos(latitude)
    # right of the flight is east on the way north, west on the way south
    return track + northwards * orbit.swath_offset_m / unit_m, orbit.half_swath_m / unit_m, seconds


def sun_of(scene: EarthScene, down: float = 0.5) -> tuple[float, float, float]:
    """(east, south, up) of the unit vector towards the sun, as in the morning at the scene's latitude. Pure.

    ``down`` tells how far down the square: 0 at its upper edge, 1 at its lower.
    """
    latitude = latitude_of((scene.row + down) * scene.size)
    declination = 23.4 * math.sin(2 * math.pi * (scene.day - 81.0) / 365.25)
    height = math.radians(max(12.0, 86.0 - abs(abs(latitude) - declination)))
    azimuth = math.radians(28.0)
    southern = -1.0 if scene.row >= 0 else 1.0
    level = math.cos(height)
    return level * math.sin(azimuth), level * math.cos(azimuth) * southern, math.sin(height)
