"""Which pixels are in the area."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from affine import Affine
from hypothesis import given, settings
from hypothesis import strategies as st
from rasterio.features import geometry_mask

from shdask.model import Window
from shdask.plan.area import make_area, whole_area
from shdask.plan.grid import Grid

ROWS, COLUMNS = 60, 50
GRID = Grid(epsg=32633, origin=(0.0, 0.0), resolution=(10.0, 20.0), offset=(1000, 5000), shape=(ROWS, COLUMNS))
LEFT, BOTTOM, RIGHT, TOP = GRID.bounds()
CENTRES = np.meshgrid(GRID.x_coords(), GRID.y_coords())


def star(seed: int, centre: tuple[float, float], radius: float) -> shapely.Polygon:
    """A spiky polygon around ``centre`` (in shares of the grid), now and then reaching out of the array."""
    random = np.random.default_rng(seed)
    angles = np.sort(random.uniform(0, 2 * np.pi, random.integers(5, 30)))
    reach = radius * random.uniform(0.2, 1.0, len(angles))
    x = LEFT + (RIGHT - LEFT) * (centre[0] + reach * np.cos(angles))
    y = BOTTOM + (TOP - BOTTOM) * (centre[1] + reach * np.sin(angles))
    with np.errstate(all="ignore"):
        return shapely.Polygon(np.stack((x, y), axis=1)).buffer(0)


def shape_of(seed: int) -> shapely.Geometry:
    """A valid area of several parts, with holes."""
    with np.errstate(all="ignore"):  # GEOS may divide by zero on the way to a right answer
        parts = shapely.union_all([star(seed, (0.4, 0.4), 0.5), star(seed + 1, (0.8, 0.9), 0.3)])
        return shapely.difference(parts, star(seed + 2, (0.45, 0.4), 0.25))


SHAPES = st.integers(0, 10**6).map(shape_of).filter(lambda shape: not shape.is_empty)
WINDOWS = st.builds(
    lambda y, x: Window(y0=min(y), y1=max(y) + 1, x0=min(x), x1=max(x) + 1),
    st.tuples(st.integers(0, ROWS - 1), st.integers(0, ROWS - 1)),
    st.tuples(st.integers(0, COLUMNS - 1), st.integers(0, COLUMNS - 1)),
)
HALVES = st.lists(st.tuples(st.integers(1, 2 * COLUMNS - 1), st.integers(1, 2 * ROWS - 1)), min_size=1, max_size=6)


@given(SHAPES)
@settings(deadline=None)
def test_pixels_are_those_whose_centre_shapely_finds_inside(shape: shapely.Geometry) -> None:
    """Holes and many parts included; shapely decides point by point."""
    mask = make_area(shape, GRID).mask(GRID.window)
    np.testing.assert_array_equal(mask, shapely.contains_xy(shape, *CENTRES))


@given(SHAPES)
@settings(deadline=None)
def test_rasterio_burns_the_same_pixels(shape: shapely.Geometry) -> None:
    """GDAL's polygon fill has the same rule."""
    mask = make_area(shape, GRID).mask(GRID.window)
    expected = geometry_mask([shape], (ROWS, COLUMNS), Affine(*GRID.transform), invert=True)
    np.testing.assert_array_equal(mask, expected)


@given(SHAPES)
@settings(max_examples=40, deadline=None)
def test_all_touched_takes_every_pixel_the_shape_meets(shape: shapely.Geometry) -> None:
    """Shapely intersects the shape with every pixel's square."""
    rx, ry = GRID.resolution
    x, y = CENTRES
    squares = shapely.box(x - rx / 2, y - ry / 2, x + rx / 2, y + ry / 2)
    mask = make_area(shape, GRID, all_touched=True).mask(GRID.window)
    np.testing.assert_array_equal(mask, shapely.intersects(squares, shape))


@given(SHAPES, WINDOWS, st.booleans())
@settings(deadline=None)
def test_a_windows_mask_is_the_same_part_of_the_whole(
    shape: shapely.Geometry, window: Window, all_touched: bool
) -> None:
    """Bit for bit, so tiles and one big request agree."""
    area = make_area(shape, GRID, all_touched=all_touched)
    np.testing.assert_array_equal(area.mask(window), area.mask(GRID.window)[window.slices])


@given(HALVES)
@settings(deadline=None)
def test_areas_side_by_side_share_no_pixel_and_leave_none_out(corners: list[tuple[int, int]]) -> None:
    """Even where their common border runs through pixel centres."""
    x = [LEFT + 5.0 * column for column, _ in corners]
    y = sorted({BOTTOM + 10.0 * row for _, row in corners})
    line = list(zip(x, y, strict=False))
    border = [(line[0][0], BOTTOM), *line, (line[-1][0], TOP)]
    west = shapely.Polygon([(LEFT, TOP), (LEFT, BOTTOM), *border])
    east = shapely.Polygon([(RIGHT, TOP), (RIGHT, BOTTOM), *border])
    both = make_area(west, GRID).mask(GRID.window).astype(int) + make_area(east, GRID).mask(GRID.window)
    assert (both == 1).all()


@pytest.mark.parametrize("all_touched", [False, True])
def test_a_box_on_pixel_edges_is_exactly_its_pixels(all_touched: bool) -> None:
    """Touching a pixel's edge is not touching the pixel."""
    box = shapely.box(LEFT + 20.0, TOP - 60.0, LEFT + 50.0, TOP - 20.0)
    expected = np.zeros((ROWS, COLUMNS), np.bool_)
    expected[1:3, 2:5] = True
    np.testing.assert_array_equal(make_area(box, GRID, all_touched=all_touched).mask(GRID.window), expected)


def test_a_sliver_between_centres_is_seen_only_with_all_touched() -> None:
    """No centre lies in it, and it runs through three pixels."""
    sliver = shapely.box(LEFT + 1.0, TOP - 3.0, LEFT + 29.0, TOP - 2.0)
    assert not make_area(sliver, GRID).mask(GRID.window).any()
    touched = make_area(sliver, GRID, all_touched=True).mask(GRID.window)
    assert np.argwhere(touched).tolist() == [[0, 0], [0, 1], [0, 2]]


def test_a_whole_grid_has_every_pixel() -> None:
    """The area of a raster's own grid leaves nothing out."""
    assert whole_area(GRID).mask(GRID.window).all()


@given(SHAPES, st.booleans())
@settings(deadline=None)
def test_rows_outside_the_ranges_hold_no_pixel(shape: shapely.Geometry, all_touched: bool) -> None:
    """What planning skips is empty."""
    area = make_area(shape, GRID, all_touched=all_touched)
    inside = np.concatenate([np.arange(first, last) for first, last in area.row_ranges()] or [np.empty(0, int)])
    rows, _, _ = area.spans(0, ROWS)
    assert np.isin(rows, inside).all()


@given(SHAPES, st.booleans())
@settings(deadline=None)
def test_runs_of_a_row_are_disjoint_and_apart(shape: shapely.Geometry, all_touched: bool) -> None:
    """Each pixel is in one run, and two runs never touch."""
    rows, starts, stops = make_area(shape, GRID, all_touched=all_touched).spans(0, ROWS)
    same_row = rows[1:] == rows[:-1]
    assert (starts < stops).all()
    assert (starts[1:] > stops[:-1])[same_row].all()
    assert (np.diff(rows) >= 0).all()
