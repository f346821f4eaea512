"""The pixel centres of a request, counted from the CRS's own origin, so that two windows of one grid agree bit for bit.

Refuses to know what is drawn on them.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

SIGNIFICANT_DIGITS = 15
FRACTION_STEPS = 1024
BLOCK_PX = 512
"""Side of a block: smaller ones spend their time on being set up, larger ones leave the processor's cache."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Lattice:
    """A rectangle of pixels of an endless grid in a CRS.

    Pixel (i, j) of the endless grid has its centre at x = (i + fraction_x + 0.5) * res_x and
    y = -(j + fraction_y + 0.5) * res_y, in CRS units; rows count downwards.
    """

    crs: str
    """As pyproj reads it, such as ``EPSG:32633`` or ``OGC:CRS84``; x is easting or longitude always."""
    res_x: float
    res_y: float
    fraction_x: float
    fraction_y: float
    column: int
    """Index of the first column in the endless grid."""
    row: int
    """Index of the first row in the endless grid."""
    width: int
    height: int

    @property
    def shape(self) -> tuple[int, int]:
        """(rows, columns)."""
        return self.height, self.width

    def x_centres(self) -> NDArray[np.float64]:
        """(x,) pixel centres in CRS units. Pure."""
        return (
            np.arange(self.column, self.column + self.width, dtype=np.float64) + (self.fraction_x + 0.5)
        ) * self.res_x

    def y_centres(self) -> NDArray[np.float64]:
        """(y,) pixel centres in CRS units, descending. Pure."""
        return (np.arange(self.row, self.row + self.height, dtype=np.float64) + (self.fraction_y + 0.5)) * -self.res_y

    def bounds(self) -> tuple[float, float, float, float]:
        """(left, bottom, right, top) of the pixels' edges in CRS units. Pure."""
        left = (self.column + self.fraction_x) * self.res_x
        top = -(self.row + self.fraction_y) * self.res_y
        right = (self.column + self.width + self.fraction_x) * self.res_x
        bottom = -(self.row + self.height + self.fraction_y) * self.res_y
        return left, bottom, right, top

    def part(self, rows: slice, columns: slice) -> Lattice:
        """The pixels at these rows and columns of this rectangle. Pure."""
        return replace(
            self,
            column=self.column + columns.start,
            row=self.row + rows.start,
            width=columns.stop - columns.start,
            height=rows.stop - rows.start,
        )

    def blocks(self) -> Iterator[tuple[slice, slice]]:
        """Rows and columns of the blocks that are drawn one by one, cut at round absolute indices. Pure."""
        for rows in _cuts(self.row, self.height, BLOCK_PX):
            for columns in _cuts(self.column, self.width, BLOCK_PX):
                yield rows, columns


def make_lattice(crs: str, bbox: tuple[float, float, float, float], width: int, height: int) -> Lattice:
    """The pixels of a request: ``bbox`` (left, bottom, right, top) cut into width x height. Pure.

    The resolution is the shortest decimal, of itself or of its inverse, that the rounding noise of the edges
    allows, and the shift against the CRS's origin is kept to 1/1024 pixel: so windows of one grid get one grid.
    """
    left, bottom, right, top = bbox
    res_x = _shortest((right - left) / width, 4 * math.ulp(max(abs(left), abs(right))) / width)
    res_y = _shortest((top - bottom) / height, 4 * math.ulp(max(abs(top), abs(bottom))) / height)
    column, fraction_x = _split(left / res_x)
    row, fraction_y = _split(-top / res_y)
    return Lattice(
        crs=crs,
        res_x=res_x,
        res_y=res_y,
        fraction_x=fraction_x,
        fraction_y=fraction_y,
        column=column,
        row=row,
        width=width,
        height=height,
    )


def _shortest(value: float, tolerance: float) -> float:
    for digits in range(1, SIGNIFICANT_DIGITS):
        direct = float(f"{value:.{digits - 1}e}")
        if abs(direct - value) <= tolerance:
            return direct
        inverse = 1.0 / float(f"{1.0 / value:.{digits - 1}e}")
        if abs(inverse - value) <= tolerance:
            return inverse
    return value


def _split(position: float) -> tuple[int, float]:
    steps = math.floor(position * FRACTION_STEPS + 0.5)
    whole, part = divmod(steps, FRACTION_STEPS)
    return whole, part / FRACTION_STEPS


def _cuts(first: int, count: int, size: int) -> Iterator[slice]:
    start = 0
    while start < count:
        stop = min(count, ((first + start) // size + 1) * size - first)
        yield slice(start, stop)
        start = stop
