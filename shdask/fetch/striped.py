"""A striped GeoTIFF in a bucket, read rows by rows: its directory by few ranged reads, then only the strips it takes.

Refuses to know jobs, tiles and what the bands mean. A tiled TIFF is read as well: a row of tiles counts as a strip.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from functools import partial
from itertools import starmap
from typing import Any, Self

import numpy as np
from numpy.typing import NDArray
from rasterio.errors import NotGeoreferencedWarning, RasterioError
from rasterio.io import DatasetReader, MemoryFile
from rasterio.windows import Window as RasterWindow

from shdask.errors import DecodeError
from shdask.fetch.bucket import Bucket
from shdask.fetch.decode import check_picture
from shdask.fetch.process import RunCpu, run_here
from shdask.fetch.tiff_directory import BITS, COMPRESSION, FILL_ORDER, LENGTH, Buffer, Directory

SLAB_NBYTES = 16 << 20
"""Rows are read so many bytes at a time, uncompressed, or a strip at a time where one is larger."""
GAP_NBYTES = 4096
"""Strips this close to each other are read together."""
UNCOMPRESSED = 1
"""TIFF's own number."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Expected:
    """What a picture must be: ``shape`` is (y, x) in pixels, ``bounds`` (left, bottom, right, top) in ``epsg``."""

    shape: tuple[int, int]
    band_count: int
    dtype: str
    bounds: tuple[float, float, float, float]
    epsg: int

    @property
    def row_nbytes(self) -> int:
        """Bytes of one row of pixels in all bands."""
        return self.shape[1] * self.band_count * np.dtype(self.dtype).itemsize


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class StripedTiff:
    """The directory of a TIFF in a bucket, checked against what it must be; it holds no pixel.

    Memory while rows are read, beyond the array that is returned: three times the larger of ``SLAB_NBYTES`` and one
    strip, uncompressed, whatever the file's size (what came, what GDAL keeps of it, what it returns). Strips that are
    not compressed are read in parts, and take ``SLAB_NBYTES``, however large they are.
    """

    bucket: Bucket
    key: str
    expected: Expected
    directory: Directory
    offsets: NDArray[np.int64]
    """(plane, row, column) of blocks: where each begins in the file."""
    counts: NDArray[np.int64]
    """The same: its bytes in the file, 0 for one that was left out."""
    is_plain: bool
    """Whether its bytes are the pixels, without compression or holes."""

    @classmethod
    def open(cls, bucket: Bucket, key: str, expected: Expected) -> Self:
        """Reads the directory of the object ``key``. Raises DecodeError for any other picture than ``expected``.

        Raises StoreError as `Bucket.read_range` does.
        """
        size = bucket.size(key)
        try:
            directory = Directory.parse(partial(bucket.read_range, key), size)
            offsets, counts = directory.blocks(size)
            with _open(directory.write(directory.number(LENGTH, 0), [b""] * offsets.size)) as source:
                check_picture(
                    source,
                    shape=expected.shape,
                    band_count=expected.band_count,
                    dtype=expected.dtype,
                    bounds=expected.bounds,
                    epsg=expected.epsg,
                )
        # the directory's own errors come as what they are; these are GDAL's, as decode_tiff meets them
        except (RasterioError, ValueError, NotGeoreferencedWarning) as error:
            raise DecodeError(f"{bucket.url}/{key} is no readable TIFF ({error})") from error
        except DecodeError as error:
            raise DecodeError(f"{bucket.url}/{key}: {error}") from error
        is_plain = _is_plain(directory, counts, expected)
        return cls(
            bucket=bucket,
            key=key,
            expected=expected,
            directory=directory,
            offsets=offsets,
            counts=counts,
            is_plain=is_plain,
        )

    @property
    def slab_rows(self) -> int:
        """Rows that are read at a time."""
        rows = max(1, SLAB_NBYTES // self.expected.row_nbytes)
        strip = self.directory.block_rows
        return rows if self.is_plain else max(strip, rows - rows % strip)

    def slabs(self, y0: int, y1: int) -> Iterator[tuple[int, int]]:
        """Rows [y0, y1) in runs that are best read together: they end where strips do, but for the last. Pure."""
        while y0 < y1:
            end = min(y1, (y0 // self.slab_rows + 1) * self.slab_rows)
            yield y0, end
            y0 = end

    def nbytes_of(self, y0: int, y1: int) -> int:
        """Bytes of the file that hold rows [y0, y1). Pure."""
        if self.is_plain:
            return (y1 - y0) * self.expected.row_nbytes
        side = self.directory.block_rows
        return int(self.counts[:, y0 // side : -(-y1 // side)].sum())

    def read_rows(self, y0: int, y1: int, *, run_cpu: RunCpu = run_here) -> NDArray[Any]:
        """Rows [y0, y1) of the picture, (band, y, x). Raises DecodeError for damaged strips, StoreError for others."""
        rows = np.empty((self.expected.band_count, y1 - y0, self.expected.shape[1]), self.expected.dtype)
        for start, end in self.slabs(y0, y1):
            self._fill(rows[:, start - y0 : end - y0], start, end, run_cpu)
        return rows

    def _fill(self, rows: NDArray[Any], y0: int, y1: int, run_cpu: RunCpu) -> None:
        """Puts the rows of a slab in their place; nothing of it outlives the call."""
        if self.is_plain:
            planes = [self._read_plain(plane, y0, y1) for plane in range(self.offsets.shape[0])]
            run_cpu(partial(self._place, planes, rows))
            return
        side = self.directory.block_rows
        blocks = self._read_blocks(y0 // side, -(-y1 // side))
        run_cpu(partial(self._decode, blocks, y0, rows))

    def _read_plain(self, plane: int, y0: int, y1: int) -> Buffer:
        """The bytes of rows of one plane."""
        side, planes = self.directory.block_rows, self.offsets.shape[0]
        row_nbytes = self.expected.row_nbytes // planes
        strips = range(y0 // side, -(-y1 // side))
        ranges = []
        for strip in strips:
            top, offset = strip * side, int(self.offsets[plane, strip, 0])
            start, end = max(y0, top) - top, min(y1, top + side) - top
            ranges.append((offset + start * row_nbytes, offset + end * row_nbytes))
        found = list(starmap(partial(self.bucket.read_range, self.key), _joined(ranges, gap=0)))
        return found[0] if len(found) == 1 else b"".join(found)

    def _place(self, planes: list[Buffer], rows: NDArray[Any]) -> None:
        dtype = np.dtype(self.expected.dtype).newbyteorder(">" if self.directory.order == ">" else "<")
        bands, height, width = rows.shape
        for plane, found in enumerate(planes):
            pixels = np.frombuffer(found, dtype)
            if len(planes) == 1:
                rows[...] = pixels.reshape(height, width, bands).transpose(2, 0, 1)
            else:
                rows[plane] = pixels.reshape(height, width)

    def _read_blocks(self, first: int, last: int) -> list[Buffer]:
        """The blocks of rows [first, last) of them, in the order of the table."""
        offsets, counts = (table[:, first:last].ravel().tolist() for table in (self.offsets, self.counts))
        wanted = [(start, start + nbytes) for start, nbytes in zip(offsets, counts, strict=True)]
        runs = _joined([(start, end) for start, end in wanted if end > start], gap=GAP_NBYTES)
        found = [(start, end, memoryview(self.bucket.read_range(self.key, start, end))) for start, end in runs]

        def cut(start: int, end: int) -> Buffer:
            return next((view[start - low : end - low] for low, high, view in found if low <= start < end <= high), b"")

        return list(starmap(cut, wanted))

    def _decode(self, blocks: list[Buffer], y0: int, rows: NDArray[Any]) -> None:
        """Puts the rows from ``y0`` on in their place; the first of them is in the first of ``blocks``."""
        top = y0 - y0 % self.directory.block_rows
        count = len(blocks) // (self.offsets.shape[0] * self.offsets.shape[2])
        height = min(self.expected.shape[0] - top, count * self.directory.block_rows)
        window = RasterWindow(0, y0 - top, rows.shape[2], rows.shape[1])
        try:
            with _open(self.directory.write(height, blocks)) as source:
                rows[...] = source.read(window=window)
        except (RasterioError, ValueError, NotGeoreferencedWarning) as error:
            raise DecodeError(f"{self.bucket.url}/{self.key}: rows from {y0} on are damaged ({error})") from error


@contextmanager
def _open(content: bytes) -> Iterator[DatasetReader]:
    # sharing=False: GDAL must not hand one thread's file to another
    with MemoryFile(content) as file, file.open(driver="GTiff", sharing=False) as source:
        yield source


def _is_plain(directory: Directory, counts: NDArray[np.int64], expected: Expected) -> bool:
    """Whether rows can be taken from the file as they are."""
    planes, strips, _ = counts.shape
    height, side = expected.shape[0], directory.block_rows
    rows = np.minimum(side, height - np.arange(strips) * side)
    bits = directory.numbers(BITS)
    return (
        not directory.is_tiled
        and directory.number(COMPRESSION, UNCOMPRESSED) == UNCOMPRESSED
        and directory.number(FILL_ORDER, 1) == 1
        and bool((bits == 8 * np.dtype(expected.dtype).itemsize).all())
        and bool((counts[..., 0] >= rows * (expected.row_nbytes // planes)).all())
    )


def _joined(ranges: Sequence[tuple[int, int]], *, gap: int) -> list[tuple[int, int]]:
    """The ranges of bytes in their order, those together that follow each other with no more than ``gap`` between."""
    joined: list[tuple[int, int]] = []
    for start, end in ranges:
        if joined and 0 <= start - joined[-1][1] <= gap:
            joined[-1] = joined[-1][0], end
        else:
            joined.append((start, end))
    return joined
