"""A small picture of an answer, for people who look.

Refuses to know requests: it sees a file and its media type.
"""

from __future__ import annotations

import io
import tarfile
import warnings

import numpy as np
from numpy.typing import NDArray
from PIL import Image
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import MemoryFile

SIDE_PX = 96
STRETCH_PERCENT = (2, 98)
MEDIA_TYPES = {"tif": "image/tiff", "png": "image/png", "jpg": "image/jpeg"}


def make_thumbnail(content: bytes, media_type: str) -> bytes | None:
    """A PNG of at most 96 x 96 pixels; None where there is no picture in the file. Pure.

    Shows the first three bands in colour, or the first one in grey, and of a tar the first picture. Bytes are shown as
    they are, other numbers stretched between their 2nd and 98th percentile.
    """
    kind = media_type.partition(";")[0].strip()
    try:
        if kind.endswith("tar"):
            return _from_tar(content)
        if kind == "image/tiff":
            return _encode(_read_tiff(content))
        if kind in MEDIA_TYPES.values():
            return _shrink(content)
    # a fault may have garbled the file in any way
    except (RasterioError, OSError, ValueError, SyntaxError, EOFError, tarfile.TarError, Image.DecompressionBombError):
        return None
    return None


def _from_tar(content: bytes) -> bytes | None:
    with tarfile.open(fileobj=io.BytesIO(content)) as archive:
        for member in archive:
            kind, file = MEDIA_TYPES.get(member.name.rpartition(".")[2]), archive.extractfile(member)
            if kind is not None and file is not None:
                return make_thumbnail(file.read(), kind)
    return None


def _read_tiff(content: bytes) -> NDArray[np.generic]:
    """(y, x, band), one band or three."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", NotGeoreferencedWarning)
        with MemoryFile(content) as file, file.open() as image:
            scale = max(1.0, max(image.shape) / SIDE_PX)
            shape = tuple(max(1, round(side / scale)) for side in image.shape)
            bands = [1, 2, 3] if image.count >= 3 else [1]  # noqa: PLR2004  # red, green and blue
            read: NDArray[np.generic] = image.read(bands, out_shape=(len(bands), *shape))
    return np.moveaxis(read, 0, -1)


def _encode(pixels: NDArray[np.generic]) -> bytes:
    if pixels.dtype != np.uint8:
        numbers = pixels.astype(np.float64)
        known = numbers[np.isfinite(numbers)]
        low, high = np.percentile(known, STRETCH_PERCENT) if known.size else (0.0, 1.0)
        stretched = (np.nan_to_num(numbers, nan=low, posinf=high, neginf=low) - low) / ((high - low) or 1.0)
        pixels = np.round(255 * np.clip(stretched, 0, 1)).astype(np.uint8)
    return _write_png(Image.fromarray(np.asarray(pixels).squeeze(-1) if pixels.shape[-1] == 1 else np.asarray(pixels)))


def _shrink(content: bytes) -> bytes:
    with Image.open(io.BytesIO(content)) as image:
        # grey and alpha stay; other forms, such as 16-bit grey, are not written by the service
        small = image.convert("RGBA" if image.mode in {"RGBA", "LA"} else "RGB")
    small.thumbnail((SIDE_PX, SIDE_PX))
    return _write_png(small)


def _write_png(image: Image.Image) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, "PNG")
    return buffer.getvalue()
