"""Which patches of different sets lie near each other: held against shapely, and geodesics."""

from __future__ import annotations

import itertools

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Geod

from shdask.errors import PlanError
from shdask.patches import neighbours
from shdask.patches.neighbours import find_close, shared_px

from .grounds import make_squares

SIZE = 16
PLACES = st.lists(st.tuples(st.integers(0, 200), st.integers(0, 200), st.integers(0, 2)), min_size=2, max_size=40)


def pairs_of(first: np.ndarray, second: np.ndarray) -> set[tuple[int, int]]:
    return {(min(pair), max(pair)) for pair in zip(first.tolist(), second.tolist(), strict=True)}


@settings(max_examples=40)
@given(places=PLACES, within_m=st.sampled_from([0.0, 10.0, 95.0, 400.0, 5000.0]))
def test_pairs_on_one_grid_are_shapelys(places: list[tuple[int, int, int]], within_m: float):
    """Those that overlap, and those whose outlines are nearer than the distance: no more, no fewer, each once."""
    y0, x0, sets = (list(column) for column in zip(*places, strict=True))
    squares = make_squares(y0, x0, size_px=SIZE)
    boxes = shapely.box(*squares.bounds.T)
    expected = {
        (one, other)
        for one, other in itertools.combinations(range(len(places)), 2)
        if sets[one] != sets[other]
        and (
            shapely.area(shapely.intersection(boxes[one], boxes[other])) > 0
            or shapely.distance(boxes[one], boxes[other]) < within_m
        )
    }
    first, second = find_close(squares, np.array(sets, np.uint8), within_m)
    assert pairs_of(first, second) == expected
    assert first.size == len(expected)


@settings(max_examples=40)
@given(places=PLACES)
def test_shared_pixels_are_those_of_both(places: list[tuple[int, int, int]]):
    """As shapely's intersection has them."""
    y0, x0, sets = (list(column) for column in zip(*places, strict=True))
    squares = make_squares(y0, x0, size_px=SIZE)
    first, second = find_close(squares, np.array(sets, np.uint8), 500.0)
    boxes = shapely.box(*squares.bounds.T)
    areas = shapely.area(shapely.intersection(boxes[first], boxes[second])) / 100.0
    np.testing.assert_allclose(shared_px(squares, first, second), areas)


@settings(max_examples=25)
@given(
    latitude=st.integers(-8000, 8000),
    gap=st.integers(1, 60),
    across=st.booleans(),
)
def test_metres_in_degrees_are_the_grounds(latitude: int, gap: int, across: bool):
    """What a geodesic says is nearer than the guard is found, and nothing 2 % farther than it."""
    y0, x0 = ([0, 0], [0, SIZE + gap]) if across else ([0, SIZE + gap], [0, 0])
    squares = make_squares(y0, x0, size_px=SIZE, epsg=4326, resolution=0.01, offset=(1000, latitude))
    (left, bottom, right, top), other = squares.bounds
    highest = max(abs(bottom), abs(top))
    ends = ((right, highest), (other[0], highest)) if across else ((left, bottom), (left, other[3]))
    _, _, metres = Geod(ellps="WGS84").inv(*ends[0], *ends[1])
    sets = np.array([0, 1], np.uint8)
    assert find_close(squares, sets, metres * 1.001)[0].size == 1
    assert find_close(squares, sets, metres * 0.97)[0].size == 0


def test_one_set_has_no_neighbours():
    """However near its patches are."""
    squares = make_squares([0, 0, 8], [0, 0, 8])
    assert find_close(squares, np.ones(3, np.uint8), 1e6)[0].size == 0


def test_too_many_pairs_are_refused(monkeypatch: pytest.MonkeyPatch):
    """Before memory runs out, with what to change."""
    monkeypatch.setattr(neighbours, "MOST_PAIRS", 3)
    squares = make_squares([0, 1, 2, 3], [0, 0, 0, 0])
    with pytest.raises(PlanError, match=r"more than 3 pairs .* make guard_m smaller, or block_m"):
        find_close(squares, np.array([0, 0, 1, 1], np.uint8), 0.0)
