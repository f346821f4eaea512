"""The integer lattice."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from shdask.model import Window
from shdask.plan.grid import Grid, snap_grid

LATTICES = st.builds(
    Grid,
    epsg=st.just(4326),
    origin=st.tuples(st.floats(-1e3, 1e3), st.floats(-1e3, 1e3)),
    resolution=st.sampled_from([(0.0001, 0.0001), (20.0, 20.0), (1 / 3, 0.1)]),
    offset=st.tuples(st.integers(-(10**6), 10**6), st.integers(-(10**6), 10**6)),
    shape=st.just((40, 50)),
)
WINDOWS = st.builds(
    lambda y, x: Window(y0=min(y), y1=max(y), x0=min(x), x1=max(x)),
    st.tuples(st.integers(0, 40), st.integers(0, 40)),
    st.tuples(st.integers(0, 50), st.integers(0, 50)),
)


def test_edges_are_snapped_outward() -> None:
    """The smallest array of whole lattice cells that holds the bounds, literal."""
    grid = snap_grid(epsg=32633, origin=(0.0, 0.0), resolution=(20.0, 10.0), bounds=(401.0, 5001.0, 459.0, 5029.0))
    assert grid.bounds() == (400.0, 5000.0, 460.0, 5030.0)
    assert grid.shape == (3, 3)


def test_bounds_on_the_lattice_stay_there_in_decimals() -> None:
    """14.1 / 0.0001 is a whole number of pixels although it is not in binary."""
    grid = snap_grid(epsg=4326, origin=(0.0, 0.0), resolution=(0.0001, 0.0001), bounds=(14.1, 46.1, 14.2, 46.2))
    assert grid.shape == (1000, 1000)
    assert grid.offset == (141000, 462000)


def test_a_point_becomes_one_pixel() -> None:
    """Bounds without width on a lattice line still give a pixel."""
    grid = snap_grid(epsg=32633, origin=(0.0, 0.0), resolution=(10.0, 10.0), bounds=(50.0, 50.0, 50.0, 50.0))
    assert grid.shape == (1, 1)


@pytest.mark.parametrize(
    ("origin", "expected"), [((5.0, 3.0), (-5.0, -7.0, 15.0, 13.0)), ((0.0, 0.0), (0.0, 0.0, 10.0, 10.0))]
)
def test_the_origin_moves_the_lattice(origin: tuple[float, float], expected: tuple[float, ...]) -> None:
    """Edges are origin + integer x resolution, for origins that are no multiple of the resolution too."""
    grid = snap_grid(epsg=32633, origin=origin, resolution=(10.0, 10.0), bounds=(1.0, 1.0, 9.0, 9.0))
    assert grid.bounds() == expected


@given(LATTICES, WINDOWS)
@settings(deadline=None)
def test_coordinates_of_a_window_are_a_slice_of_the_arrays(grid: Grid, window: Window) -> None:
    """Bit for bit, at 0.0001 degrees too."""
    rows, columns = window.slices
    np.testing.assert_array_equal(grid.y_coords(window), grid.y_coords()[rows])
    np.testing.assert_array_equal(grid.x_coords(window), grid.x_coords()[columns])


@given(LATTICES, st.integers(1, 39), st.integers(1, 49))
@settings(deadline=None)
def test_neighbouring_windows_share_their_edge(grid: Grid, y: int, x: int) -> None:
    """The edge between two windows is one number, and the outer ones are the array's."""
    upper_left = grid.bounds(Window(y0=0, y1=y, x0=0, x1=x))
    lower_right = grid.bounds(Window(y0=y, y1=40, x0=x, x1=50))
    assert (upper_left[2], upper_left[1]) == (lower_right[0], lower_right[3])
    assert (upper_left[0], lower_right[1], lower_right[2], upper_left[3]) == grid.bounds()


def test_odc_geo_places_pixels_alike() -> None:
    """An independent library reads the same pixel centres off the same grid."""
    grid = snap_grid(epsg=32633, origin=(0.0, 0.0), resolution=(20.0, 10.0), bounds=(401.0, 5001.0, 799.0, 5029.0))
    box = grid.geobox
    np.testing.assert_allclose(box.coords["y"].values, grid.y_coords(), rtol=0, atol=1e-9)
    np.testing.assert_allclose(box.coords["x"].values, grid.x_coords(), rtol=0, atol=1e-9)
    assert box.shape == grid.shape
    assert box.crs.epsg == 32633


def test_y_descends() -> None:
    """Row 0 is the northern one."""
    grid = snap_grid(epsg=32633, origin=(0.0, 0.0), resolution=(10.0, 10.0), bounds=(0.0, 0.0, 30.0, 30.0))
    assert grid.y_coords().tolist() == [25.0, 15.0, 5.0]
    assert grid.transform == (10.0, 0.0, 0.0, 0.0, -10.0, 30.0)
