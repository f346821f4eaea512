"""A picture of a cube for a person to look at: true colour where the cube has it, grey otherwise.

Refuses to be data: stretched, thinned and 8 bit.
"""

from __future__ import annotations

import math
import warnings
from pathlib import Path

import numpy as np
import rasterio
import xarray as xr
from rasterio.errors import NotGeoreferencedWarning

TRUE_COLOUR = ("B04", "B03", "B02")
STRETCH_PERCENTILES = (1.0, 99.0)
GAMMA = 0.8


def write_picture(
    cube: xr.Dataset, path: str | Path, *, bands: tuple[str, ...] = TRUE_COLOUR, size_px: int = 1200
) -> None:
    """Write ``cube`` (y, x) as a PNG with its longer side at most ``size_px``; invalid pixels are transparent.

    Every n-th pixel is shown, stretched between the 1st and 99th percentile of all bands together.
    Where a band of ``bands`` is missing, the cube's first band is shown in grey.
    """
    step = math.ceil(max(cube.sizes["y"], cube.sizes["x"]) / size_px)
    small = cube.isel(y=slice(None, None, step), x=slice(None, None, step))
    if any(name not in small for name in bands):
        bands = (str(next(name for name in small.data_vars if name not in {"data_mask", "tile_state"})),)
    valid = small["data_mask"].to_numpy() == 1
    values = np.stack([small[name].to_numpy().astype(np.float32) for name in bands])
    low, high = np.percentile(values[:, valid], STRETCH_PERCENTILES) if valid.any() else (0.0, 1.0)
    shown = np.clip((values - low) / max(high - low, 1e-6), 0, 1) ** GAMMA
    layers = np.concatenate([np.where(valid, shown, 0) * 255, valid[np.newaxis] * 255.0]).round().astype(np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # a PNG has no place for a georeference
        count, rows, columns = layers.shape
        with rasterio.open(path, "w", driver="PNG", width=columns, height=rows, count=count, dtype="uint8") as png:
            png.write(layers)
