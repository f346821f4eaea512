"""Values of a raster at arbitrary positions: nearest, bilinear, bicubic, each pixel for itself.

Refuses to know files and coordinates. Every step is elementwise, so a pixel does not depend on its neighbours' request.
"""

from __future__ import annotations

from collections.abc import Iterator

import numpy as np
from numpy.typing import NDArray

from shdask.emulator.process.choices import Resampling

MARGIN_PX = 3
"""Source pixels that may be read beyond a position."""

Floats = NDArray[np.float64]


def sample(
    raster: NDArray[np.float32], valid: NDArray[np.bool_], columns: Floats, rows: Floats, resampling: Resampling
) -> tuple[NDArray[np.float32], NDArray[np.bool_]]:
    """``raster`` (y, x) at (rows, columns), both (y, x) in pixels from the raster's upper left corner. Pure.

    Returns values and where they hold data: where the pixel under the position is valid. Invalid neighbours, and those
    beyond the edge, take no part in bilinear and bicubic means. A position in the centre of a pixel yields that pixel.
    """
    column, row = np.floor(columns).astype(np.int64), np.floor(rows).astype(np.int64)
    inside = (column >= 0) & (column < raster.shape[1]) & (row >= 0) & (row < raster.shape[0])
    column, row = np.where(inside, column, 0), np.where(inside, row, 0)
    data_mask = inside & valid[row, column]
    if resampling == "NEAREST":
        values = raster[row, column].astype(np.float64)
    else:
        # positions outside are replaced: their result is thrown away, and they must not reach far
        values = _interpolate(
            raster, valid, np.where(inside, columns, 0.5), np.where(inside, rows, 0.5), cubic=resampling == "BICUBIC"
        )
    return np.where(data_mask, values, 0.0).astype(np.float32), data_mask


def _interpolate(
    raster: NDArray[np.float32], valid: NDArray[np.bool_], columns: Floats, rows: Floats, *, cubic: bool
) -> Floats:
    total, weights = np.zeros(columns.shape), np.zeros(columns.shape)
    for row, row_weight in _taps(rows, cubic=cubic):
        row_inside = (row >= 0) & (row < raster.shape[0])
        clipped_row = np.clip(row, 0, raster.shape[0] - 1)
        for column, column_weight in _taps(columns, cubic=cubic):
            inside = row_inside & (column >= 0) & (column < raster.shape[1])
            clipped = np.clip(column, 0, raster.shape[1] - 1)
            weight = np.where(inside & valid[clipped_row, clipped], row_weight * column_weight, 0.0)
            total += np.where(weight == 0.0, 0.0, weight * raster[clipped_row, clipped])
            weights += weight
    return total / np.where(weights == 0.0, 1.0, weights)


def _taps(positions: Floats, *, cubic: bool) -> Iterator[tuple[NDArray[np.int64], Floats]]:
    base = np.floor(positions - 0.5)
    t = positions - 0.5 - base
    first = base.astype(np.int64)
    if not cubic:
        yield first, 1.0 - t
        yield first + 1, t
        return
    # Catmull-Rom (a = -0.5), as GDAL's cubic
    yield first - 1, ((-0.5 * t + 1.0) * t - 0.5) * t
    yield first, (1.5 * t - 2.5) * t * t + 1.0
    yield first + 1, ((-1.5 * t + 2.0) * t + 0.5) * t
    yield first + 2, (0.5 * t - 0.5) * t * t
