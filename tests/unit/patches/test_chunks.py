"""Chunks of a cube's arrays, held against zarr."""

from __future__ import annotations

import pickle
import shutil
from pathlib import Path

import numpy as np
import obstore
import pytest
import zarr
from obstore.store import MemoryStore
from zarr.codecs import BloscCodec, ZstdCodec

from shdask.assemble.place import open_place
from shdask.assemble.shard import decode_index
from shdask.errors import StoreError, WrongStore
from shdask.model import Window
from shdask.patches.reading.byte_ranges import BucketRanges, FileRanges
from shdask.patches.reading.chunks import ArrayLayout, ChunkCache, ChunkSource
from shdask.patches.reading.states import TileStates

PIXELS = np.random.default_rng(1).integers(1, 9999, (2, 70, 80)).astype(np.uint16)
"""Two dates of 70 x 80 px, in shards of 32 px and chunks of 16."""


def write(folder: Path, *, sharded: bool = True, dtype: str = "uint16", compressor=None, name: str = "B04") -> None:
    """By zarr, without its third column of shards at the second date."""
    array = zarr.open_group(folder, mode="a").create_array(
        name,
        shape=PIXELS.shape,
        dtype=dtype,
        chunks=(1, 16, 16),
        shards=(1, 32, 32) if sharded else None,
        fill_value=0,
        compressors=compressor or BloscCodec(cname="zstd", clevel=1, shuffle="shuffle"),
        overwrite=True,
    )
    array[0] = PIXELS[0]
    array[1, :, :64] = PIXELS[1, :, :64]


def source(folder: Path, cache: ChunkCache | None = None) -> tuple[ChunkSource, ArrayLayout]:
    place = open_place(folder)
    array = zarr.open_array(folder, path="B04", mode="r")
    return ChunkSource(place, cache or ChunkCache(), may_change=False), ArrayLayout.of(array, place, tile_px=32)


def read(chunks: ChunkSource, array: ArrayLayout, position: tuple[int, ...]) -> np.ndarray | None:
    """A chunk of a tile without a mask."""
    return chunks.chunk(array, position, TileStates())


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    write(tmp_path / "cube")
    return tmp_path / "cube"


@pytest.mark.parametrize("sharded", [True, False])
@pytest.mark.parametrize("dtype", ["uint8", "uint16", "float32"])
def test_chunks_are_what_zarr_wrote(tmp_path: Path, sharded: bool, dtype: str):
    """Of every type, in shards and without."""
    write(tmp_path, sharded=sharded, dtype=dtype)
    chunks, array = source(tmp_path)
    found = read(chunks, array, (1, 3, 2))
    np.testing.assert_array_equal(found, PIXELS[1, 48:64, 32:48].astype(dtype))
    assert found.dtype == dtype


def test_a_chunk_at_the_edge_is_whole(folder: Path):
    """What lies beyond the array is fill."""
    chunks, array = source(folder)
    found = read(chunks, array, (0, 4, 4))
    np.testing.assert_array_equal(found[:6], PIXELS[0, 64:70, 64:80])
    assert not found[6:].any()


@pytest.mark.parametrize("sharded", [True, False])
def test_what_is_not_stored_is_none(tmp_path: Path, sharded: bool):
    """A whole object, and one that comes later is seen."""
    write(tmp_path, sharded=sharded)
    chunks, array = source(tmp_path)
    assert read(chunks, array, (1, 0, 4)) is None
    zarr.open_array(tmp_path, path="B04", mode="r+")[1, :32, 64:] = 7
    assert (read(chunks, array, (1, 0, 4)) == 7).all()


def test_a_chunk_that_its_shard_lacks_is_none(tmp_path: Path):
    """Zarr does not store chunks that are all fill."""
    write(tmp_path)
    zarr.open_array(tmp_path, path="B04", mode="r+")[0, :16, :16] = 0
    chunks, array = source(tmp_path)
    assert read(chunks, array, (0, 0, 0)) is None
    assert read(chunks, array, (0, 0, 1)) is not None


