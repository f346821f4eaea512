"""The scenes of one orbit as a collection shows them: found for requests and for the Catalog, named and described.

Refuses to know what the sensors see.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Callable, Iterator, Sequence
from datetime import datetime
from functools import lru_cache
from itertools import groupby

import numpy as np
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from shdask.emulator.globe import WORLD
from shdask.emulator.lattice import Lattice
from shdask.emulator.source import Scene
from shdask.emulator.world.footprint import search_scenes, second_of
from shdask.emulator.world.orbit import EarthScene, Orbit
from shdask.emulator.world.place import Place, locate
from shdask.emulator.world.swath import across_swath, find_inside_scene, find_scenes, misses, squares_of
from shdask.emulator.world.view import AIR_REACH

SEARCHES_KEPT = 32


class Mission:
    """The search for scenes of an orbit; keeps the latest answers.

    ``finish`` gives scenes of one orbit the ids, clouds and traits of a collection; the id tells the second.
    """

    def __init__(self, orbit: Orbit, finish: Callable[[Sequence[EarthScene]], Sequence[EarthScene]]) -> None:
        self._orbit = orbit
        self._finish = finish
        self._found: OrderedDict[tuple[range, range, datetime, datetime], Sequence[EarthScene]] = OrderedDict()

    def scenes(self, lattice: Lattice, start: datetime, end: datetime) -> Sequence[Scene]:
        """Squares of passes that may touch the lattice in [start, end]."""
        squares = squares_of(self._orbit, lattice)
        question = (*squares, start, end)
        if question not in self._found:
            self._found[question] = self._finish(find_scenes(self._orbit, squares, start, end))
            if len(self._found) > SEARCHES_KEPT:
                self._found.popitem(last=False)
        return self._found[question]

    def search(self, area: BaseGeometry, start: datetime, end: datetime) -> Iterator[Scene]:
        """Scenes in [start, end] whose footprint meets the area in degrees, newest first, equal times by id."""
        for _, together in groupby(search_scenes(self._orbit, area, start, end), key=lambda scene: scene.time):
            yield from sorted(self._finish(list(together)), key=lambda scene: scene.id, reverse=True)

    def find(self, scene_id: str) -> Scene | None:
        """The scene of an id, by the second in it."""
        when = second_of(scene_id)
        found = self.search(WORLD, when, when) if when else iter(())
        return next((scene for scene in found if scene.id == scene_id), None)


@lru_cache(maxsize=2)
def place_of(lattice: Lattice) -> Place:
    """Where the pixels of a block lie; kept, for each scene asks again. Pure."""
    return locate(lattice)


def see_swath(scene: EarthScene, place: Place, wanted: NDArray[np.bool_]) -> NDArray[np.bool_] | None:
    """(y, x), True where the scene holds data; None where it holds nothing that is wanted. Pure."""
    if misses(scene, place):
        return None
    mesh = place.mesh(AIR_REACH)
    data_mask = find_inside_scene(scene, place, mesh.spread(across_swath(scene, mesh)))
    return data_mask if (data_mask & wanted).any() else None


def of_earth(scene: Scene) -> EarthScene:
    """The scene, which must be one of the synthetic Earth; raises TypeError for another. Pure."""
    if not isinstance(scene, EarthScene):
        raise TypeError(f"{scene.id} is no scene of the synthetic Earth")
    return scene
