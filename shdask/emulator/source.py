"""What a collection is to the emulator: bands, scenes in time, and pixels on a lattice.

Refuses to know where the pixels come from.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, Protocol, runtime_checkable

import numpy as np
from numpy.typing import NDArray
from shapely.geometry.base import BaseGeometry

from shdask.emulator.lattice import Lattice
from shdask.emulator.process.choices import Choices

DATA_MASK = "dataMask"


@dataclass(frozen=True, slots=True, kw_only=True)
class BandInfo:
    """One band of a collection."""

    units: Mapping[str, float]
    """Unit -> how many DN make one of it; the first is the default."""
    absent: float = 0.0
    """What a pixel without data holds; Landsat has NaN."""


REFLECTANCE = BandInfo(units={"REFLECTANCE": 10000.0, "DN": 1.0})
"""An optical band as Sentinel-2 has it."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One acquisition: what the mosaicking orders sort by."""

    id: str
    time: datetime
    """UTC."""
    cloud_cover: float
    """Percent; 0 where clouds do not matter."""
    traits: Mapping[str, str] = field(default_factory=dict)
    """What requests may filter by besides time and clouds, such as ``polarization``."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Pixels:
    """Pixels of one scene on one lattice."""

    values: NDArray[np.float32]
    """(band, y, x) in DN; 0 where a band lacks what others have; meaningless where ``data_mask`` is False."""
    data_mask: NDArray[np.bool_]
    """(y, x), True = data."""


class Source(Protocol):
    """A collection's pixels. Every answer depends on its arguments alone, and on no neighbouring pixel's request."""

    name: str
    """As the service's error messages call the collection."""
    bands: Mapping[str, BandInfo]
    """Without ``dataMask``, which every collection has."""

    @property
    def max_metres_per_px(self) -> float | None:
        """Coarsest resolution that is served; None serves any."""
        ...

    def scenes(self, lattice: Lattice, start: datetime, end: datetime) -> Sequence[Scene]:
        """Scenes that may hold data on the lattice, in [start, end], both inclusive."""
        ...

    def render(
        self, scene: Scene, bands: Sequence[str], lattice: Lattice, choices: Choices, wanted: NDArray[np.bool_]
    ) -> Pixels | None:
        """The scene on a block of a lattice; pixels outside ``wanted`` (y, x) need not be right; None: no data."""
        ...


@runtime_checkable
class CataloguedSource(Source, Protocol):
    """A collection whose scenes the Catalog lists; the others, such as a height model, are only Sources."""

    def search(self, area: BaseGeometry, start: datetime, end: datetime) -> Iterator[Scene]:
        """Scenes in [start, end] whose footprint meets ``area``, newest first, equal times by id, later first.

        ``area`` is in degrees of longitude and latitude, within [-180, 180]. Lazy: the first scenes of a whole world
        and year come at once.
        """
        ...

    def find(self, scene_id: str) -> Scene | None:
        """The scene of this id, if there is one."""
        ...

    def footprint(self, scene: Scene) -> BaseGeometry:
        """Where the scene has data: (multi)polygon in degrees of longitude and latitude, cut at the antimeridian.

        True to a small part of a pixel of the collection.
        """
        ...

    def properties(self, scene: Scene) -> dict[str, Any]:
        """The properties of its STAC item but for ``datetime`` and ``proj:``, as JSON values; asked for often."""
        ...
