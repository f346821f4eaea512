"""Any number of tiles in a small picture, in which nothing that matters is lost."""

from __future__ import annotations

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays

from shdask.cluster.snapshot import TileMark
from shdask.cluster.tile_map import BY_WEIGHT, MOST_CELLS, draw_map, find_tile

W, U, X, F, H, E = (
    TileMark.WRITTEN, TileMark.UNTRIED, TileMark.OUTSIDE, TileMark.FAILED, TileMark.IN_WORK, TileMark.EMPTY
)  # fmt: skip  # one letter a mark
STATES = arrays(
    np.uint8, st.tuples(st.integers(1, 3), st.integers(1, 7), st.integers(1, 7)), elements=st.integers(0, 5)
)


def marks(*steps: list[list[TileMark]]) -> np.ndarray:
    return np.array(steps, np.uint8)


def drawn(states: np.ndarray, step: int | None) -> list[list[TileMark]]:
    return [[BY_WEIGHT[weight] for weight in line] for line in draw_map(states, step).weights.tolist()]


def test_a_step_is_drawn_tile_by_tile() -> None:
    """Rows from the north, columns from the west."""
    assert drawn(marks([[W, U], [X, F]], [[H, H], [H, E]]), 0) == [[W, U], [X, F]]


def test_all_steps_show_the_mark_that_matters_most() -> None:
    """A failure at one date is seen behind any number of others."""
    assert drawn(marks([[W, U], [X, F]], [[H, W], [E, E]]), None) == [[H, U], [E, F]]


def test_a_million_tiles_fit_a_small_picture() -> None:
    """One failed tile among them is seen, in its cell of four."""
    states = np.full((1, 1000, 1000), W, np.uint8)
    states[0, 999, 2] = F
    found = draw_map(states, None)
    assert (found.weights.shape, found.span, found.grid_shape) == ((500, 500), 2, (1000, 1000))
    assert [BY_WEIGHT[int(weight)] for weight in (found.weights[499, 1], found.weights[0, 0])] == [F, W]


@pytest.mark.parametrize("shape", [(501, 3), (3, 501), (1499, 1501)])
def test_no_side_is_longer_than_a_screen_can_show(shape) -> None:
    """Also where the cells do not divide the grid."""
    assert max(draw_map(np.zeros((1, *shape), np.uint8), None).weights.shape) <= MOST_CELLS


def test_a_cell_leads_to_the_tile_that_it_shows() -> None:
    """By its index: step, then row, then column."""
    assert find_tile(marks([[W, U], [X, F]], [[H, W], [E, E]]), None, 0, 0, 1) == 4
    assert find_tile(marks([[W, U], [X, F]], [[H, W], [E, E]]), 0, 1, 1, 1) == 3


def test_a_cell_of_many_leads_to_the_one_that_matters_most() -> None:
    """Wherever in the cell one clicks."""
    assert [find_tile(marks([[W, U], [X, F]]), None, 0, column, 2) for column in (0, 1)] == [3, 3]


@pytest.mark.parametrize("place", [(1, 0), (-1, 0), (0, 2), (2, 0)])
def test_no_tile_is_found_where_there_is_none(place) -> None:
    """Beside the map, and outside the area."""
    assert find_tile(marks([[W, U], [X, F]]), None, *place, 1) is None


@given(STATES)
def test_what_a_cell_shows_is_the_state_of_the_tile_it_leads_to(states) -> None:
    """At any step, and over all."""
    place = (0, states.shape[2] - 1)
    tile = find_tile(states, None, *place, 1)
    shown = BY_WEIGHT[int(draw_map(states, None).weights[place])]
    assert shown == (TileMark.OUTSIDE if tile is None else states.ravel()[tile])
