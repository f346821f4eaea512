"""The one grid of a cube: pixel edges are origin + integer x resolution, each computed once from its integer.

Refuses to know areas, tiles and time. GeoBox comes from odc-geo; the integer lattice is all this adds.
"""

from __future__ import annotations

from dataclasses import dataclass
from fractions import Fraction
from math import ceil, floor
from typing import TYPE_CHECKING

import numpy as np

from shdask.model import Window

if TYPE_CHECKING:
    from numpy.typing import NDArray
    from odc.geo.geobox import GeoBox

Bounds = tuple[float, float, float, float]
"""(left, bottom, right, top) in CRS units."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Grid:
    """A north-up array of pixels on an integer lattice."""

    epsg: int
    origin: tuple[float, float]
    """(x, y) of the lattice's zero, in CRS units."""
    resolution: tuple[float, float]
    """(x, y) size of a pixel in CRS units, both above 0."""
    offset: tuple[int, int]
    """(columns east, rows north) from the origin to the array's upper left corner."""
    shape: tuple[int, int]
    """(rows, columns)."""

    @property
    def crs(self) -> str:
        """``EPSG:n``."""
        return f"EPSG:{self.epsg}"

    @property
    def window(self) -> Window:
        """The whole array."""
        return Window(y0=0, y1=self.shape[0], x0=0, x1=self.shape[1])

    @property
    def transform(self) -> tuple[float, float, float, float, float, float]:
        """Affine (a, b, c, d, e, f): x = a * column + c, y = e * row + f at pixel corners, in CRS units."""
        rx, ry = self.resolution
        return rx, 0.0, self._x_edge(0), 0.0, -ry, self._y_edge(0)

    @property
    def geobox(self) -> GeoBox:
        """The whole array as an odc-geo GeoBox."""
        from affine import Affine
        from odc.geo.geobox import GeoBox  # takes half a second to import

        return GeoBox(self.shape, Affine(*self.transform), self.crs)

    def bounds(self, window: Window | None = None) -> Bounds:
        """(left, bottom, right, top) of a window, or of the array, in CRS units. Pure.

        Two windows that share an edge get the same number for it, to the bit.
        """
        w = window or self.window
        return self._x_edge(w.x0), self._y_edge(w.y1), self._x_edge(w.x1), self._y_edge(w.y0)

    def x_coords(self, window: Window | None = None) -> NDArray[np.float64]:
        """(x,) pixel centres from west to east in CRS units; a window's are a slice of the array's. Pure."""
        w = window or self.window
        return self.origin[0] + (np.arange(w.x0, w.x1, dtype=np.float64) + self.offset[0] + 0.5) * self.resolution[0]

    def y_coords(self, window: Window | None = None) -> NDArray[np.float64]:
        """(y,) pixel centres from north to south in CRS units; a window's are a slice of the array's. Pure."""
        w = window or self.window
        return self.origin[1] + (self.offset[1] - np.arange(w.y0, w.y1, dtype=np.float64) - 0.5) * self.resolution[1]

    def _x_edge(self, column: int) -> float:
        return self.origin[0] + (self.offset[0] + column) * self.resolution[0]

    def _y_edge(self, row: int) -> float:
        return self.origin[1] + (self.offset[1] - row) * self.resolution[1]


def snap_grid(*, epsg: int, origin: tuple[float, float], resolution: tuple[float, float], bounds: Bounds) -> Grid:
    """The smallest grid on the lattice that holds ``bounds`` (left, bottom, right, top; CRS units). Pure.

    Numbers are taken as the decimals they are written with, so that 14.1 lies on a lattice of 0.0001 and
    no tolerance is needed.
    """
    left, bottom, right, top = bounds
    (west, east), (south, north) = (
        _cells(low, high, zero, step)
        for low, high, zero, step in zip((left, bottom), (right, top), origin, resolution, strict=True)
    )
    return Grid(
        epsg=epsg, origin=origin, resolution=resolution, offset=(west, north), shape=(north - south, east - west)
    )


def _cells(low: float, high: float, zero: float, step: float) -> tuple[int, int]:
    exact_zero, exact_step = Fraction(repr(zero)), Fraction(repr(step))
    first = floor((Fraction(repr(low)) - exact_zero) / exact_step)
    last = ceil((Fraction(repr(high)) - exact_zero) / exact_step)
    return first, max(last, first + 1)
