"""Which tiles hold a pixel of the area."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from shdask.plan.area import Area, make_area, whole_area
from shdask.plan.grid import Grid
from shdask.plan.tiles import find_tiles

GRID = Grid(epsg=32633, origin=(0.0, 0.0), resolution=(1.0, 1.0), offset=(0, 70), shape=(70, 90))
BOXES = st.tuples(st.floats(-5, 95), st.floats(-5, 75), st.floats(0.1, 20), st.floats(0.1, 20)).map(
    lambda b: shapely.box(b[0], b[1], b[0] + b[2], b[1] + b[3])
)


def area_of(boxes: list[shapely.Geometry], all_touched: bool) -> Area:
    with np.errstate(all="ignore"):  # GEOS may divide by zero on the way to a right union
        return make_area(shapely.union_all(boxes), GRID, all_touched=all_touched)


AREAS = st.builds(
    area_of,
    st.lists(BOXES, min_size=1, max_size=6),
    st.booleans(),
)


def cells_with_a_pixel(area: Area, size: int) -> list[tuple[int, int]]:
    """Tiles by brute force: any True in the block of the whole mask, row by row."""
    rows, columns = -(-GRID.shape[0] // size), -(-GRID.shape[1] // size)
    padded = np.zeros((rows * size, columns * size), np.bool_)
    padded[: GRID.shape[0], : GRID.shape[1]] = area.mask(GRID.window)
    blocks = padded.reshape(rows, size, columns, size).any(axis=(1, 3))
    return [tuple(cell) for cell in np.argwhere(blocks).tolist()]


@given(AREAS, st.sampled_from([1, 7, 16, 64, 128]))
@settings(deadline=None)
def test_tiles_are_exactly_those_with_a_pixel_of_the_area(area: Area, size: int) -> None:
    """None too many, none too few, row by row from the north."""
    tiles = find_tiles(area, size)
    rows, columns = tiles.cells(0, tiles.count)
    assert list(zip(rows.tolist(), columns.tolist(), strict=True)) == cells_with_a_pixel(area, size)


@given(AREAS, st.sampled_from([7, 16]), st.data())
@settings(deadline=None)
def test_a_range_of_tiles_is_a_slice_of_all(area: Area, size: int, data: st.DataObject) -> None:
    """A batch finds its tiles without listing those before it."""
    tiles = find_tiles(area, size)
    start = data.draw(st.integers(0, tiles.count))
    stop = data.draw(st.integers(start, tiles.count))
    rows, columns = tiles.cells(0, tiles.count)
    part_rows, part_columns = tiles.cells(start, stop)
    np.testing.assert_array_equal(part_rows, rows[start:stop])
    np.testing.assert_array_equal(part_columns, columns[start:stop])


@given(AREAS, st.sampled_from([7, 16, 64]))
@settings(deadline=None)
def test_counts_by_size_count_every_tile_once(area: Area, size: int) -> None:
    """Inner, last column, last row and corner, against a count of the listed tiles."""
    tiles = find_tiles(area, size)
    rows, columns = tiles.cells(0, tiles.count)
    right, bottom = columns == tiles.grid_shape[1] - 1, rows == tiles.grid_shape[0] - 1
    expected = ((~right & ~bottom).sum(), (right & ~bottom).sum(), (~right & bottom).sum(), (right & bottom).sum())
    assert tiles.counts_by_size() == expected


def test_a_far_island_costs_no_rows_between() -> None:
    """Two islands with four billion empty tiles between them are two runs."""
    grid = Grid(epsg=32633, origin=(0.0, 0.0), resolution=(1.0, 1.0), offset=(0, 10**9), shape=(10**9, 10**8))
    islands = shapely.MultiPolygon([shapely.box(0, 0, 10, 10), shapely.box(10**8 - 10, 10**9 - 10, 10**8, 10**9)])
    tiles = find_tiles(make_area(islands, grid), 2048)
    assert tiles.runs.tolist() == [[0, 48828, 48829], [488281, 0, 1]]


def test_a_whole_grid_is_one_run_for_each_row() -> None:
    """3 x 2 tiles of 40 px hold 70 x 90 px."""
    assert find_tiles(whole_area(GRID), 40).runs.tolist() == [[0, 0, 3], [1, 0, 3]]


@pytest.mark.parametrize(("start", "stop"), [(-1, 0), (0, 7), (3, 2)])
def test_tiles_that_do_not_exist_are_refused(start: int, stop: int) -> None:
    """No range outside the plan is answered."""
    with pytest.raises(IndexError):
        find_tiles(whole_area(GRID), 40).cells(start, stop)
