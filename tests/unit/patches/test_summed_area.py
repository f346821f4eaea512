"""Sums of blocks under squares."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from shdask.patches.choosing.summed_area import BlocksUnder

SHAPE = (70, 53)


def spread(blocks: np.ndarray, block_px: int, shape: tuple[int, int]) -> np.ndarray:
    """(y, x): every block's count over its pixels, evenly."""
    whole = np.ones(shape)
    rows, columns = (np.arange(0, side, block_px) for side in shape)
    areas = np.add.reduceat(np.add.reduceat(whole, rows, axis=0), columns, axis=1)
    each = np.kron(blocks / areas, np.ones((block_px, block_px)))
    return each[: shape[0], : shape[1]]


@settings(max_examples=50)
@given(
    block_px=st.sampled_from([1, 5, 16, 32, 100]),
    corners=st.lists(st.tuples(st.integers(-40, 90), st.integers(-40, 90)), min_size=1, max_size=6),
    size_px=st.integers(1, 120),
    seed=st.integers(0, 1000),
)
def test_a_square_gets_of_each_block_what_it_covers(block_px, corners, size_px, seed) -> None:
    """As if the pixels of a block were spread evenly over it; nothing lies beyond the array."""
    shape = tuple(-(-side // block_px) for side in SHAPE)
    blocks = np.random.default_rng(seed).integers(0, 1000, shape)
    y0, x0 = np.array(corners).T
    around = np.pad(spread(blocks, block_px, SHAPE), 200)
    expected = [around[y + 200 : y + 200 + size_px, x + 200 : x + 200 + size_px].sum() for y, x in corners]
    found = BlocksUnder.of(SHAPE, block_px, y0, x0, size_px).sum(blocks)
    np.testing.assert_allclose(found, expected, rtol=1e-9, atol=1e-6)


def test_squares_of_whole_blocks_are_exact() -> None:
    """Integers come back as they are."""
    blocks = np.random.default_rng(1).integers(0, 1 << 15, (64, 64)).astype(np.uint16)
    found = BlocksUnder.of((2048, 2048), 32, np.array([0, 64, 1792]), np.array([32, 512, 1792]), 256).sum(blocks)
    assert found.tolist() == [blocks[:8, 1:9].sum(), blocks[2:10, 16:24].sum(), blocks[56:, 56:].sum()]


def test_no_square_has_no_sum() -> None:
    """An empty table of patches is one too."""
    assert BlocksUnder.of((64, 64), 32, np.empty(0, np.int64), np.empty(0, np.int64), 32).sum(np.ones((2, 2))).size == 0
