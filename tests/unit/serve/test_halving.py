"""Halving a picture, held against numpy."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from hypothesis.extra.numpy import array_shapes, arrays

from shdask.serve.halving import halve_classes, halve_mask, halve_measurements

SHAPES = array_shapes(min_dims=2, max_dims=2, max_side=7)


def fours(values: np.ndarray, fill: object) -> np.ndarray:
    """(y, x, 4): the pixels that become one, ``fill`` beyond the edge."""
    height, width = values.shape
    even = np.pad(values, ((0, height % 2), (0, width % 2)), constant_values=fill)
    parts = even.reshape(even.shape[0] // 2, 2, even.shape[1] // 2, 2)
    return parts.transpose(0, 2, 1, 3).reshape(*parts.shape[::2], 4)


@settings(max_examples=30)
@given(st.data())
def test_measurements_are_the_mean_of_valid_pixels(data: st.DataObject):
    """Whatever the shape; what is not valid has no part in it."""
    shape = data.draw(SHAPES)
    values = data.draw(arrays(np.float32, shape, elements=st.floats(-1e4, 1e4, width=32)))
    valid = data.draw(arrays(np.bool_, shape))
    expected = np.ma.masked_array(fours(values.astype(float), 0), ~fours(valid, False)).mean(axis=-1).filled(np.nan)
    np.testing.assert_allclose(halve_measurements(values, valid, np.nan), expected, rtol=1e-5, atol=1e-3)


@settings(max_examples=30)
@given(st.data())
def test_a_class_is_one_that_most_valid_pixels_have(data: st.DataObject):
    """No other of the four has more votes, and it is one of theirs."""
    shape = data.draw(SHAPES)
    values = data.draw(arrays(np.uint8, shape, elements=st.integers(0, 4)))
    valid = data.draw(arrays(np.bool_, shape))
    found = halve_classes(values, valid, 99)
    codes = np.where(fours(valid, False), fours(values, 0), 255)
    votes = np.stack([(codes == code).sum(axis=-1) for code in range(5)])
    chosen = np.take_along_axis(votes, np.minimum(found, 4)[np.newaxis].astype(int), axis=0)[0]
    np.testing.assert_array_equal(np.where(votes.max(axis=0) == 0, 99, found), found)
    np.testing.assert_array_equal(np.where(found == 99, 0, chosen), votes.max(axis=0))


@pytest.mark.parametrize(
    ("four", "mean"), [([1, 2, 2, 2], 2), ([1, 1, 2, 2], 2), ([1, 1, 1, 2], 1), ([65535] * 4, 65535)]
)
def test_integers_are_rounded_half_up(four: list[int], mean: int):
    """And do not overflow."""
    values = np.array(four, np.uint16).reshape(2, 2)
    assert halve_measurements(values, np.ones((2, 2), np.bool_), 0).tolist() == [[mean]]


def test_where_nothing_is_valid_stands_the_fill_value():
    """In the type of the values."""
    values, valid = np.full((2, 2), 7, np.int16), np.zeros((2, 2), np.bool_)
    assert halve_measurements(values, valid, -1).tolist() == [[-1]]
    assert halve_classes(values, valid, 0).tolist() == [[0]]
    assert halve_measurements(values, valid, -1).dtype == np.int16


def test_a_tie_goes_to_the_first_pixel():
    """Row by row."""
    assert halve_classes(np.array([[3, 1], [1, 3]], np.uint8), np.ones((2, 2), np.bool_), 0).tolist() == [[3]]


def test_a_pixel_is_valid_where_any_below_it_is():
    """Thin areas stay to be seen."""
    valid = np.zeros((3, 4), np.bool_)
    valid[2, 3] = True
    assert halve_mask(valid).tolist() == [[False, False], [False, True]]
