"""From the pixels of a tile, as the service sent them, to the values a cube stores.

Pure; refuses to know Zarr.
"""

from __future__ import annotations

from functools import partial

import numpy as np
from numpy.typing import NDArray

from shdask.errors import StoreError
from shdask.model import Band, Tile, TileData


class UnfitPixels(StoreError):
    """Pixels that the cube cannot hold, however often they are written."""


def check_tile_data(tile: Tile, data: TileData, bands: tuple[Band, ...]) -> None:
    """Raise UnfitPixels unless ``data`` holds the tile's extent for every band."""
    expected = (len(bands), *tile.extent.shape)
    if data.values.shape != expected or data.data_mask.shape != expected[1:]:
        raise UnfitPixels(
            f"tile {tile.index} takes values of shape {expected} (band, y, x), "
            f"got {data.values.shape} and a mask of shape {data.data_mask.shape}"
        )


def make_stored_values(band: Band, values: NDArray[np.generic], data_mask: NDArray[np.bool_]) -> NDArray[np.generic]:
    """``values`` (y, x) in the band's type: scaled where it has a scale, fill where ``data_mask`` is False. Pure.

    The very array where nothing in it changes.

    Raises UnfitPixels when a valid value does not survive the change of type.
    """
    dtype = np.dtype(band.dtype)
    if band.scale is None:
        stored = _cast(band, values, data_mask)
    else:  # in double precision, so that the result is the stored type's nearest value to DN x scale + offset
        stored = (np.multiply(values, band.scale, dtype=np.float64) + band.offset).astype(dtype)
    return stored if data_mask.all() else np.where(data_mask, stored, dtype.type(band.fill_value))


def _cast(band: Band, values: NDArray[np.generic], data_mask: NDArray[np.bool_]) -> NDArray[np.generic]:
    dtype = np.dtype(band.dtype)
    if np.can_cast(values.dtype, dtype, "safe"):
        return values.astype(dtype, copy=False)
    with np.errstate(invalid="ignore"):  # NaN and what is out of range are found by comparing
        stored = values.astype(dtype)
    lost = data_mask & (stored != values)
    if lost.any():
        y, x = np.argwhere(lost)[0]
        raise UnfitPixels(
            f"band {band.name} is stored as {band.dtype}, which cannot hold {values[y, x]} "
            f"(row {y}, column {x} of the tile); the collection's band list and what the service sends differ"
        )
    return stored


def is_all_fill(band: Band, stored: NDArray[np.generic]) -> bool:
    """Whether an array of the band's type holds nothing but its fill value. Pure."""
    is_fill = np.isnan if np.isnan(band.fill_value) else partial(np.equal, band.fill_value)
    return all(is_fill(row).all() for row in stored)  # most arrays show it in their first row
