"""Downloaded bytes become arrays, JSON and the members of a tar, as sentinelhub-py would decode them.

Refuses to know where the bytes came from.
"""

from __future__ import annotations

import io
import json
import struct
import tarfile
import zlib
from typing import Any

import numpy as np
from numpy.typing import NDArray

from shdask.sentinelhub.constants import MimeType
from shdask.sentinelhub.exceptions import ImageDecodingError

UNDECODABLE = (ImageDecodingError, ValueError, EOFError, tarfile.TarError)
"""What ``decode_data`` raises."""


def decode_data(response_content: bytes, data_type: MimeType) -> Any:
    """What the bytes hold. Pure.

    TIFF, PNG and JPEG: an array (y, x), or (y, x, band) of several bands, in the file's own type. JSON: the object,
    ``""`` for no bytes. TAR: a dict of file name and what that member decodes to. RAW and TXT: the bytes. ZIP: a
    stream of them.
    Raises ImageDecodingError for bytes that are no whole picture, ValueError for ones that are no JSON, TarError for
    ones that are no tar, ValueError for a format that is none of these.
    """
    match data_type:
        case MimeType.TIFF:
            return _decode_tiff(response_content)
        case MimeType.PNG | MimeType.JPG:
            return _decode_picture(response_content)
        case MimeType.JSON:
            text = response_content.decode()
            return json.loads(text) if text else text
        case MimeType.TAR:
            return _decode_tar(response_content)
        case MimeType.RAW | MimeType.TXT:
            return response_content
        case MimeType.ZIP:
            return io.BytesIO(response_content)
        case _:
            raise ValueError(f"decoding data format {data_type} is not supported")


def _decode_tiff(content: bytes) -> NDArray[np.generic]:
    from rasterio.errors import NotGeoreferencedWarning, RasterioError
    from rasterio.io import MemoryFile

    if not content:
        raise ImageDecodingError("0 bytes are no TIFF")
    try:
        # sharing=False: GDAL must not hand one thread's file to another
        with MemoryFile(content) as file, file.open(driver="GTiff", sharing=False) as source:
            bands: NDArray[np.generic] = source.read()
    except (RasterioError, ValueError, NotGeoreferencedWarning) as error:
        raise ImageDecodingError(f"{len(content)} bytes are no whole TIFF: {error}") from error
    return bands[0] if len(bands) == 1 else np.ascontiguousarray(np.moveaxis(bands, 0, -1))


def _decode_picture(content: bytes) -> NDArray[np.generic]:
    # Pillow, since GDAL reads cut PNGs without a word, and other colours out of a JPEG
    from PIL import Image

    try:
        with Image.open(io.BytesIO(content), formats=("PNG", "JPEG")) as picture:
            return np.array(picture)
    # what Pillow raises for damage of one kind or another
    except (OSError, SyntaxError, ValueError, struct.error, zlib.error, Image.DecompressionBombError) as error:
        raise ImageDecodingError(f"{len(content)} bytes are no whole picture: {error}") from error


def _decode_tar(content: bytes) -> dict[str, Any]:
    decoded: dict[str, Any] = {}
    with tarfile.open(fileobj=io.BytesIO(content)) as tar:
        for member in tar.getmembers():
            file = tar.extractfile(member)
            if file is not None:
                decoded[member.name] = decode_data(file.read(), MimeType.from_string(member.name.rpartition(".")[2]))
    return decoded
