"""A picture of a cube for a person to look at: true colour where the cube has it, grey otherwise.

Refuses to be data: averaged, stretched and 8 bit.
"""

from __future__ import annotations

import math
import warnings
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from shdask.assemble.template import DATA_MASK

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray

TRUE_COLOUR = ("B04", "B03", "B02")
STRETCH_PERCENTILES = (0.5, 99.5)
GAMMA = 0.7


def write_picture(cube: xr.Dataset, path: str | Path, *, size_px: int = 1200) -> None:
    """Write ``cube`` (y, x) as a PNG whose longer side is about ``size_px``; no-data is transparent.

    Blocks of pixels are averaged over their valid ones, then stretched between two percentiles of all bands
    together. A cube without the true-colour bands is drawn in grey from its first band. Reads block by block.
    """
    import rasterio
    from rasterio.errors import NotGeoreferencedWarning

    names = TRUE_COLOUR if set(TRUE_COLOUR) <= set(cube.data_vars) else (next(iter(cube.data_vars)),)
    step = min(math.ceil(max(cube.sizes.values()) / size_px), *cube.sizes.values())
    valid = cube[DATA_MASK] == 1
    count = _block_sums(valid, step)
    sums = np.stack([_block_sums(cube[name].where(valid, 0), step) for name in names])
    means = np.divide(sums, count, out=np.zeros_like(sums), where=count > 0)
    shown = count >= step * step / 2
    low, high = np.percentile(means[:, shown], STRETCH_PERCENTILES) if shown.any() else (0.0, 1.0)
    tones = np.clip((means - low) / max(high - low, 1e-6), 0, 1) ** GAMMA
    layers = (np.concatenate([tones * shown, shown[np.newaxis]]) * 255).round().astype(np.uint8)
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)  # a PNG has no place for a georeference
        bands, rows, columns = layers.shape
        with rasterio.open(path, "w", driver="PNG", width=columns, height=rows, count=bands, dtype="uint8") as png:
            png.write(layers)


def _block_sums(values: xr.DataArray, step: int) -> NDArray[np.float64]:
    return values.astype(np.float64).coarsen(y=step, x=step, boundary="trim").sum().to_numpy()