def test_a_chunk_is_read_once(folder: Path):
    """Its file may be gone the second time."""
    chunks, array = source(folder)
    first = read(chunks, array, (0, 0, 0))
    shutil.rmtree(folder / "B04")
    assert read(chunks, array, (0, 0, 0)) is first


def test_what_is_shared_cannot_be_written_to(folder: Path):
    """Another patch reads it too."""
    chunks, array = source(folder)
    with pytest.raises(ValueError, match="read-only"):
        read(chunks, array, (0, 0, 0))[0, 0] = 1


def test_a_cache_is_bounded_and_forgets_what_was_used_least(folder: Path):
    """Two chunks of 512 bytes fit in 1100."""
    cache = ChunkCache(1100)
    chunks, array = source(folder, cache)
    first = read(chunks, array, (0, 0, 0))
    read(chunks, array, (0, 0, 1))
    assert read(chunks, array, (0, 0, 0)) is first
    read(chunks, array, (0, 1, 0))
    assert cache.held_nbytes == 1024
    assert read(chunks, array, (0, 0, 0)) is first


def test_what_is_held_anew_is_forgotten_last():
    """And takes the place of what stood under its key."""
    cache, chunk = ChunkCache(1100), np.zeros(512, np.uint8)
    [cache.put(key, chunk, "old") for key in ("a", "b")]
    cache.put("a", chunk, "new")
    cache.put("c", chunk, "new")
    assert [cache.get(key) and cache.get(key)[1] for key in "abc"] == ["new", None, "new"]
    assert cache.held_nbytes == 1024


def test_tables_of_shards_are_bounded_and_forgotten_when_not_used(folder: Path, monkeypatch: pytest.MonkeyPatch):
    """Two of four chunks each: the one that was used again stays, and what is read is the same."""
    monkeypatch.setattr("shdask.patches.reading.chunks.INDEX_ENTRIES", 8)
    chunks, array = source(folder, ChunkCache(0))
    found = [read(chunks, array, position) for position in ((0, 0, 0), (0, 0, 2), (0, 0, 1), (0, 2, 0))]
    np.testing.assert_array_equal(found[-1], PIXELS[0, 32:48, :16])
    assert list(chunks._indices) == ["B04/c/0/0/0", "B04/c/0/1/0"]


def test_what_is_larger_than_a_cache_is_not_held(folder: Path):
    """It is read all the same."""
    cache = ChunkCache(100)
    chunks, array = source(folder, cache)
    assert read(chunks, array, (0, 0, 0)) is not None
    assert cache.held_nbytes == 0


def test_a_shard_that_is_written_anew_is_read_by_its_new_table(folder: Path):
    """Its chunks lie elsewhere now."""
    chunks, array = source(folder, ChunkCache(0))
    read(chunks, array, (0, 0, 0))
    zarr.open_array(folder, path="B04", mode="r+")[0, :32, :32] = np.arange(1024, dtype=np.uint16).reshape(32, 32)
    found = read(chunks, array, (0, 1, 1))
    np.testing.assert_array_equal(found, np.arange(1024).reshape(32, 32)[16:, 16:])


def test_a_broken_shard_is_told_with_its_cure(folder: Path):
    """A bit of its table, and a byte of a chunk."""
    shard = folder / "B04" / "c" / "0" / "0" / "0"
    data = bytearray(shard.read_bytes())
    data[-10] ^= 1
    shard.write_bytes(data)
    chunks, array = source(folder)
    with pytest.raises(StoreError, match=r"B04/c/0/0/0 is broken: .* verify --repair"):
        read(chunks, array, (0, 0, 0))


def test_a_broken_chunk_is_told_with_its_cure(tmp_path: Path):
    """Cut short."""
    write(tmp_path, sharded=False)
    (tmp_path / "B04" / "c" / "0" / "0" / "0").write_bytes(b"\x02\x01\x21")
    chunks, array = source(tmp_path)
    with pytest.raises(StoreError, match=r"B04, chunk \(0, 0, 0\) is broken: .* verify --repair"):
        read(chunks, array, (0, 0, 0))


