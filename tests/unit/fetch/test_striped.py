"""Rows of a TIFF in a bucket: the same pixels as GDAL reads, little memory and few bytes, and errors for all else."""

from __future__ import annotations

import tracemalloc
from dataclasses import dataclass, field
from typing import Any

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray
from rasterio.io import MemoryFile
from rasterio.transform import from_bounds

from shdask.errors import DecodeError
from shdask.fetch import striped
from shdask.fetch.striped import Expected, StripedTiff
from shdask.fetch.tiff_directory import HEAD_NBYTES

BOUNDS = (500000.0, 5100000.0, 501940.0, 5101660.0)
SHAPE = (83, 97)
PICTURE = np.random.default_rng(7).integers(1, 10_000, (3, *SHAPE)).astype("uint16")
EXPECTED = Expected(shape=SHAPE, band_count=3, dtype="uint16", bounds=BOUNDS, epsg=32633)

LAYOUTS: dict[str, dict[str, Any]] = {
    "plain": {"blockysize": 8},
    "plain-one-strip": {"blockysize": 83},
    "plain-rows": {"blockysize": 1},
    "plain-planar": {"interleave": "band", "blockysize": 8},
    "plain-big": {"BIGTIFF": "YES", "blockysize": 8},
    "plain-big-endian": {"ENDIANNESS": "BIG", "blockysize": 8},
    "plain-tiled": {"tiled": True, "blockxsize": 32, "blockysize": 16},
    "deflate": {"compress": "deflate", "blockysize": 8},
    "deflate-planar": {"compress": "deflate", "interleave": "band", "blockysize": 8},
    "deflate-big": {"compress": "deflate", "predictor": 2, "BIGTIFF": "YES", "blockysize": 8},
    "deflate-big-endian": {"compress": "deflate", "ENDIANNESS": "BIG", "blockysize": 8},
    "lzw": {"compress": "lzw", "predictor": 2, "blockysize": 5},
    "zstd": {"compress": "zstd", "blockysize": 8},
    "zstd-tiled": {"compress": "zstd", "tiled": True, "blockxsize": 32, "blockysize": 16},
    "packbits": {"compress": "packbits", "blockysize": 8},
}


def make_tiff(picture: NDArray[Any] = PICTURE, **options: Any) -> bytes:
    """A GeoTIFF written by rasterio, pixel by pixel and placed at BOUNDS unless told otherwise."""
    count, height, width = picture.shape
    place = {"crs": "EPSG:32633", "transform": from_bounds(*BOUNDS, width, height), "interleave": "pixel"}
    size = {"width": width, "height": height, "count": count, "dtype": picture.dtype}
    with MemoryFile() as file:
        with file.open(driver="GTiff", **size, **(place | options)) as target:
            target.write(picture)
        return bytes(file.getbuffer())


@dataclass
class OneObject:
    """A bucket of one object that notes what is read of it."""

    content: bytes
    url: str = "s3://bucket/prefix"
    seen: list[tuple[int, int]] = field(default_factory=list)

    def size(self, key: str) -> int:
        """Its bytes."""
        assert key == "id/default.tif"
        return len(self.content)

    def read_range(self, key: str, start: int, end: int) -> bytearray:
        """Bytes that it has."""
        assert key == "id/default.tif"
        assert 0 <= start < end <= len(self.content)
        self.seen.append((start, end))
        return bytearray(memoryview(self.content)[start:end])


TIFFS = {name: make_tiff(**options) for name, options in LAYOUTS.items()}


def opened(content: bytes, expected: Expected = EXPECTED) -> StripedTiff:
    """The TIFF as it is read from a bucket."""
    return StripedTiff.open(OneObject(content), "id/default.tif", expected)  # type: ignore[arg-type]  # a stand-in


@pytest.mark.parametrize("layout", LAYOUTS)
@given(rows=st.tuples(st.integers(0, 83), st.integers(0, 83)).map(sorted), slab=st.sampled_from([1, 3000, 20_000]))
@settings(max_examples=25)
def test_any_rows_are_those_of_the_picture(layout: str, rows: list[int], slab: int):
    """Whatever the layout, and however many rows are read at a time."""
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(striped, "SLAB_NBYTES", slab)
        read = opened(TIFFS[layout]).read_rows(*rows)
    assert read.dtype == np.uint16
    np.testing.assert_array_equal(read, PICTURE[:, rows[0] : rows[1]])


@pytest.mark.parametrize("compress", ["none", "deflate"])
@pytest.mark.parametrize("dtype", ["uint8", "int8", "int16", "float32"])
def test_every_sample_type_is_read(dtype: str, compress: str):
    """NaN included."""
    picture = (PICTURE % 100).astype(dtype)
    expected = Expected(shape=SHAPE, band_count=3, dtype=dtype, bounds=BOUNDS, epsg=32633)
    read = opened(make_tiff(picture, compress=compress), expected).read_rows(10, 20)
    assert read.dtype == dtype
    np.testing.assert_array_equal(read, picture[:, 10:20])


def test_a_strip_that_was_left_out_is_zero():
    """As GDAL reads what it has not written."""
    picture = PICTURE.copy()
    picture[:, 8:24] = 0
    content = make_tiff(picture, blockysize=8, SPARSE_OK="TRUE")
    assert len(content) < len(TIFFS["plain"])
    np.testing.assert_array_equal(opened(content).read_rows(4, 30), picture[:, 4:30])


