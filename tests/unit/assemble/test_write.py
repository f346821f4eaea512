"""From sent values to stored values."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from shdask.assemble.write import check_tile_data, is_all_fill, make_stored_values
from shdask.errors import StoreError
from shdask.model import Band, Tile, TileData, Window

DN = Band(name="B04", dtype="uint16", fill_value=0)
CLASSES = Band(name="SCL", dtype="uint8", fill_value=0)
REFLECTANCE = Band(name="B08", dtype="float32", fill_value=float("nan"), scale=0.0001)
ALL_VALID = np.ones((1, 3), np.bool_)
EXTENT = Window(y0=0, y1=4, x0=0, x1=5)
TILE = Tile(index=7, row=0, column=0, extent=EXTENT, windows=(EXTENT,))


def test_integers_are_zero_where_the_mask_is_false():
    """What the service sent outside the mask does not reach the disk."""
    stored = make_stored_values(DN, np.array([[7, 8, 9]], np.uint16), np.array([[True, False, True]]))
    assert stored.dtype == np.uint16
    assert stored.tolist() == [[7, 0, 9]]


def test_what_is_valid_everywhere_and_stored_as_it_came_is_not_copied():
    """Pixels go to the store as the answer brought them, where nothing in them changes."""
    values = np.array([[7, 0, 9]], np.uint16)
    assert make_stored_values(DN, values, ALL_VALID) is values


def test_classes_become_bytes():
    """Classes bought as 16 bit are stored as 8."""
    stored = make_stored_values(CLASSES, np.array([[0, 11, 255]], np.uint16), ALL_VALID)
    assert stored.dtype == np.uint8
    assert stored.tolist() == [[0, 11, 255]]


def test_a_valid_value_that_does_not_fit_is_an_error_that_names_it():
    """No value is silently wrapped."""
    with pytest.raises(StoreError, match=r"SCL is stored as uint8, which cannot hold 300 \(row 0, column 1"):
        make_stored_values(CLASSES, np.array([[0, 300, 1]], np.uint16), ALL_VALID)


def test_a_masked_value_need_not_fit():
    """What lies outside the mask is not stored, so it cannot be lost."""
    stored = make_stored_values(CLASSES, np.array([[0, 300, 1]], np.uint16), np.array([[True, False, True]]))
    assert stored.tolist() == [[0, 0, 1]]


@pytest.mark.parametrize("value", [1.5, -1.0, float("nan"), 70000.0])
def test_a_float_that_is_no_stored_integer_is_an_error(value: float):
    """Floats are stored as integers only where they are such."""
    with pytest.raises(StoreError, match="B04 is stored as uint16"):
        make_stored_values(DN, np.array([[value, 1, 1]], np.float32), ALL_VALID)


def test_reflectance_is_nan_where_the_mask_is_false():
    """Floats have NaN for what is not valid; a valid 0 stays 0."""
    stored = make_stored_values(REFLECTANCE, np.array([[0, 1, 10000]], np.uint16), np.array([[True, False, True]]))
    assert stored.dtype == np.float32
    np.testing.assert_array_equal(stored, np.array([[0, np.nan, 1]], np.float32))


@given(arrays(np.uint16, (1, 8)))
def test_reflectance_is_the_nearest_float_to_dn_times_scale(dn: np.ndarray):
    """Scaling rounds once, as numpy does from double precision."""
    stored = make_stored_values(REFLECTANCE, dn, np.ones(dn.shape, np.bool_))
    np.testing.assert_array_equal(stored, (dn.astype(np.float64) * 0.0001).astype(np.float32))


@given(arrays(np.uint16, (2, 4)), arrays(np.bool_, (2, 4)))
def test_valid_values_are_unchanged_and_the_rest_is_fill(values: np.ndarray, mask: np.ndarray):
    """A stored array is numpy's choice between value and fill."""
    expected = np.ma.filled(np.ma.array(values, mask=~mask), 0)
    np.testing.assert_array_equal(make_stored_values(DN, values, mask), expected)


@pytest.mark.parametrize(
    ("band", "values", "expected"),
    [
        (DN, [0, 0], True),
        (DN, [0, 1], False),
        (REFLECTANCE, [np.nan, np.nan], True),
        (REFLECTANCE, [np.nan, 0.0], False),
    ],
)
def test_all_fill_is_told_for_zero_and_for_nan(band: Band, values: list[float], expected: bool):
    """A valid reflectance of 0 is data, a DN of 0 is what is on disk anyway."""
    assert is_all_fill(band, np.array(values, band.dtype)) is expected


@pytest.mark.parametrize(
    ("values_shape", "mask_shape"), [((1, 4, 5), (4, 5)), ((2, 5, 4), (5, 4)), ((2, 4, 5), (5, 4)), ((4, 5), (4, 5))]
)
def test_pixels_of_another_shape_are_refused(values_shape: tuple[int, ...], mask_shape: tuple[int, int]):
    """A tile takes its own extent in all bands, and nothing else."""
    data = TileData(values=np.zeros(values_shape, np.uint16), data_mask=np.ones(mask_shape, np.bool_))
    with pytest.raises(StoreError, match=r"tile 7 takes values of shape \(2, 4, 5\)"):
        check_tile_data(TILE, data, (DN, CLASSES))


@given(st.data())
def test_what_fits_a_type_survives_it(data: st.DataObject):
    """Every class code comes back as it was sent."""
    values = data.draw(arrays(np.uint16, (1, 5), elements=st.integers(0, 255)))
    np.testing.assert_array_equal(make_stored_values(CLASSES, values, np.ones((1, 5), np.bool_)), values)
