"""How much of a tile a coarse look has found clear: the rule of a layer, its lattice, and the classes that count.

Pure. Refuses to know requests and stores.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from shdask.plan.footprint import metres_per_px
from shdask.request.collections import find_collection

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from shdask.model import Window
    from shdask.plan.grid import Grid
    from shdask.plan.layer_spec import Clear

LOOK_BAND = "SCL"
CLEAR_CLASSES = (4, 5, 6, 7, 11)
"""Of the scene classification: vegetation, bare ground, water, unclassified and snow.

7 is where no cloud was found (its other name is "low probability of cloud"), and snow is ground as it is. Not 2, dark
areas: until baseline 04.00 shadows of clouds are among them. Not 1, defective, and not 3, 8, 9 and 10, shadows of
clouds, clouds and cirrus. 0 is no data, and counts as not looked at.
"""
LOOKS_ACROSS = 8
"""A tile is looked at with at least so many pixels along a side, whatever their size was to be."""


@dataclass(frozen=True, slots=True, kw_only=True)
class ClearRule:
    """Which tiles of a layer are bought."""

    min_share: float
    """Of the tile's valid pixels in the area."""
    factor: int
    """Pixels of the layer along a pixel of the look; both lattices begin in the array's upper left corner."""

    def identity(self) -> dict[str, Any]:
        """What decides which tiles are bought, as JSON types. Pure."""
        return {"min": self.min_share, "factor": self.factor, "classes": list(CLEAR_CLASSES)}


def make_clear_rule(clear: Clear | None, grid: Grid, tile_px: int, collection: str) -> ClearRule | None:
    """The rule of a layer on ``grid``; None where all is bought. Pure.

    The look's pixels are whole numbers of the layer's, as near as that comes to their size in the job, no coarser than
    the service renders, and no fewer than 8 along a tile.
    """
    if clear is None:
        return None
    metres = metres_per_px(grid)
    coarsest = find_collection(collection).coarsest_m_per_px
    most = tile_px // LOOKS_ACROSS if coarsest is None else min(tile_px // LOOKS_ACROSS, int(coarsest / metres))
    return ClearRule(min_share=clear.min, factor=max(1, min(round(clear.scout_m / metres), most)))


def look_window(extent: Window, factor: int) -> Window:
    """The pixels of the look that hold those of ``extent``. Pure."""
    return type(extent)(
        y0=extent.y0 // factor, y1=-(-extent.y1 // factor), x0=extent.x0 // factor, x1=-(-extent.x1 // factor)
    )


def count_under(inside: NDArray[np.bool_], extent: Window, factor: int) -> NDArray[np.int64]:
    """(y, x) of `look_window`: how many True of ``inside`` (y, x), which is of ``extent``, each pixel covers. Pure."""
    window = look_window(extent, factor)
    # from where on rows and columns of the extent lie under the next pixel
    rows = np.maximum(np.arange(window.y0, window.y1) * factor, extent.y0) - extent.y0
    columns = np.maximum(np.arange(window.x0, window.x1) * factor, extent.x0) - extent.x0
    by_row = np.add.reduceat(inside, rows, axis=0, dtype=np.int64)
    counts: NDArray[np.int64] = np.add.reduceat(by_row, columns, axis=1)
    return counts


def clear_share(classes: NDArray[np.uint8], data_mask: NDArray[np.bool_], weights: NDArray[np.integer]) -> float:
    """The share of clear pixels among the valid ones, each ``weights`` times; 0 where none is. All (y, x). Pure."""
    valid = np.where(data_mask & (classes != 0), weights, 0)
    total = int(valid.sum())
    return float(valid[np.isin(classes, CLEAR_CLASSES)].sum() / total) if total else 0.0
