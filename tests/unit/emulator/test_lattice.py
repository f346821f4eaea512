"""The lattice: windows of one grid have one grid's pixel centres."""

from __future__ import annotations

import numpy as np
from hypothesis import given
from hypothesis import strategies as st

from shdask.emulator.lattice import make_lattice

RESOLUTIONS = st.sampled_from([10.0, 20.0, 60.0, 37.5, 0.0001, 8.983e-5, 1 / 3600, 0.00025, 100 / 3])
PIXELS = st.integers(-150_000, 150_000)
SIZES = st.integers(2, 2500)


def window(origin, resolution, column, row, width, height):
    """A window of the grid origin + index x resolution, computed as a client does."""
    left, right = origin + column * resolution, origin + (column + width) * resolution
    bottom, top = origin + (row - height) * resolution, origin + row * resolution
    return make_lattice("EPSG:32633", (left, bottom, right, top), width, height)


@given(RESOLUTIONS, PIXELS, PIXELS, SIZES, SIZES, st.data())
def test_part_of_a_window_has_the_same_centres_bit_for_bit(resolution, column, row, width, height, data):
    """A window inside another sees exactly the other's pixel centres."""
    x0 = data.draw(st.integers(0, width - 2))
    y0 = data.draw(st.integers(0, height - 2))
    whole = window(0.0, resolution, column, row, width, height)
    part = window(0.0, resolution, column + x0, row - y0, width - x0, height - y0)
    np.testing.assert_array_equal(part.x_centres(), whole.x_centres()[x0:])
    np.testing.assert_array_equal(part.y_centres(), whole.y_centres()[y0:])


@given(RESOLUTIONS, PIXELS, PIXELS, SIZES, SIZES)
def test_bounds_are_those_asked_for(resolution, column, row, width, height):
    """The lattice covers the bbox of the request, to a thousandth of a pixel."""
    lattice = window(resolution / 2, resolution, column, row, width, height)
    left, top = resolution * (column + 0.5), resolution * (row + 0.5)
    expected = (left, top - height * resolution, left + width * resolution, top)
    np.testing.assert_allclose(lattice.bounds(), expected, rtol=0, atol=resolution / 1000)


def test_landsat_grid_keeps_its_half_pixel():
    """A grid that starts at 15082.5 pixels is not moved to whole ones."""
    lattice = make_lattice("EPSG:32616", (452475.0, 3390555.0, 471285.0, 3408645.0), 627, 603)
    assert (lattice.column, lattice.fraction_x) == (15082, 0.5)
    assert lattice.x_centres()[0] == 452490.0


def test_blocks_cover_every_pixel_once():
    """The blocks of a lattice are disjoint and complete."""
    lattice = make_lattice("EPSG:32633", (499990.0, 4999990.0, 513990.0, 5009990.0), 1400, 1000)
    numbers = np.arange(lattice.width * lattice.height).reshape(lattice.shape)
    seen = np.concatenate([numbers[block].reshape(-1) for block in lattice.blocks()])
    assert np.array_equal(np.sort(seen), numbers.reshape(-1))
