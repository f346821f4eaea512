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
from shdask.patches.neighbours import Squares, find_close, shared_px

from .grounds import make_squares, to_crs

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


REGIONS = [
    (4326, 0.001, (-170.0, 170.0), (-85.0, 85.0)),
    (3035, 20.0, (2.0e6, 7.0e6), (1.0e6, 6.0e6)),
    (6933, 20.0, (-1.6e7, 1.6e7), (-7.2e6, 7.2e6)),
    (3857, 20.0, (-1.9e7, 1.9e7), (-1.5e7, 1.5e7)),
    (5070, 20.0, (-2.2e6, 2.2e6), (3.0e5, 3.1e6)),
    (3413, 20.0, (-2.5e6, 2.5e6), (-2.5e6, 2.5e6)),
    (32633, 20.0, (-1.5e6, 2.5e6), (-8.0e6, 8.0e6)),
]
"""(EPSG code, resolution, from and to along x, along y): degrees, equal areas, equal angles, a pole, far off a zone."""


def in_region(draw: st.DrawFn, regions: list[tuple[int, float, tuple[float, float], tuple[float, float]]]) -> Squares:
    """Two squares somewhere, with some pixels between them one way or both."""
    epsg, resolution, x, y = draw(st.sampled_from(regions))
    offset = tuple(round(draw(st.floats(*side)) / resolution) for side in (x, y))
    down, right = draw(st.tuples(st.integers(0, 60), st.integers(0, 60)).filter(lambda gap: max(gap) > SIZE + 8))
    return make_squares([0, down], [0, right], size_px=SIZE, epsg=epsg, resolution=resolution, offset=offset)


def metres_between(squares: Squares) -> float:
    """By geodesics between points along the outlines of two squares."""
    rings = shapely.segmentize(shapely.box(*squares.bounds.T), (squares.bounds[0, 2] - squares.bounds[0, 0]) / 8)
    one, other = (np.stack(to_crs(squares.epsg[0], 4326).transform(*shapely.get_coordinates(ring).T)) for ring in rings)
    pairs = np.indices((one.shape[1], other.shape[1])).reshape(2, -1)
    return float(Geod(ellps="WGS84").inv(*one[:, pairs[0]], *other[:, pairs[1]])[2].min())


@settings(max_examples=20)
@given(data=st.data())
def test_metres_are_the_grounds_in_any_crs(data: st.DataObject):
    """What a geodesic says is nearer than the guard is found, and nothing a tenth farther than it."""
    squares = data.draw(st.composite(in_region)(REGIONS))
    sets, metres = np.array([0, 1], np.uint8), metres_between(squares)
    assert find_close(squares, sets, metres * 1.004)[0].size == 1
    assert find_close(squares, sets, metres * 0.9)[0].size == 0


@settings(max_examples=10)
@given(data=st.data())
def test_where_angles_are_not_true_none_is_missed(data: st.DataObject):
    """On Equal Earth sides of squares lean over."""
    squares = data.draw(st.composite(in_region)([(8857, 20.0, (-1.0e7, 1.0e7), (-7.5e6, 7.5e6))]))
    assert find_close(squares, np.array([0, 1], np.uint8), metres_between(squares) * 1.004)[0].size == 1


def test_far_from_its_zone_utm_is_measured_on_the_ground():
    """At 30 degrees east and 10 north 1000 m of zone 33, whose meridian is 15, are 967."""
    squares = make_squares([0, 0], [0, 116], size_px=SIZE, epsg=32633, offset=(215_400, 113_600))
    assert metres_between(squares) == pytest.approx(967, abs=1)
    assert find_close(squares, np.array([0, 1], np.uint8), 980.0)[0].size == 1


def test_patches_beyond_the_crs_are_refused():
    """No longitude and latitude, no distance."""
    squares = make_squares([0, 0], [0, 20], size_px=SIZE, epsg=3035, offset=(5_000_000, 5_000_000))
    with pytest.raises(PlanError, match=r"beyond what EPSG:3035 is made for.*smaller area"):
        find_close(squares, np.array([0, 1], np.uint8), 10.0)


def test_at_a_pole_pixels_have_no_width():
    """Two that meet it are near each other however far apart they are along their row."""
    squares = make_squares([0, 0], [0, 9000], size_px=SIZE, epsg=4326, resolution=0.01, offset=(0, 9000))
    assert find_close(squares, np.array([0, 1], np.uint8), 1.0)[0].size == 1


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
