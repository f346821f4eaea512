"""Where on the globe scenes have data, and the scenes that meet an area, newest first.

Refuses to know what the sensors see, and clouds.
"""

from __future__ import annotations

import math
import re
from collections.abc import Iterator
from datetime import UTC, datetime, timedelta

import numpy as np
import shapely
from numpy.typing import NDArray
from shapely.geometry import Polygon, box
from shapely.geometry.base import BaseGeometry

from shdask.emulator.world.orbit import EarthScene, Orbit, cut_scenes, find_passes
from shdask.emulator.world.place import AROUND, EDGE_LATITUDE, UNIT_M, latitude_of, v_of

RADIUS_M = 6378137.0
PIECES = 8
"""Into how many each edge of a square is cut: the swath's edge, straight in Mercator, stays within a metre."""
EDGE_V = v_of(-EDGE_LATITUDE)
SQUARES_AT_ONCE = 512
"""Squares times days of one step of a search; bounds what is cut in vain."""
STEP_MIN_S, STEP_MAX_S = 300, 20 * 86400
TIME_IN_ID = re.compile(r"_(\d{8}T\d{6})_")


def footprint_of(scene: EarthScene) -> BaseGeometry:
    """The scene's square cut by its swath, in degrees of longitude and latitude; a polygon or multipolygon. Pure.

    Columns are counted so that no square crosses the antimeridian. Beyond 85 degrees the Earth is as it is on that
    parallel, and so are the scenes.
    """
    left, top, size = scene.column * scene.size, scene.row * scene.size, scene.size
    swath = Polygon(
        [
            (scene.middle_top - scene.half_top, top),
            (scene.middle_top + scene.half_top, top),
            (scene.middle_bottom + scene.half_bottom, top + size),
            (scene.middle_bottom - scene.half_bottom, top + size),
        ]
    )
    inner = box(left, max(top, -EDGE_V), left + size, min(top + size, EDGE_V))
    outline = shapely.transform(shapely.segmentize(swath.intersection(inner), size / PIECES), _to_degrees)
    if max(-top, top + size) <= EDGE_V:
        return outline
    return shapely.union(outline, _polar_part(scene, -EDGE_V if top < 0 else EDGE_V))


def search_scenes(orbit: Orbit, area: BaseGeometry, start: datetime, end: datetime) -> Iterator[EarthScene]:
    """Scenes in [start, end] whose footprint meets ``area`` (degrees), newest first, still without clouds. Lazy.

    The order within a second is none. Pure.
    """
    columns, rows = squares_under(orbit, area)
    if not columns or not rows:
        return
    step_s = int(min(max(86400 * SQUARES_AT_ONCE / (len(columns) * len(rows)), STEP_MIN_S), STEP_MAX_S))
    shapely.prepare(area)
    last = end
    while last >= start:
        # scenes have whole seconds: the next step ends one second before this one's first
        first = max(start, last.replace(microsecond=0) - timedelta(seconds=step_s))
        found = [
            scene
            for flight in find_passes(orbit, first, last)
            for scene in cut_scenes(flight, columns, rows, start=first, end=last)
        ]
        for scene in sorted(found, key=lambda scene: scene.time, reverse=True):
            square = _square_of(scene)
            # most squares lie wholly in the area or wholly outside; every square holds a part of its swath
            if area.contains(square) or (area.intersects(square) and area.intersects(footprint_of(scene))):
                yield scene
        last = first - timedelta(seconds=1)


def second_of(scene_id: str) -> datetime | None:
    """The second that an id tells, or None. Pure."""
    match = TIME_IN_ID.search(scene_id)
    try:
        return datetime.strptime(match[1], "%Y%m%dT%H%M%S").replace(tzinfo=UTC) if match else None
    except ValueError:
        return None


def squares_under(orbit: Orbit, area: BaseGeometry) -> tuple[list[int], range]:
    """Columns and rows of the orbit's squares that an area in degrees may meet; empty for an empty area. Pure."""
    size, columns, rows = orbit.scene_units, set[int](), set[int]()
    for part in shapely.get_parts(area):
        west, south, east, north = part.bounds
        columns |= set(range(_square(west / 360 * AROUND, size), _square(east / 360 * AROUND, size) + 1))
        rows |= set(range(_square(_v_within(north), size), _square(_v_within(south), size) + 1))
    return sorted(columns), range(min(rows, default=0), max(rows, default=-1) + 1)


def _square(units: float, size: int) -> int:
    return int(units // size)


def _v_within(latitude: float) -> float:
    return v_of(min(max(latitude, -EDGE_LATITUDE), EDGE_LATITUDE))


def _square_of(scene: EarthScene) -> BaseGeometry:
    around = AROUND // scene.size
    top, bottom = latitude_of(scene.row * scene.size), latitude_of((scene.row + 1) * scene.size)
    return box(
        scene.column * 360 / around,
        -90.0 if bottom < -EDGE_LATITUDE else bottom,
        (scene.column + 1) * 360 / around,
        90.0 if top > EDGE_LATITUDE else top,
    )


def _polar_part(scene: EarthScene, edge_v: float) -> BaseGeometry:
    left, size = scene.column * scene.size, scene.size
    down = (edge_v - scene.row * size) / size
    middle = scene.middle_top + (scene.middle_bottom - scene.middle_top) * down
    half = scene.half_top + (scene.half_bottom - scene.half_top) * down
    west, east = max(left, middle - half), min(left + size, middle + half)
    if west >= east:
        return Polygon()
    latitude = math.copysign(EDGE_LATITUDE, -edge_v)
    return box(west / AROUND * 360, latitude, east / AROUND * 360, math.copysign(90.0, latitude))


def _to_degrees(points: NDArray[np.float64]) -> NDArray[np.float64]:
    latitude = np.degrees(np.arctan(np.sinh(points[:, 1] * (-UNIT_M / RADIUS_M))))
    return np.stack([points[:, 0] * (360.0 / AROUND), latitude], axis=1)
