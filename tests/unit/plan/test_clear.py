"""How much of a tile is clear, by a coarse look."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from shdask.model import Window
from shdask.plan.clear import clear_share, count_under, look_window, make_clear_rule
from shdask.plan.grid import Grid
from shdask.plan.layer_spec import Clear

GRID = Grid(epsg=32633, origin=(0.0, 0.0), resolution=(10.0, 10.0), offset=(0, 0), shape=(4096, 4096))
S2 = "sentinel-2-l2a"


@pytest.mark.parametrize(
    ("scout_m", "tile_px", "factor"),
    [(200, 2048, 20), (204, 2048, 20), (3, 2048, 1), (200, 64, 8), (1500, 2048, 150), (200, 4, 1)],
)
def test_a_looks_pixels_are_whole_numbers_of_the_layers(scout_m, tile_px, factor) -> None:
    """As near as may be to what was asked for, at least 8 along a tile, no coarser than the service renders."""
    rule = make_clear_rule(Clear(min=0.2, scout_m=scout_m), GRID, tile_px, S2)
    assert rule is not None
    assert rule.factor == factor


def test_without_a_rule_all_is_bought() -> None:
    """Nothing is looked at."""
    assert make_clear_rule(None, GRID, 2048, S2) is None


def test_clear_classes_are_ground_water_and_snow() -> None:
    """One pixel of each class: five of the eleven that are data."""
    classes = np.arange(12, dtype=np.uint8).reshape(3, 4)
    ones = np.ones((3, 4), np.int64)
    assert clear_share(classes, ones > 0, ones) == 5 / 11


def test_only_valid_pixels_of_the_area_count() -> None:
    """A pixel as often as the area has pixels under it."""
    classes = np.array([[4, 9, 4, 9]], np.uint8)
    weights = np.array([[3, 1, 100, 0]])
    assert clear_share(classes, np.array([[True, True, False, True]]), weights) == 3 / 4


def test_without_a_valid_pixel_nothing_is_clear() -> None:
    """There is nothing to buy."""
    assert clear_share(np.zeros((2, 2), np.uint8), np.zeros((2, 2), np.bool_), np.ones((2, 2), np.int64)) == 0.0


@given(st.integers(1, 9), st.integers(0, 30), st.integers(0, 30), st.data())
def test_every_pixel_is_counted_under_the_look_that_covers_it(factor, y0, x0, data) -> None:
    """As numpy bins them."""
    shape = data.draw(st.tuples(st.integers(1, 20), st.integers(1, 20)))
    inside = data.draw(arrays(np.bool_, shape))
    extent = Window(y0=y0, y1=y0 + shape[0], x0=x0, x1=x0 + shape[1])
    window = look_window(extent, factor)
    rows, columns = np.nonzero(inside)
    expected = np.zeros(window.shape, np.int64)
    np.add.at(expected, ((rows + y0) // factor - window.y0, (columns + x0) // factor - window.x0), 1)
    np.testing.assert_array_equal(count_under(inside, extent, factor), expected)
