"""Arrays become files: GeoTIFF with its place on Earth, PNG, JPEG, and several of them a tar or a multipart.

Refuses to know what the values mean.
"""

from __future__ import annotations

import io
import tarfile
import warnings
from collections.abc import Mapping, Sequence
from types import MappingProxyType
from typing import Any
from urllib.parse import quote

import numpy as np
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning
from rasterio.io import MemoryFile

from shdask.emulator.lattice import Lattice
from shdask.emulator.process.reply import Rendition
from shdask.emulator.refusal import Refusal, not_emulated
from shdask.emulator.render.mosaic import transform_of

STRIP_ROWS = 128
PICTURES: Mapping[str, tuple[str, tuple[int, ...], tuple[str, ...], str]] = MappingProxyType(
    {
        "image/png": ("PNG", (1, 3, 4), ("uint8", "uint16"), "1, 3 or 4 bands of UINT8 or UINT16"),
        "image/jpeg": ("JPEG", (1, 3), ("uint8",), "1 or 3 bands of UINT8"),
    }
)
"""Media type -> GDAL's name, counts of bands, sample types, and both in words."""
LEAST_QUALITY = 1
"""Of a JPEG, as GDAL counts."""


def encode_image(
    image: NDArray[Any], rendition: Rendition, lattice: Lattice, *, compression: str, nodata: float | None
) -> bytes:
    """``image`` (band, y, x) in the format of its rendition; raises Refusal (400) where the format cannot hold it."""
    if rendition.format == "image/jpeg":
        return encode_jpeg(image, rendition.quality)
    if rendition.format == "image/png":
        return encode_png(image)
    return encode_tiff(image, lattice, compression, nodata)


def encode_tar(files: Mapping[str, bytes]) -> bytes:
    """A tar with these members at its root; the same files give the same bytes. Touches memory only."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for name, content in files.items():
            member = tarfile.TarInfo(name)
            member.size = len(content)
            tar.addfile(member, io.BytesIO(content))
    return buffer.getvalue()


def encode_multipart(files: Mapping[str, bytes], renditions: Sequence[Rendition], boundary: str) -> bytes:
    """A multipart/mixed of these files, in the order of their renditions. Pure.

    Parts are named as members of a tar; how the service names them is not documented.
    """
    parts = b""
    for rendition in renditions:
        name = quote(rendition.file_name)
        head = (
            f"--{boundary}\r\nContent-Type: {rendition.format}\r\n"
            f'Content-Disposition: attachment; filename="{name}"\r\n\r\n'
        )
        parts += head.encode() + files[rendition.file_name] + b"\r\n"
    return parts + f"--{boundary}--\r\n".encode()


def encode_tiff(image: NDArray[Any], lattice: Lattice, compression: str, nodata: float | None) -> bytes:
    """A striped GeoTIFF of ``image`` (band, y, x) in the lattice's CRS.

    Raises Refusal (400) for a nodata value that its type cannot hold; touches memory only.
    """
    return _write(image, profile_tiff(image.shape[0], image.dtype, lattice, compression, nodata))


def profile_tiff(
    bands: int, dtype: np.dtype[Any], lattice: Lattice, compression: str, nodata: float | None
) -> dict[str, Any]:
    """How rasterio is to create a striped GeoTIFF of these bands in the lattice's CRS.

    Pure; raises Refusal (400) for a nodata value that its type cannot hold.
    """
    if nodata is not None and not _fits(nodata, dtype):
        raise not_emulated(f"the nodataValue {nodata} in an image of {dtype.name}")
    options: dict[str, Any] = {"compress": compression} if compression != "none" else {}
    if compression == "deflate":
        options["zlevel"] = 1
    if compression == "zstd":
        options["zstd_level"] = 1
    return {
        "driver": "GTiff",
        "count": bands,
        "height": lattice.height,
        "width": lattice.width,
        "dtype": dtype.name,
        "crs": lattice.crs,
        "transform": transform_of(lattice),
        "interleave": "pixel",  # as the service's: clients read (y, x, band)
        "blockysize": min(STRIP_ROWS, lattice.height),
        "nodata": nodata,
        **options,
    }


def _fits(value: float, dtype: np.dtype[Any]) -> bool:
    if dtype.kind == "f":
        return True
    info = np.iinfo(dtype)
    return value.is_integer() and info.min <= value <= info.max


def encode_png(image: NDArray[Any]) -> bytes:
    """A PNG of ``image`` (band, y, x), 8 or 16 bit; raises Refusal (400) for other types and band counts."""
    check_picture("image/png", image.shape[0], image.dtype)
    return _write(image, _plain_profile("PNG", image))


def encode_jpeg(image: NDArray[Any], quality: int) -> bytes:
    """A JPEG of ``image`` (band, y, x), 8 bit; raises Refusal (400) for other types and band counts."""
    check_picture("image/jpeg", image.shape[0], image.dtype)
    return _write(image, {**_plain_profile("JPEG", image), "quality": max(LEAST_QUALITY, quality)})


def check_picture(kind: str, bands: int, dtype: np.dtype[Any]) -> None:
    """Accept what a PNG or JPEG, by its media type, can hold; raises Refusal (400) otherwise. Pure."""
    name, counts, types, told = PICTURES[kind]
    if bands not in counts or dtype.name not in types:
        message = f"{name} holds {told}, not {bands} of {dtype.name}."
        raise Refusal(400, "COMMON_BAD_PAYLOAD", message)


def _plain_profile(driver: str, image: NDArray[Any]) -> dict[str, Any]:
    return {
        "driver": driver,
        "count": image.shape[0],
        "height": image.shape[1],
        "width": image.shape[2],
        "dtype": image.dtype.name,
    }


def _write(image: NDArray[Any], profile: dict[str, Any]) -> bytes:
    with MemoryFile() as file, warnings.catch_warnings():
        # a picture has no place on Earth, and is not meant to
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with file.open(**profile) as dataset:
            dataset.write(image)
        return bytes(file.read())
