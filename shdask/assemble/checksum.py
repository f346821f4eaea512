"""The checksum of a tile's stored pixels, the same when they are written and when they are read back. Pure.

Refuses to know Zarr and codecs: what counts are pixels, not the bytes of a shard.
"""

from __future__ import annotations

import zlib

import numpy as np
from numpy.typing import NDArray


def add_to_checksum(checksum: int, stored: NDArray[np.generic]) -> int:
    """CRC-32 (0 to begin with) continued over an array's values: little-endian, row by row. Pure.

    A tile's checksum runs over its bands in order, then ``data_mask``, each of the tile's extent.
    """
    values = np.ascontiguousarray(stored, stored.dtype.newbyteorder("<"))
    return zlib.crc32(values.reshape(-1).view(np.uint8).data, checksum)
