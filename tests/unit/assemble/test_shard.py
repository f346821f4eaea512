"""A whole shard's bytes: zarr, who did not write them, reads them."""

from __future__ import annotations

import numpy as np
import pytest
import zarr
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from zarr.codecs import BloscCodec
from zarr.storage import MemoryStore

from shdask.assemble.shard import encode_shard
from shdask.assemble.store import create_or_open
from shdask.model import Window

DTYPES = ("uint8", "uint16", "int16", "uint32", "float32", "float64")


def read_back(shard: bytes, side: int, dtype: str, chunk_px: int) -> np.ndarray:
    """What zarr finds in a shard of ``side`` x ``side`` that is put where an array has its only one."""
    store = MemoryStore()
    array = zarr.create_array(
        store,
        shape=(side, side),
        dtype=dtype,
        chunks=(chunk_px, chunk_px),
        shards=(side, side),
        compressors=BloscCodec(cname="zstd", clevel=1, shuffle="shuffle"),
        fill_value=1,
    )
    array[:] = np.arange(side * side).reshape(side, side).astype(dtype)
    store._store_dict["c/0/0"] = store._store_dict["c/0/0"].from_bytes(shard)
    return np.asarray(zarr.open_array(store, mode="r")[:])


@given(st.data(), st.sampled_from(DTYPES), st.sampled_from([(4, 4), (4, 2), (6, 2), (8, 1)]))
def test_zarr_reads_every_pixel_of_a_shard(data: st.DataObject, dtype: str, sides: tuple[int, int]):
    """Whatever the type, in one chunk or in many."""
    side, chunk_px = sides
    values = data.draw(arrays(dtype, (side, side)))
    np.testing.assert_array_equal(read_back(encode_shard(values, chunk_px), side, dtype, chunk_px), values)


def test_a_shard_is_as_small_as_zarrs_own():
    """Same compressor, same level, same shuffle: not a byte more."""
    values = np.random.default_rng(1).integers(0, 4000, (64, 64)).astype(np.uint16)
    store = MemoryStore()
    array = zarr.create_array(
        store,
        shape=(64, 64),
        dtype="uint16",
        chunks=(16, 16),
        shards=(64, 64),
        compressors=BloscCodec(cname="zstd", clevel=1, shuffle="shuffle"),
    )
    array[:] = values
    assert len(encode_shard(values, 16)) == len(store._store_dict["c/0/0"])


def test_pixels_that_are_every_other_one_in_memory_are_told_right():
    """A view of a larger picture is as good as an array of its own."""
    values = np.arange(256, dtype=np.uint16).reshape(16, 16)[::2, ::2]
    np.testing.assert_array_equal(read_back(encode_shard(values, 4), 8, "uint16", 4), values)


@pytest.mark.parametrize("index", [0, 8])
def test_whole_tiles_and_those_at_the_edge_read_the_same(plan, pixels, tmp_path, index: int):
    """Only the first is a whole shard; the second is clipped by the array."""
    cube = create_or_open(plan, tmp_path / "cube")
    tile = plan.tile(index)
    cube.write_tile(tile, pixels.of(tile))
    stored = zarr.open_group(tmp_path / "cube", mode="r")["B04"][tile.extent.slices]
    np.testing.assert_array_equal(stored, np.where(pixels.of(tile).data_mask, pixels.of(tile).values[0], 0))


def test_only_a_sharded_tile_inside_the_array_is_a_whole_shard(plan, make_small_plan, tmp_path):
    """What zarr must put together itself is left to it."""
    sharded = create_or_open(plan, tmp_path / "a").layout
    loose = create_or_open(make_small_plan(sharded=False), tmp_path / "b").layout
    whole, clipped = plan.tile(0).extent, plan.tile(8).extent
    part = Window(y0=0, y1=16, x0=0, x1=16)
    assert sharded.is_whole_shard(whole)
    assert not sharded.is_whole_shard(clipped)
    assert not sharded.is_whole_shard(part)
    assert not loose.is_whole_shard(whole)
