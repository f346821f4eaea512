"""Bands as floats with NaN where the mask is 0.

Refuses to know where pixels come from.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

import numpy as np

from shdask.assemble.template import DATA_MASK

if TYPE_CHECKING:
    import xarray as xr

_LARGEST_EXACT_FLOAT32 = 16
"""Integers of so many bits are exact in float32; longer ones need float64."""


def mask_bands(cube: xr.Dataset) -> xr.Dataset:
    """``cube`` with NaN where ``data_mask`` is 0: float32 for types of up to 16 bits, float64 above. Pure."""
    valid = cube[DATA_MASK] == 1
    bands = {name: _as_float(band).where(valid) for name, band in cube.data_vars.items() if name != DATA_MASK}
    for band in bands.values():
        band.encoding["_FillValue"] = np.nan  # so that files made of it say what their NaN means
    return cube.assign(bands)


def _as_float(band: xr.DataArray) -> xr.DataArray:
    if band.dtype.kind == "f":
        return band
    return band.astype(np.float32 if band.dtype.itemsize * 8 <= _LARGEST_EXACT_FLOAT32 else np.float64)