@pytest.mark.parametrize("layout", ["plain", "deflate"])
def test_only_the_directory_and_the_strips_of_the_rows_are_read(layout: str):
    """Of a file larger than what is asked for first; strips that lie together come together."""
    picture = np.random.default_rng(7).integers(1, 10_000, (3, 400, 500)).astype("uint16")
    expected = Expected(shape=(400, 500), band_count=3, dtype="uint16", bounds=BOUNDS, epsg=32633)
    bucket = OneObject(make_tiff(picture, **LAYOUTS[layout]))
    tiff = StripedTiff.open(bucket, "id/default.tif", expected)  # type: ignore[arg-type]  # a stand-in
    opening = len(bucket.seen)
    np.testing.assert_array_equal(tiff.read_rows(200, 208), picture[:, 200:208])
    assert bucket.seen[0] == (0, HEAD_NBYTES)
    assert sum(end - start for start, end in bucket.seen[1:opening]) < 20_000
    assert len(bucket.seen) == opening + 1
    assert sum(end - start for start, end in bucket.seen[opening:]) <= 8 * 500 * 3 * 2


@pytest.mark.parametrize("compress", ["none", "deflate"])
def test_memory_is_bounded_by_the_rows_and_a_few_slabs(compress: str, monkeypatch: pytest.MonkeyPatch):
    """Not by the file: numpy and Python hold the rows, and less than three slabs beside them."""
    monkeypatch.setattr(striped, "SLAB_NBYTES", 1 << 20)
    picture = np.zeros((4, 4000, 1000), np.uint16)
    expected = Expected(shape=(4000, 1000), band_count=4, dtype="uint16", bounds=BOUNDS, epsg=32633)
    tiff = opened(make_tiff(picture, compress=compress, blockysize=64), expected)
    tracemalloc.start()
    rows = tiff.read_rows(1000, 2000)
    peak = tracemalloc.get_traced_memory()[1]
    tracemalloc.stop()
    assert rows.nbytes == 8_000_000
    assert peak < rows.nbytes + 3 * (1 << 20)


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"shape": (84, 97)}, r"has 83 x 97 \(y, x\) pixels"),
        ({"shape": (83, 96)}, r"has 83 x 97 \(y, x\) pixels"),
        ({"band_count": 4}, "has 3 bands"),
        ({"dtype": "int16"}, "samples are uint16"),
        ({"bounds": (500010.0, 5100000.0, 501950.0, 5101660.0)}, "misplaced"),
        ({"epsg": 32634}, "EPSG:32633"),
    ],
)
@pytest.mark.parametrize("layout", ["plain", "deflate"])
def test_another_picture_is_refused_before_its_pixels_are_read(layout: str, change: dict[str, Any], told: str):
    """Size, bands, type and place, with the object's name."""
    asked = {"shape": SHAPE, "band_count": 3, "dtype": "uint16", "bounds": BOUNDS, "epsg": 32633}
    with pytest.raises(DecodeError, match=f"^s3://bucket/prefix/id/default.tif: .*{told}"):
        opened(TIFFS[layout], Expected(**{**asked, **change}))


@pytest.mark.parametrize("layout", LAYOUTS)
@given(share=st.floats(0, 1, exclude_max=True))
@settings(max_examples=25)
def test_a_truncated_file_is_never_read(layout: str, share: float):
    """Cut anywhere, down to the last byte: an error at once."""
    body = TIFFS[layout]
    with pytest.raises(DecodeError):
        opened(body[: int(share * len(body))]).read_rows(0, 83)


@pytest.mark.parametrize("layout", LAYOUTS)
@given(place=st.integers(0, 700), value=st.integers(0, 255))
@settings(max_examples=150)
def test_a_damaged_directory_is_an_error_or_does_no_harm(layout: str, place: int, value: int):
    """Any byte of it changed: no other exception, and the shape that was asked for."""
    body = bytearray(TIFFS[layout])
    body[place] = value
    try:
        read = opened(bytes(body)).read_rows(0, 83)
    except DecodeError:
        return
    assert read.shape == PICTURE.shape


def test_damaged_strips_are_an_error():
    """Of a compressed file; they are named by the rows."""
    body = bytearray(TIFFS["deflate"])
    body[len(body) // 2 : len(body) // 2 + 200] = b"\xff" * 200
    with pytest.raises(DecodeError, match=r"rows from .* are damaged"):
        opened(bytes(body)).read_rows(0, 83)


@pytest.mark.parametrize("body", [b"", b"II*\0", b"<html>no</html>" * 9, b'{"error": 1}' * 9])
def test_what_is_no_tiff_is_told(body: bytes):
    """With the beginning of what lies there."""
    with pytest.raises(DecodeError, match="no TIFF"):
        opened(body)


def test_pixels_are_decoded_where_the_processor_is_shared_out():
    """Each slab is one piece of work."""
    works: list[Any] = []

    def run_cpu(work: Any) -> Any:
        works.append(work)
        return work()

    opened(TIFFS["deflate"]).read_rows(0, 83, run_cpu=run_cpu)
    assert len(works) == 1