def test_an_array_of_another_codec_is_refused(tmp_path: Path):
    """Its bytes would be misread."""
    write(tmp_path, compressor=ZstdCodec())
    with pytest.raises(WrongStore, match="is not compressed as shdask does"):
        source(tmp_path)


def test_a_source_travels_without_pixels(folder: Path):
    """To another process."""
    chunks, array = source(folder)
    expected = read(chunks, array, (0, 0, 0))
    sent = pickle.dumps((chunks, array))
    assert len(sent) < 1000
    other, layout = pickle.loads(sent)  # noqa: S301  # our own
    np.testing.assert_array_equal(read(other, layout, (0, 0, 0)), expected)


def test_cells_are_the_chunks_under_a_window(folder: Path):
    """Cut at the array's edge; the pixels of all cells are the window's, each once."""
    _, array = source(folder)
    cells = dict(array.cells(Window(y0=50, y1=90, x0=-5, x1=20)))
    assert list(cells) == [(3, 0), (3, 1), (4, 0), (4, 1)]
    assert cells[4, 1] == Window(y0=64, y1=70, x0=16, x1=20)
    assert list(array.cells(Window(y0=70, y1=90, x0=0, x1=20))) == []


def test_a_spoilt_table_is_refused():
    """Of a length that no table has."""
    with pytest.raises(ValueError, match="checksum"):
        decode_index(b"12345678")


def test_the_object_that_commits_a_tile_is_its_last(folder: Path, tmp_path: Path):
    """Its shard, else its chunk at the lower right, also at the array's edge."""
    write(tmp_path, sharded=False)
    (_, sharded), (_, unsharded) = source(folder), source(tmp_path)
    positions = [(1, 0, 0), (1, 3, 2), (0, 4, 4)]
    found = [[array.mark_of(position) for position in positions] for array in (sharded, unsharded)]
    assert found[0] == ["data_mask/c/1/0/0", "data_mask/c/1/1/1", "data_mask/c/0/2/2"]
    assert found[1] == ["data_mask/c/1/1/1", "data_mask/c/1/3/3", "data_mask/c/0/4/4"]


def test_a_bucket_gives_ends_and_parts_of_objects():
    """By ranges, and only of the object that was seen."""
    store = MemoryStore()
    obstore.put(store, "a/b", b"0123456789")
    ranges = BucketRanges(store=store)
    end, tag = ranges.read_end("a/b", 3)
    assert (end, ranges.read("a/b"), ranges.tag("a/b")) == (b"789", (b"0123456789", tag), tag)
    assert ranges.read_part("a/b", 2, 3, tag) == b"234"
    obstore.put(store, "a/b", b"9876543210")
    assert ranges.read_part("a/b", 2, 3, tag) is None


def test_what_is_not_there_is_none(tmp_path: Path):
    """In a bucket and in a folder."""
    both = [BucketRanges(store=MemoryStore()), FileRanges(path=tmp_path)]
    assert [each.read("a") for each in both] == [None, None]
    assert [each.read_end("a", 1) for each in both] == [each.tag("a") for each in both] == [None, None]
    assert [each.read_part("a", 0, 1, "1") for each in both] == [None, None]


def test_a_folder_s_parts_are_those_of_the_file_that_was_seen(tmp_path: Path):
    """Not of one that has taken its place."""
    ranges = FileRanges(path=tmp_path)
    (tmp_path / "a").write_bytes(b"0123456789")
    end, tag = ranges.read_end("a", 3)
    assert (end, ranges.read_part("a", 2, 3, tag)) == (b"789", b"234")
    assert (ranges.read("a"), ranges.tag("a")) == ((b"0123456789", tag), tag)
    (tmp_path / "b").write_bytes(b"9876543210")
    (tmp_path / "b").replace(tmp_path / "a")
    assert ranges.read_part("a", 2, 3, tag) is None
