"""Arrays become image files: GeoTIFF with its place on Earth, or PNG.

Refuses to know what the values mean.
"""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import MemoryFile

from shdask.emulator.lattice import Lattice
from shdask.emulator.mosaic import transform_of
from shdask.emulator.refusal import Refusal

STRIP_ROWS = 128
PNG_BANDS = (1, 3, 4)


def encode_tiff(image: NDArray[Any], lattice: Lattice, compression: str, nodata: float | None) -> bytes:
    """A striped GeoTIFF of ``image`` (band, y, x) in the lattice's CRS. Raises nothing of ours; touches memory only."""
    options: dict[str, Any] = {"compress": compression} if compression != "none" else {}
    if compression == "deflate":
        options["zlevel"] = 1
    if compression == "zstd":
        options["zstd_level"] = 1
    profile = {
        "driver": "GTiff",
        "count": image.shape[0],
        "height": image.shape[1],
        "width": image.shape[2],
        "dtype": image.dtype.name,
        "crs": lattice.crs,
        "transform": transform_of(lattice),
        "interleave": "pixel",  # as the service's: clients read (y, x, band)
        "blockysize": min(STRIP_ROWS, image.shape[1]),
        "nodata": nodata,
        **options,
    }
    return _write(image, profile)


def encode_png(image: NDArray[Any]) -> bytes:
    """A PNG of ``image`` (band, y, x), 8 or 16 bit; raises Refusal (400) for other types and band counts."""
    if image.shape[0] not in PNG_BANDS or image.dtype not in (np.uint8, np.uint16):
        message = f"PNG holds 1, 3 or 4 bands of UINT8 or UINT16, not {image.shape[0]} of {image.dtype.name}."
        raise Refusal(400, "COMMON_BAD_PAYLOAD", message)
    profile = {
        "driver": "PNG",
        "count": image.shape[0],
        "height": image.shape[1],
        "width": image.shape[2],
        "dtype": image.dtype.name,
    }
    return _write(image, profile)


def _write(image: NDArray[Any], profile: dict[str, Any]) -> bytes:
    with MemoryFile() as file, warnings.catch_warnings():
        # a PNG has no place on Earth, and is not meant to
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with file.open(**profile) as dataset:
            dataset.write(image)
        return bytes(file.read())
