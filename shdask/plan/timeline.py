"""One time axis from a catalogue's scenes: a step per pass, day, dekad, month or period in which there is a scene.

Pure. Refuses to know grids, catalogues, and which part of a cube a step reaches.
"""

from __future__ import annotations

from collections.abc import Callable, Hashable, Iterable, Sequence
from dataclasses import dataclass, replace
from datetime import datetime, timedelta
from itertools import pairwise
from typing import TYPE_CHECKING, TypeVar

import numpy as np
import shapely

from shdask.model import TimeInterval
from shdask.plan.acquisition import Acquisition
from shdask.plan.cadence import ACQUISITION, find_spans

if TYPE_CHECKING:
    from numpy.typing import NDArray

PASS_GAP = timedelta(minutes=20)
"""Scenes of one satellite this far apart belong to two passes: an orbit lasts about a hundred minutes."""
NODE_GAP = timedelta(minutes=1)
"""The number of the orbit changes at the equator, in the middle of a pass; its scenes follow within seconds."""
LAST_ORBITS = frozenset((143, 175, 233))
"""Of the cycles of Sentinel-2, Sentinel-1 and Landsat: the next is 1."""
SECOND = timedelta(seconds=1)
TICK = timedelta(milliseconds=1)

Key = TypeVar("Key", bound=Hashable)


@dataclass(frozen=True, slots=True, kw_only=True)
class Step:
    """One date of a cube. Its members are what the cube's coordinates of that date hold."""

    interval: TimeInterval
    """What a request for this step asks for."""
    time: datetime
    """The coordinate, UTC: the first scene's time for a pass, the start of the (whole) span otherwise."""
    acquisitions: tuple[Acquisition, ...]
    """At least one, by time and id. Those of a revision are only the scenes that made it necessary."""
    revision: int = 0
    """Above 0: buys the step of the same ``time`` again, where its scenes reach."""

    @property
    def scene_ids(self) -> tuple[str, ...]:
        """By time and id."""
        return tuple(scene.id for scene in self.acquisitions)

    @property
    def platforms(self) -> tuple[str, ...]:
        """Satellites in alphabetical order; empty where none is known."""
        return tuple(sorted({scene.platform for scene in self.acquisitions if scene.platform}))

    @property
    def relative_orbit(self) -> int | None:
        """The first scene's, where the step is one pass (it changes where a pass crosses the equator); else None."""
        first, last = self.acquisitions[0].relative_orbit, self.acquisitions[-1].relative_orbit
        is_one = all(scene.relative_orbit in {first, last} for scene in self.acquisitions)
        return first if is_one and _follows(first, last) and len(_split(self.acquisitions)) == 1 else None

    @property
    def orbit_direction(self) -> str | None:
        """``ascending`` or ``descending`` where all scenes share it, else None."""
        return _common(scene.orbit_direction for scene in self.acquisitions)

    @property
    def baseline(self) -> str | None:
        """Version of the processing where all scenes share it, else None."""
        return _common(scene.baseline for scene in self.acquisitions)

    @property
    def cloud_cover(self) -> float | None:
        """Mean of the scenes' shares, weighted by the area of their whole footprints; None where no scene tells."""
        told = [(scene.cloud_cover, _weight(scene)) for scene in self.acquisitions if scene.cloud_cover is not None]
        total = sum(weight for _, weight in told)
        return sum(cover * weight for cover, weight in told) / total if total else None


@dataclass(frozen=True, slots=True, kw_only=True)
class Timeline:
    """The steps of a cube's layer: by ``time`` when it is made; what is appended later may be of any date."""

    cadence: str
    """``acquisition``, ``day``, ``dekad``, ``month`` or an ISO period."""
    interval: TimeInterval
    """The job's time, from whose start ISO periods are counted."""
    steps: tuple[Step, ...]

    @property
    def notes(self) -> tuple[str, ...]:
        """What had to be assumed of footprints, a line each."""
        return tuple(scene.note for step in self.steps for scene in step.acquisitions if scene.note)


