"""What a collection is to the emulator: bands, scenes in time, and pixels on a lattice.

Refuses to know where the pixels come from.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Literal, Protocol

import numpy as np
from numpy.typing import NDArray

from shdask.emulator.lattice import Lattice

Resampling = Literal["NEAREST", "BILINEAR", "BICUBIC"]

DATA_MASK = "dataMask"


@dataclass(frozen=True, slots=True, kw_only=True)
class BandInfo:
    """One band of a collection."""

    units: Mapping[str, float]
    """Unit -> how many DN make one of it; the first is the default."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Scene:
    """One acquisition: what the mosaicking orders sort by."""

    id: str
    time: datetime
    """UTC."""
    cloud_cover: float
    """Percent."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Sampling:
    """How source pixels become output pixels."""

    upsampling: Resampling = "NEAREST"
    """Where the request is finer than the source."""
    downsampling: Resampling = "NEAREST"
    """Where the request is coarser than the source."""


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
    max_metres_per_px: float | None
    """Coarsest resolution that is served; None serves any."""

    def scenes(self, lattice: Lattice, start: datetime, end: datetime) -> Sequence[Scene]:
        """Scenes that may hold data on the lattice, in [start, end], both inclusive."""
        ...

    def render(
        self, scene: Scene, bands: Sequence[str], lattice: Lattice, sampling: Sampling, wanted: NDArray[np.bool_]
    ) -> Pixels | None:
        """The scene on a block of a lattice; pixels outside ``wanted`` (y, x) need not be right; None: no data."""
        ...
