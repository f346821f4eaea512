"""Moments of numbers that come in parts: as numpy has them of all at once."""

from __future__ import annotations

from functools import reduce

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shdask.patches.measuring.moments import Buckets, Moments

RNG = np.random.default_rng(1)


def in_parts(values: np.ndarray, cuts: list[int]) -> Moments:
    """Those of each part, merged."""
    return reduce(Moments.merge, [Moments.of(part, values.dtype) for part in np.split(values, sorted(cuts))])


@pytest.mark.parametrize(
    "values",
    [
        RNG.integers(0, 65536, 5000).astype(np.uint16),
        RNG.integers(-300, 300, 5000).astype(np.int16),
        RNG.integers(0, 12, 5000).astype(np.uint8),
        RNG.normal(0.2, 0.1, 5000).astype(np.float32),
        (1e6 + RNG.normal(0, 1e-2, 5000)).astype(np.float64),
    ],
    ids=["uint16", "int16", "uint8", "float32", "far from zero"],
)
def test_mean_and_spread_of_parts_are_those_of_all(values) -> None:
    """In float64, also where the mean is large beside the spread."""
    found = in_parts(values, [1, 700, 700, 3000])
    assert found.count == 5000
    assert (found.least, found.most) == (values.min(), values.max())
    np.testing.assert_allclose(found.mean, values.astype(np.float64).mean(), rtol=1e-13)
    np.testing.assert_allclose(found.std, values.astype(np.float64).std(), rtol=1e-6)


@pytest.mark.parametrize("dtype", ["uint8", "uint16", "int16"])
@pytest.mark.parametrize("percent", [0, 2, 33.3, 50, 98, 100])
def test_percentiles_of_short_integers_are_exact(dtype, percent) -> None:
    """To numpy's interpolation between neighbours."""
    values = np.random.default_rng(2).integers(0, 100, 999).astype(dtype)
    assert in_parts(values, [10, 500]).percentile(percent) == pytest.approx(np.percentile(values, percent), abs=1e-9)


@settings(max_examples=50)
@given(
    values=st.lists(st.floats(-1e6, 1e6, width=32), min_size=1, max_size=40),
    percent=st.floats(0, 100),
    cut=st.integers(0, 40),
)
def test_percentiles_of_floats_are_within_a_bucket(values, percent, cut) -> None:
    """That of 1/512 of the larger neighbour, and of what is next to nothing."""
    array = np.array(values, np.float32)
    found = in_parts(array, [min(cut, array.size)]).percentile(percent)
    low, high = (float(np.percentile(array, percent, method=end)) for end in ("lower", "higher"))
    slack = max(abs(low), abs(high)) / 512 + 1e-37
    assert low - slack <= found <= high + slack


@settings(max_examples=50)
@given(st.lists(st.floats(width=32, allow_nan=False, allow_infinity=False), min_size=2, max_size=30))
def test_buckets_ascend_with_their_numbers(values) -> None:
    """And each number lies between its bucket's edges."""
    array = np.sort(np.array(values, np.float32))
    buckets = Buckets.of(np.float32)
    found = buckets.find(array)
    edges = np.array([buckets.edges(int(bucket)) for bucket in found])
    assert (np.diff(found) >= 0).all()
    assert ((edges[:, 0] <= array) & (array <= edges[:, 1])).all()


def test_of_nothing_there_are_no_moments() -> None:
    """And nothing changes what it is merged with."""
    nothing = Moments.of(np.empty(0), np.uint16)
    some = Moments.of(np.array([3, 5], np.uint16), np.uint16)
    assert (nothing.count, np.isnan(nothing.std), np.isnan(nothing.percentile(50))) == (0, True, True)
    assert nothing.merge(some).mean == some.merge(nothing).mean == 4.0