def make_timeline(acquisitions: Iterable[Acquisition], cadence: str, interval: TimeInterval) -> Timeline:
    """The steps that scenes make. Pure. Raises PlanError for a cadence that is not known.

    A scene is named once, whatever is given twice, and those outside the half-open ``interval`` are left out. A
    step of cadence ``acquisition`` is one pass: scenes of one satellite, direction and relative orbit, as far as they
    are known, without a gap of 20 minutes. Its interval reaches from the whole second of its first scene to the end
    of the last scene's second, since some deployments tell no more. Other steps ask for their whole span, cut at
    ``interval``. A span without a scene is no step.

    Where two steps would have one ``time``, as two satellites' passes may over a wide area, the later by interval,
    platform and scene id is put a millisecond later.
    """
    named = {scene.id: scene for scene in reversed(list(acquisitions))}
    inside = [scene for scene in named.values() if interval.start <= scene.time < interval.end]
    scenes = sorted(inside, key=lambda scene: (scene.time, scene.id))
    steps = _find_passes(scenes, interval) if cadence == ACQUISITION else _find_periods(scenes, cadence, interval)
    return Timeline(cadence=cadence, interval=interval, steps=_told_apart(steps))


def _find_passes(scenes: Sequence[Acquisition], interval: TimeInterval) -> list[Step]:
    tracks = _group(scenes, lambda scene: (scene.platform, scene.orbit_direction, scene.relative_orbit))
    passes = [flight for track in tracks.values() for flight in _split(track)]
    return [_pass_step(flight, interval) for flight in _join_at_node(passes)]


def _split(scenes: Sequence[Acquisition]) -> list[list[Acquisition]]:
    flights = [[scenes[0]]]
    for before, scene in pairwise(scenes):
        if scene.time - before.time > PASS_GAP:
            flights.append([])
        flights[-1].append(scene)
    return flights


def _join_at_node(flights: Sequence[list[Acquisition]]) -> list[list[Acquisition]]:
    """The same flights, those in one where a satellite flies on across the equator into its next orbit."""
    joined: list[list[Acquisition]] = []
    for flight in sorted(flights, key=lambda flight: (flight[0].platform or "", flight[0].time)):
        last = joined[-1][-1] if joined else None
        if last is not None and _flies_on(last, flight[0]):
            joined[-1].extend(flight)
        else:
            joined.append(list(flight))
    return joined


def _flies_on(last: Acquisition, first: Acquisition) -> bool:
    if last.platform is None or last.platform != first.platform or last.orbit_direction != first.orbit_direction:
        return False
    if last.relative_orbit == first.relative_orbit or not _follows(last.relative_orbit, first.relative_orbit):
        return False
    return timedelta(0) <= first.time - last.time <= NODE_GAP


def _follows(first: int | None, last: int | None) -> bool:
    """Whether the orbit ``last`` is ``first`` or the one after it."""
    if first is None or last is None:
        return False
    return last in {first, 1 if first in LAST_ORBITS else first + 1}


def _pass_step(scenes: Sequence[Acquisition], interval: TimeInterval) -> Step:
    start = scenes[0].time.replace(microsecond=0)
    end = scenes[-1].time.replace(microsecond=0) + SECOND
    asked = TimeInterval(start=max(start, interval.start), end=min(end, interval.end))
    return Step(interval=asked, time=scenes[0].time, acquisitions=tuple(scenes))


def _find_periods(scenes: Sequence[Acquisition], cadence: str, interval: TimeInterval) -> list[Step]:
    span_of = find_spans(cadence, interval)
    steps = []
    for span, inside in _group(scenes, lambda scene: span_of(scene.time)).items():
        asked = TimeInterval(start=max(span.start, interval.start), end=min(span.end, interval.end))
        steps.append(Step(interval=asked, time=span.start, acquisitions=tuple(inside)))
    return steps


def _group(scenes: Iterable[Acquisition], key_of: Callable[[Acquisition], Key]) -> dict[Key, list[Acquisition]]:
    groups: dict[Key, list[Acquisition]] = {}
    for scene in scenes:
        groups.setdefault(key_of(scene), []).append(scene)
    return groups


def _told_apart(steps: Iterable[Step]) -> tuple[Step, ...]:
    """The steps by time, each later than the one before."""
    ordered = sorted(steps, key=lambda step: (step.time, step.interval.end, step.platforms, step.scene_ids))
    apart: list[Step] = []
    for step in ordered:
        is_later = not apart or step.time > apart[-1].time
        apart.append(step if is_later else replace(step, time=apart[-1].time + TICK))
    return tuple(apart)


def _common(values: Iterable[str | None]) -> str | None:
    found = set(values)
    return found.pop() if len(found) == 1 else None


def _weight(scene: Acquisition) -> float:
    """Area of a footprint, in a unit that is the same everywhere on a sphere."""
    return float(shapely.area(shapely.transform(scene.footprint, _equal_area)))


def _equal_area(points: NDArray[np.float64]) -> NDArray[np.float64]:
    return np.stack((points[:, 0], np.degrees(np.sin(np.radians(points[:, 1])))), axis=1)
