"""A tile's checksum counts pixels, however they lie in memory."""

from __future__ import annotations

import zlib

import numpy as np
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra import numpy as hnp

from shdask.assemble.checksum import add_to_checksum
from shdask.assemble.store import create_or_open

ARRAYS = hnp.arrays(st.sampled_from(["u1", "<u2", "<f4"]), hnp.array_shapes(min_dims=2, max_dims=2))


@given(array=ARRAYS)
def test_it_is_the_crc_of_little_endian_rows(array: np.ndarray):
    """Anybody can compute it with zlib and numpy."""
    assert add_to_checksum(0, array) == zlib.crc32(array.tobytes("C"))


@given(array=ARRAYS)
def test_memory_order_and_byte_order_do_not_count(array: np.ndarray):
    """Big-endian columns hold the same pixels."""
    other = np.asfortranarray(array).astype(array.dtype.newbyteorder(">"))
    assert add_to_checksum(0, other) == add_to_checksum(0, array)


@given(array=ARRAYS)
def test_a_part_of_an_array_counts_as_its_copy(array: np.ndarray):
    """Views are read as what they show."""
    assert add_to_checksum(0, array[::2, ::-1]) == add_to_checksum(0, array[::2, ::-1].copy())


def test_bands_count_in_order():
    """Two bands exchanged are other pixels."""
    a, b = np.zeros((2, 2), np.uint8), np.ones((2, 2), np.uint8)
    assert add_to_checksum(add_to_checksum(0, a), b) != add_to_checksum(add_to_checksum(0, b), a)


def test_a_stored_tile_tells_the_checksum_of_bands_then_mask(plan, pixels, tmp_path):
    """Of its extent, as it lies on disk."""
    cube, tile = create_or_open(plan, tmp_path / "cube"), plan.tile(7)
    stored = cube.write_tile(tile, pixels.of(tile))
    values, mask = pixels.values[(slice(None), *tile.extent.slices)], pixels.mask[tile.extent.slices]
    b04, scl = np.where(mask, values[0], 0).astype("<u2"), np.where(mask, values[1], 0).astype("u1")
    assert stored.checksum == zlib.crc32(b04.tobytes() + scl.tobytes() + mask.astype("u1").tobytes())
