"""Chance that only a seed decides."""

from __future__ import annotations

import numpy as np
from hypothesis import given, settings
from hypothesis import strategies as st

from shdask.patches.draw import _mix, below, draw, share_of


def test_numbers_are_splitmix64s():
    """Its first after a state of 0, as published with Java's SplittableRandom."""
    assert hex(int(_mix(np.zeros(1, np.uint64))[0])) == "0xe220a8397b1dcdaf"


def test_a_draw_is_the_same_for_ever():
    """Tables that were written years ago can be made again, whatever numpy does."""
    drawn = draw(7, "split", np.array([0, 1, -1]), np.array([5, 5, 5]))
    assert drawn.tolist() == [3946849071200685375, 8781011633837375, 14750731290961401772]


@settings(max_examples=40)
@given(seed=st.integers(-(2**63), 2**64 - 1), rows=st.permutations(range(20)))
def test_a_row_is_drawn_by_itself(seed: int, rows: list[int]):
    """Neither its place nor its neighbours count."""
    numbers = np.arange(20) * 1_000_003
    order = np.array(rows)
    np.testing.assert_array_equal(draw(seed, "class", numbers)[order], draw(seed, "class", numbers[order]))


def test_purposes_and_seeds_have_nothing_to_do_with_each_other():
    """Their numbers are all different, and do not correlate."""
    numbers = np.arange(4000)
    drawn = np.stack([draw(seed, name, numbers) for seed in (1, 2) for name in ("x", "y")])
    assert np.unique(drawn).size == drawn.size
    assert np.abs(np.corrcoef(share_of(drawn.ravel()).reshape(4, -1)) - np.eye(4)).max() < 0.06


def test_shares_are_even():
    """Each tenth has a tenth."""
    shares = share_of(draw(0, "tile", np.arange(100_000)))
    counts, _ = np.histogram(shares, bins=10, range=(0.0, 1.0))
    assert counts.sum() == 100_000
    assert np.abs(counts - 10_000).max() < 400


def test_whole_numbers_lie_below_their_limit():
    """All of them are drawn."""
    assert np.unique(below(draw(0, "y", np.arange(1000)), 7)).tolist() == [0, 1, 2, 3, 4, 5, 6]
