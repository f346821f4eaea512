"""The pixels of a sensor under the pixels of a request: a grid of its own, and how to get from one to the other.

Refuses to know what the sensor sees.
"""

from __future__ import annotations

import math
from dataclasses import dataclass

import numpy as np
from numpy.typing import NDArray

from shdask.emulator.lattice import Lattice
from shdask.emulator.process.choices import Resampling
from shdask.emulator.render.resample import MARGIN_PX, sample
from shdask.emulator.world.orbit import EarthScene
from shdask.emulator.world.place import AROUND, UNIT_M, Place, latitude_of

Coordinates = NDArray[np.float64]
Floats = NDArray[np.float32]


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Cells:
    """A sensor's pixels under a block, and where the block's pixels lie among them."""

    lattice: Lattice
    """Of the cells, in Mercator; the same cells for all blocks of a scene and all scenes of its row of squares."""
    columns: Coordinates
    """(y, x) in cells from the lattice's left edge, of the block's pixels."""
    rows: Coordinates

    def spread(self, raster: Floats, resampling: Resampling) -> Floats:
        """(y, x) values of the block's pixels from a (row, column) raster of the cells. Pure."""
        if resampling != "NEAREST":
            return sample(raster, np.ones(raster.shape, dtype=np.bool_), self.columns, self.rows, resampling)[0]
        return raster.reshape(-1).take(self._nearest())

    def _nearest(self) -> NDArray[np.int64]:
        return self.rows.astype(np.int64) * self.lattice.width + self.columns.astype(np.int64)


def level_m(pixel_m: float, resolution_m: float) -> float:
    """The side of cells for a request: the sensor's pixel, doubled while that is not coarser than asked. Pure."""
    return pixel_m * 2.0 ** max(0, math.floor(math.log2(resolution_m / pixel_m) + 1e-9))


def grow(mask: NDArray[np.bool_]) -> NDArray[np.bool_]:
    """True also in the eight cells around; those at a raster's edge are for no pixel. Pure."""
    tall = mask.copy()
    tall[1:] |= mask[:-1]
    tall[:-1] |= mask[1:]
    grown = tall.copy()
    grown[:, 1:] |= tall[:, :-1]
    grown[:, :-1] |= tall[:, 1:]
    return grown


def lay_cells(scene: EarthScene, place: Place, size_m: float) -> Cells:
    """Cells of about ``size_m`` metres at the middle of the scene under the pixels of a place. Pure.

    A whole number of them goes round the globe, so that they do not depend on where a block begins.
    """
    metres = UNIT_M * math.cos(math.radians(latitude_of((scene.row + 0.5) * scene.size)))
    per_unit = round(AROUND * metres / size_m) / AROUND
    first = place.u.flat[0]
    # across the antimeridian the columns go on
    u = (
        place.u
        if np.ptp(place.extent[:2]) < AROUND / 2
        else first + (place.u - first + AROUND / 2) % AROUND - AROUND / 2
    )
    columns, rows = u * per_unit, place.v * per_unit
    left, right = math.floor(columns.min()) - MARGIN_PX, math.floor(columns.max()) + MARGIN_PX + 1
    top, bottom = math.floor(rows.min()) - MARGIN_PX, math.floor(rows.max()) + MARGIN_PX + 1
    size = UNIT_M / per_unit
    lattice = Lattice(
        crs="EPSG:3857",
        res_x=size,
        res_y=size,
        fraction_x=0.0,
        fraction_y=0.0,
        column=left,
        row=top,
        width=right - left,
        height=bottom - top,
    )
    return Cells(lattice=lattice, columns=columns - left, rows=rows - top)
