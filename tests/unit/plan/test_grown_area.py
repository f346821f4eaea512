"""Areas that grow: their union, and what of a tile is still to be bought."""

from __future__ import annotations

import numpy as np
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from shdask.model import Window
from shdask.plan.area import Area, make_area
from shdask.plan.grown_area import Reopened, coarsen_area, count_pixels, join_areas, lacking_cells, lacking_tiles
from shdask.plan.tile_set import TileSet
from shdask.plan.tiles import find_tiles

from .test_area import GRID, SHAPES, WINDOWS

PARTS = st.lists(
    st.builds(lambda shape, touched: make_area(shape, GRID, all_touched=touched), SHAPES, st.booleans()),
    min_size=1,
    max_size=3,
)


def boxed(left: int, top: int, right: int, bottom: int) -> Area:
    """Whole pixels: columns [left, right), rows [top, bottom)."""
    x, y, (rx, ry) = GRID.bounds()[0], GRID.bounds()[3], GRID.resolution
    return make_area(shapely.box(x + left * rx, y - bottom * ry, x + right * rx, y - top * ry), GRID)


def masks(parts: list[Area], window: Window) -> np.ndarray:
    """Where any part has a pixel."""
    return np.logical_or.reduce([part.mask(window) for part in parts])


@given(PARTS, WINDOWS)
@settings(deadline=None)
def test_a_union_has_the_pixels_of_its_parts(parts: list[Area], window: Window) -> None:
    """In any window, each by the rule of its part."""
    np.testing.assert_array_equal(join_areas(parts).mask(window), masks(parts, window))


@given(PARTS, st.integers(5, 40))
@settings(deadline=None)
def test_pixels_are_counted_tile_by_tile(parts: list[Area], tile_px: int) -> None:
    """As numpy counts the mask."""
    area = join_areas(parts)
    rows, columns = (-(-side // tile_px) for side in GRID.shape)
    padded = np.zeros((rows * tile_px, columns * tile_px), np.int64)
    padded[: GRID.shape[0], : GRID.shape[1]] = area.mask(GRID.window)
    expected = padded.reshape(rows, tile_px, columns, tile_px).sum(axis=(1, 3))
    np.testing.assert_array_equal(count_pixels(area, tile_px), expected)


@given(PARTS, st.integers(5, 40))
@settings(deadline=None)
def test_the_tiles_of_a_union_are_those_that_hold_a_pixel(parts: list[Area], tile_px: int) -> None:
    """Whatever rows its parts lie in."""
    area = join_areas(parts)
    tiles = find_tiles(area, tile_px)
    rows, columns = tiles.cells(0, tiles.count)
    np.testing.assert_array_equal(np.stack((rows, columns), axis=1), np.argwhere(count_pixels(area, tile_px)))


@given(PARTS, st.integers(1, 9))
@settings(deadline=None)
def test_a_coarse_area_holds_every_pixel(parts: list[Area], factor: int) -> None:
    """Each of the fine ones lies under one of the coarse."""
    area = join_areas(parts)
    shape = tuple(-(-side // factor) for side in GRID.shape)
    coarse = coarsen_area(area, factor, shape).mask(Window(y0=0, y1=shape[0], x0=0, x1=shape[1]))
    rows, columns = np.nonzero(area.mask(GRID.window))
    assert coarse[rows // factor, columns // factor].all()


def test_only_cells_with_new_pixels_lack_any() -> None:
    """One of two tiles that the second area reaches was filled by the first."""
    parts = [boxed(0, 0, 20, 10), boxed(10, 0, 25, 10)]
    assert np.argwhere(lacking_cells(parts, 1, 20)).tolist() == [[0, 1]]
    assert np.argwhere(lacking_cells(parts, 0, 20)).tolist() == [[0, 0], [0, 1]]
    assert np.argwhere(lacking_cells(parts, 2, 20)).tolist() == []


def test_what_is_no_tile_lacks_nothing() -> None:
    """Nor does a tile whose pixels are all there."""
    parts = [boxed(0, 0, 10, 10), boxed(0, 0, 50, 10)]
    tiles = TileSet(runs=find_tiles(join_areas(parts), 20))
    assert lacking_tiles(tiles, {0: 1, 1: 2, 2: 1, 5: 1}, parts, 20) == {0: 1, 2: 1}


@given(PARTS, WINDOWS)
@settings(deadline=None)
def test_the_missing_window_is_the_least_that_holds_what_is_new(parts: list[Area], extent: Window) -> None:
    """Its first and last rows and columns each have a new pixel; all of the tile where there is none."""
    new = masks(parts, extent) & ~parts[0].mask(extent)
    window = Reopened(parts=tuple(parts), levels={3: 1}).missing(3, extent)
    inside = np.zeros_like(new)
    inside[window.within(extent).slices] = True
    edges = new[window.within(extent).slices]
    assert not (new & ~inside).any()
    assert (window == extent and not new.any()) or (
        edges[0].any() and edges[-1].any() and edges[:, 0].any() and edges[:, -1].any()
    )


def test_a_tile_of_which_nothing_is_known_is_bought_as_a_whole() -> None:
    """None of its pixels stand."""
    extent = Window(y0=0, y1=20, x0=0, x1=20)
    reopened = Reopened(parts=(boxed(0, 0, 10, 10), boxed(0, 0, 15, 15)), levels={0: 0})
    standing = reopened.standing(0, extent)
    assert standing is not None
    assert (reopened.missing(0, extent), standing.any()) == (extent, False)


def test_any_other_tile_is_as_it_is() -> None:
    """All of it is bought where it is bought at all."""
    extent = Window(y0=0, y1=20, x0=0, x1=20)
    reopened = Reopened(parts=(boxed(0, 0, 10, 10), boxed(0, 0, 15, 15)), levels={0: 1})
    assert (reopened.missing(1, extent), reopened.standing(1, extent)) == (extent, None)
