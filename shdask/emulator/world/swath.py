"""Which scenes touch an area, and which of its pixels a scene's square and swath hold.

Refuses to know what the sensors see, and clouds.
"""

from __future__ import annotations

from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from shdask.emulator.lattice import Lattice
from shdask.emulator.world.orbit import EarthScene, Orbit, cut_scenes, find_passes
from shdask.emulator.world.place import AROUND, Mesh, Place, to_units

EDGE_POINTS = 17

F = np.float32


def squares_of(orbit: Orbit, lattice: Lattice) -> tuple[range, range]:
    """Columns and rows of the orbit's squares that a lattice may touch. Pure."""
    size = orbit.scene_units
    left, bottom, right, top = lattice.bounds()
    x, y = np.meshgrid(np.linspace(left, right, EDGE_POINTS), np.linspace(bottom, top, EDGE_POINTS))
    u, v = to_units(lattice.crs, x, y)
    # counted from one corner, so that an area across the antimeridian stays in one piece
    u = u.flat[0] + (u - u.flat[0] + AROUND / 2) % AROUND - AROUND / 2
    slack = size / 64
    columns = range(int((u.min() - slack) // size), int((u.max() + slack) // size) + 1)
    rows = range(int((v.min() - slack) // size), int((v.max() + slack) // size) + 1)
    return columns, rows


def find_scenes(orbit: Orbit, squares: tuple[range, range], start: datetime, end: datetime) -> list[EarthScene]:
    """Scenes among these squares (columns, rows) in [start, end], still without clouds. Pure."""
    columns, rows = squares
    return [
        scene
        for flight in find_passes(orbit, start, end)
        for scene in cut_scenes(flight, columns, rows, start=start, end=end)
    ]


def misses(scene: EarthScene, place: Place) -> bool:
    """Whether the scene's square holds no pixel of the place; some that hold none are not told apart. Pure."""
    west, east, north, south = place.extent
    left, top = _from_square(np.array([west, east]), scene.column * scene.size), scene.row * scene.size
    if north >= top + scene.size or south < top:
        return True
    # where the ends are not in order the block may surround the square
    return bool(left[0] <= left[1] and (left[0] >= scene.size or left[1] < 0))


def find_inside_scene(scene: EarthScene, place: Place, across: NDArray[np.float32]) -> NDArray[np.bool_]:
    """(y, x), True where the scene holds data: in its square and, by ``across_swath``, in its swath. Pure."""
    left, top = scene.column * scene.size, scene.row * scene.size
    east = _from_square(place.u, left)
    in_square = (east >= 0) & (east < scene.size) & (place.v >= top) & (place.v < top + scene.size)
    return np.asarray(in_square & (np.abs(across) <= F(1)))


def across_swath(scene: EarthScene, place: Place | Mesh) -> NDArray[np.float32]:
    """Position of each pixel or node across the swath: -1 its western edge, 1 its eastern. Pure."""
    left, top = scene.column * scene.size, scene.row * scene.size
    down = (place.v - top) * (1.0 / scene.size)
    middle = scene.middle_top - left + (scene.middle_bottom - scene.middle_top) * down
    half = scene.half_top + (scene.half_bottom - scene.half_top) * down
    return ((_from_square(place.u, left) - middle) / half).astype(np.float32)


def _from_square(u: NDArray[np.float64], left: float) -> NDArray[np.float64]:
    east = u - left
    return np.asarray(east - np.floor(east * (1.0 / AROUND) + 0.25) * AROUND)
