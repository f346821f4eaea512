"""Pixels and dates that were chosen of an area."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st

from shdask.plan.area import Area, make_area, whole_area
from shdask.plan.chosen import ChosenDates, cells_of, choose_pixels
from shdask.plan.grown_area import coarsen_area
from shdask.plan.reach import find_reach
from shdask.plan.timeline import make_timeline

from .scenes import scene, span
from .test_area import GRID, SHAPES

WORLD = shapely.box(-60, -60, 80, 70)
ROWS, COLUMNS = GRID.shape
CHOSEN = st.lists(
    st.builds(
        lambda y, x, height, width: (y, min(y + height, ROWS), x, min(x + width, COLUMNS)),
        st.integers(0, ROWS - 1),
        st.integers(0, COLUMNS - 1),
        st.integers(1, 40),
        st.integers(1, 40),
    ),
    min_size=1,
    max_size=6,
).map(lambda rows: np.array(rows, np.int64))
AREAS = st.builds(lambda shape, touched: make_area(shape, GRID, all_touched=touched), SHAPES, st.booleans())


def painted(windows: np.ndarray) -> np.ndarray:
    """(y, x) of the grid: True in a window."""
    y, x = np.indices(GRID.shape)
    y0, y1, x0, x1 = windows.T[:, :, None, None]
    return ((y >= y0) & (y < y1) & (x >= x0) & (x < x1)).any(axis=0)


@given(AREAS, CHOSEN)
@settings(deadline=None, max_examples=60)
def test_chosen_pixels_are_those_of_the_area_in_a_window(area: Area, windows: np.ndarray) -> None:
    """However windows overlap and whatever the area's rule: it is the same pixel for pixel."""
    expected = area.mask(GRID.window) & painted(windows)
    np.testing.assert_array_equal(choose_pixels(area, windows).mask(GRID.window), expected)


@given(AREAS, CHOSEN, st.integers(1, 9))
@settings(deadline=None, max_examples=60)
def test_a_coarse_look_at_chosen_pixels_holds_them_all(area: Area, windows: np.ndarray, factor: int) -> None:
    """Also where a window is lower than a coarse pixel."""
    chosen = choose_pixels(area, windows)
    coarse = coarsen_area(chosen, factor, (-(-ROWS // factor), -(-COLUMNS // factor)))
    rows, columns = np.nonzero(chosen.mask(GRID.window))
    assert coarse.mask(GRID.window)[: coarse.shape[0], : coarse.shape[1]][rows // factor, columns // factor].all()


def test_whole_windows_are_few_edges() -> None:
    """Four for a window of any height, so that a plan of many patches stays small."""
    assert len(choose_pixels(whole_area(GRID), np.array([[0, ROWS, 3, 9]])).edges) == 4


@given(CHOSEN, st.integers(1, 50))
@settings(deadline=None, max_examples=40)
def test_cells_of_a_window_are_those_it_has_pixels_in(windows: np.ndarray, tile_px: int) -> None:
    """By numpy's count over the pixels of the first."""
    across = -(-COLUMNS // tile_px)
    window, cells = cells_of(windows, tile_px, across)
    y, x = np.nonzero(painted(windows[:1]))
    np.testing.assert_array_equal(np.sort(cells[window == 0]), np.unique(y // tile_px * across + x // tile_px))


@pytest.fixture
def timeline():
    """Three passes over all of the grid, five days apart."""
    scenes = [scene(day, f"2024-06-{day}T10:00:00", footprint=WORLD) for day in ("05", "10", "15")]
    return make_timeline(scenes, "acquisition", span("2024-06-01T00:00:00", "2024-07-01T00:00:00"))


def test_steps_reach_only_cells_that_are_chosen_at_their_moment(timeline) -> None:
    """A span that ends where a pass begins does not meet it."""
    whole = find_reach(timeline, GRID, 1000)
    moments = np.array(["2024-06-05T00:00", "2024-06-10T10:00"], "datetime64[us]")
    chosen = ChosenDates(cells=np.array([0, 0]), starts=moments, ends=moments + np.timedelta64(10, "h"))
    assert whole.counts.tolist() == [1, 1, 1]
    assert chosen.limit(whole, timeline).counts.tolist() == [0, 1, 0]
