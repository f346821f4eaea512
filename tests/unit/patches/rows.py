"""Tables of patches made from a few corners."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from shdask.patches.table import NO_LABEL, SPLITS, Patches, Split
from shdask.plan.grid import Grid


def make_patches(
    grid: Grid,
    corners: Sequence[tuple[int, int]],
    *,
    size_px: int = 32,
    dates: Sequence[str] = (),
    splits: Sequence[Split] = ("train",),
    labels: Sequence[int] = (NO_LABEL,),
    zone: str = "",
) -> Patches:
    """Patches of ``grid`` with their upper left pixels at ``corners``, (row, column); short lists are repeated."""
    y0, x0 = np.array(corners, np.int64).reshape(-1, 2).T
    count = y0.size
    left, _, _, top = grid.bounds()
    rx, ry = grid.resolution
    bounds = (left + x0 * rx, top - (y0 + size_px) * ry, left + (x0 + size_px) * rx, top - y0 * ry)
    every = [dates[row % len(dates)] if dates else "NaT" for row in range(count)]
    return Patches(
        cube="cube.zarr",
        size_px=size_px,
        seed=0,
        key=np.array([f"p{grid.epsg}-{row}-{column}-{n}" for n, (row, column) in enumerate(corners)]),
        zone=np.full(count, zone),
        y0=y0,
        x0=x0,
        split=np.array([SPLITS.index(splits[row % len(splits)]) for row in range(count)], np.uint8),
        block=np.array([f"b{row}" for row in range(count)]),
        label=np.array([labels[row % len(labels)] for row in range(count)], np.int64),
        parcel=np.full(count, ""),
        date=np.array(every, "datetime64[s]"),
        valid_share=np.full(count, np.nan, np.float32),
        clear_share=np.full(count, np.nan, np.float32),
        bounds=np.stack(bounds, axis=1),
        epsg=np.full(count, grid.epsg, np.int64),
    )
