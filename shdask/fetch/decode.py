"""A TIFF's bytes become an array, once size, bands, type, place and completeness have been checked.

Refuses to know where the bytes came from and what the bands mean.
"""

from __future__ import annotations

import numpy as np
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader, MemoryFile

from shdask.errors import DecodeError

_PLACE_TOLERANCE_PX = 1e-3
_HEAD_NBYTES = 60


def decode_tiff(
    body: bytes,
    *,
    shape: tuple[int, int],
    band_count: int,
    dtype: str,
    bounds: tuple[float, float, float, float],
    epsg: int,
) -> NDArray[np.generic]:
    """The picture in ``body`` as an array (band, y, x) of ``dtype``. Pure.

    ``shape`` is (y, x) in pixels, ``bounds`` (left, bottom, right, top) in units of ``epsg``. Where the TIFF says its
    CRS and place, they must be these, to a thousandth of a pixel.
    Raises DecodeError, saying what came instead, for anything else: another size, type or place, a truncated file,
    a page of HTML. A picture is returned whole or not at all: GDAL fails on a cut file wherever the cut is, whether
    compressed or not (tested).
    """
    if not body:
        raise DecodeError("the answer is empty")
    try:
        # sharing=False: GDAL must not hand one thread's file to another
        with MemoryFile(body) as file, file.open(driver="GTiff", sharing=False) as source:
            _check_kind(source, shape, band_count, dtype)
            _check_place(source, bounds, epsg)
            picture: NDArray[np.generic] = source.read()
    # ValueError: what rasterio says of a CRS or tag that it cannot read; the warning: where warnings are errors
    except (RasterioError, ValueError, NotGeoreferencedWarning) as error:
        raise DecodeError(f"the answer is no readable TIFF: {describe(body)} ({error})") from error
    return picture


def describe(body: bytes) -> str:
    """What a body looks like, in a few words and without more than its first bytes. Pure."""
    head = body[:_HEAD_NBYTES]
    kind = "bytes"
    if head[:4] in {b"II*\0", b"MM\0*", b"II+\0", b"MM\0+"}:
        return f"a TIFF of {len(body)} bytes, truncated or damaged"
    if head.lstrip()[:1] == b"<":
        kind = "bytes of HTML or XML"
    elif head.lstrip()[:1] in {b"{", b"["}:
        kind = "bytes of JSON"
    return f"{len(body)} {kind} beginning {head!r}"


def _check_kind(source: DatasetReader, shape: tuple[int, int], band_count: int, dtype: str) -> None:
    if source.shape != shape:
        raise DecodeError(f"the picture has {source.height} x {source.width} (y, x) pixels, asked for were {shape}")
    if source.count != band_count:
        raise DecodeError(f"the picture has {source.count} bands, asked for were {band_count}")
    if set(source.dtypes) != {dtype}:
        raise DecodeError(f"the picture's samples are {', '.join(sorted(set(source.dtypes)))}, asked for was {dtype}")


def _may_be(crs: CRS, epsg: int) -> bool:
    """False for a CRS that is surely another one; writers spell one CRS in ways that no library tells apart."""
    return crs == CRS.from_epsg(epsg) or crs.to_epsg() in {epsg, None}


def _check_place(source: DatasetReader, bounds: tuple[float, float, float, float], epsg: int) -> None:
    if source.crs is not None and not _may_be(source.crs, epsg):
        raise DecodeError(f"the picture is in {source.crs.to_string()}, asked for was EPSG:{epsg}")
    a, b, c, d, e, f = source.transform[:6]
    if source.transform.is_identity:
        return
    left, bottom, right, top = bounds
    height, width = source.shape
    corners = {(0, 0): (left, top), (width, 0): (right, top), (0, height): (left, bottom)}
    for (x, y), expected in corners.items():
        found = a * x + b * y + c, d * x + e * y + f
        off_x = (found[0] - expected[0]) / (right - left) * width
        off_y = (found[1] - expected[1]) / (top - bottom) * height
        if not (abs(off_x) <= _PLACE_TOLERANCE_PX and abs(off_y) <= _PLACE_TOLERANCE_PX):
            raise DecodeError(
                f"the picture is misplaced: pixel corner ({x}, {y}) lies at {found}, asked for was {expected}"
            )
