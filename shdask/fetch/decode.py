"""A TIFF's bytes, or a tar of them, become arrays once size, bands, type, place and completeness have been checked.

Refuses to know where the bytes came from and what the bands mean.
"""

from __future__ import annotations

import io
import tarfile
from collections.abc import Mapping

import numpy as np
from numpy.typing import NDArray
from rasterio.crs import CRS
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader, MemoryFile

from shdask.errors import DecodeError

_PLACE_TOLERANCE_PX = 1e-3
_HEAD_NBYTES = 60
_ENDINGS = ("tif", "tiff")
"""Seen was the first."""


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
            check_picture(source, shape=shape, band_count=band_count, dtype=dtype, bounds=bounds, epsg=epsg)
            picture: NDArray[np.generic] = source.read()
    # ValueError: what rasterio says of a CRS or tag that it cannot read; the warning: where warnings are errors
    except (RasterioError, ValueError, NotGeoreferencedWarning) as error:
        raise DecodeError(f"the answer is no readable TIFF: {describe(body)} ({error})") from error
    return picture


def decode_tar(
    body: bytes,
    *,
    shape: tuple[int, int],
    outputs: Mapping[str, tuple[int, str]],
    bounds: tuple[float, float, float, float],
    epsg: int,
) -> dict[str, NDArray[np.generic]]:
    """The pictures in the tar of a request for several outputs: by id, as `decode_tiff` returns them. Pure.

    ``outputs`` has the number of bands and the dtype of each by its id; the tar holds ``<id>.tif`` for each, and other
    files (``userdata.json``) are left alone. Raises DecodeError as `decode_tiff` does, naming the output, and
    for one that is missing or there twice.
    """
    files = _read_tar(body, {f"{identifier}.{ending}" for identifier in outputs for ending in _ENDINGS})
    pictures = {}
    for identifier, (band_count, dtype) in outputs.items():
        found = [name for ending in _ENDINGS if (name := f"{identifier}.{ending}") in files]
        if len(found) != 1:
            raise DecodeError(f"the tar has {len(found)} pictures of output {identifier!r}, asked for was one")
        try:
            pictures[identifier] = decode_tiff(
                files[found[0]], shape=shape, band_count=band_count, dtype=dtype, bounds=bounds, epsg=epsg
            )
        except DecodeError as error:
            raise DecodeError(f"output {identifier!r}: {error}") from error
    return pictures


def _read_tar(body: bytes, wanted: set[str]) -> dict[str, bytes]:
    if not body:
        raise DecodeError("the answer is empty")
    files: dict[str, bytes] = {}
    try:
        with tarfile.open(fileobj=io.BytesIO(body), mode="r:") as tar:
            for member in tar:
                name = member.name.removeprefix("./")
                if name not in wanted:
                    continue
                if name in files:
                    raise DecodeError(f"the tar has {name} twice")
                # a file with holes can claim to be larger than any memory
                file = tar.extractfile(member) if member.isreg() and 0 <= member.size <= len(body) else None
                if file is None:
                    raise DecodeError(f"the tar's {name} is no file of it")
                files[name] = file.read()
    # ValueError, OverflowError: what damaged numbers in headers end in
    except (tarfile.TarError, ValueError, OverflowError) as error:
        raise DecodeError(f"the answer is no readable tar: {describe(body)} ({error})") from error
    return files


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


def check_picture(
    source: DatasetReader,
    *,
    shape: tuple[int, int],
    band_count: int,
    dtype: str,
    bounds: tuple[float, float, float, float],
    epsg: int,
) -> None:
    """Raises DecodeError where an open picture is not what `decode_tiff` takes by these arguments. Reads no pixel."""
    _check_kind(source, shape, band_count, dtype)
    _check_place(source, bounds, epsg)


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
