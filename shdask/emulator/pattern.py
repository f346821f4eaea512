"""The collection ``pattern``: a cheap exact field for benchmarks and tests, DN = a sum of the absolute pixel index.

Refuses to look like anything.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from datetime import datetime

import numpy as np
from numpy.typing import NDArray

from shdask.emulator.lattice import Lattice
from shdask.emulator.process.choices import Choices
from shdask.emulator.source import REFLECTANCE, BandInfo, Pixels, Scene

BANDS: Mapping[str, BandInfo] = {f"B{n:02d}": REFLECTANCE for n in range(1, 13)}
RANGE_DN = 10000


class PatternSource:
    """One scene a request, at the start of its time range, with data everywhere.

    DN of band number n (0 for B01) at absolute column i and row j: 1 + (7 i + 13 j + 101 n) mod 10000.
    """

    def __init__(self) -> None:
        self.name = "PATTERN"
        self.bands = BANDS
        self.max_metres_per_px: float | None = None

    def scenes(self, lattice: Lattice, start: datetime, end: datetime) -> Sequence[Scene]:
        """One scene without clouds."""
        del lattice, end
        return (Scene(id="pattern", time=start, cloud_cover=0.0),)

    def render(
        self, scene: Scene, bands: Sequence[str], lattice: Lattice, choices: Choices, wanted: NDArray[np.bool_]
    ) -> Pixels | None:
        """The checksum of each pixel's absolute index."""
        del scene, choices, wanted
        columns = 7 * np.arange(lattice.column, lattice.column + lattice.width)
        rows = 13 * np.arange(lattice.row, lattice.row + lattice.height)
        offsets = np.array([101 * tuple(BANDS).index(band) for band in bands], dtype=np.int64)
        field = offsets[:, None, None] + rows[:, None] + columns
        return Pixels(
            values=(1 + field % RANGE_DN).astype(np.float32), data_mask=np.ones(lattice.shape, dtype=np.bool_)
        )
