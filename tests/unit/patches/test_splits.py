"""Blocks, sets and the guard between them."""

from __future__ import annotations

import numpy as np
import pytest
import shapely
from hypothesis import given, settings
from hypothesis import strategies as st
from pyproj import Geod

from shdask.errors import PlanError
from shdask.patches.neighbours import Squares, find_close
from shdask.patches.splits import check_shares, find_blocks, leave_out, measure_leakage, split_blocks

from .grounds import make_ground, make_squares, to_crs

SHARES = (0.7, 0.15, 0.15)
SIZE = 16
PLACES = st.lists(
    st.tuples(st.integers(0, 120), st.integers(0, 120), st.integers(0, 2)), min_size=1, max_size=40, unique=True
)
GUARDS = st.sampled_from([0.0, 50.0, 300.0])


@pytest.mark.parametrize("latitude", [-60.0, 0.0, 46.0, 70.0])
def test_blocks_are_squares_of_the_ground(latitude: float):
    """Ten kilometres each way, within a hundredth or two, by geodesics."""
    steps = np.arange(0.0, 3.0, 0.0005)
    _, column = find_blocks(10.0 + steps, np.full(steps.size, latitude), 10_000.0)
    row, _ = find_blocks(np.full(steps.size, 10.0), latitude + steps, 10_000.0)
    across = steps[np.flatnonzero(np.diff(column))]
    up = steps[np.flatnonzero(np.diff(row))]
    geod = Geod(ellps="WGS84")
    width = geod.inv(10.0 + across[0], latitude, 10.0 + across[1], latitude)[2]
    height = geod.inv(10.0, latitude + up[0], 10.0, latitude + up[1])[2]
    assert abs(width - 10_000) < 200
    assert abs(height - 10_000) < 200


def test_the_last_column_ends_where_the_first_begins():
    """At 180 degrees, whichever way it is written."""
    row, column = find_blocks(np.array([180.0, -180.0, 179.999999, -180.0001]), np.zeros(4), 50_000.0)
    assert row.tolist() == [200] * 4
    assert column[[0, 1]].tolist() == [0, 0]
    assert column[2] == column[3] == 800


def test_a_block_stays_in_its_set():
    """Whatever other blocks there are: more labels move no ground from train to test."""
    row, column = np.arange(50), np.arange(50) * 3
    every = split_blocks(row, column, SHARES, 4)
    np.testing.assert_array_equal(split_blocks(row[::-7], column[::-7], SHARES, 4), every[::-7])
    assert (split_blocks(row, column, SHARES, 5) != every).any()


def test_sets_have_their_share_of_blocks():
    """Of ten thousand, within a hundredth."""
    row, column = (part.ravel() for part in np.indices((100, 100)))
    counts = np.bincount(split_blocks(row, column, SHARES, 0), minlength=3)
    np.testing.assert_allclose(counts / 10_000, SHARES, atol=0.01)


def test_a_set_without_a_share_is_empty():
    """Also when it is the last one."""
    row = np.arange(1000)
    assert np.unique(split_blocks(row, row, (0.5, 0.5, 0.0), 0)).tolist() == [0, 1]
    assert np.unique(split_blocks(row, row, (0.0, 0.0, 1.0), 0)).tolist() == [2]


@pytest.mark.parametrize("shares", [(0.7, 0.3), (0.7, 0.2, 0.2), (1.2, -0.1, -0.1)])
def test_shares_that_are_none_are_refused(shares: tuple[float, ...]):
    """Three, from 0, adding up to 1."""
    with pytest.raises(PlanError, match="give three that add up to 1"):
        check_shares(shares)


@settings(max_examples=40)
@given(places=PLACES, guard_m=GUARDS)
def test_what_is_kept_is_apart(places: list[tuple[int, int, int]], guard_m: float):
    """Shapely finds no two patches of different sets that share ground, or are nearer than the guard."""
    y0, x0, sets = (list(column) for column in zip(*places, strict=True))
    squares = make_squares(y0, x0, size_px=SIZE)
    kept = ~leave_out(squares, np.array(sets, np.uint8), guard_m)
    boxes, known = shapely.box(*squares.bounds.T)[kept], np.array(sets)[kept]
    one, other = np.triu_indices(known.size, 1)
    differ = known[one] != known[other]
    one, other = boxes[one[differ]], boxes[other[differ]]
    assert shapely.area(shapely.intersection(one, other)).sum() == 0
    assert (shapely.distance(one, other) >= guard_m).all()


@settings(max_examples=12)
@given(
    latitude=st.sampled_from([-79, -33, 0, 46, 71, 82]),
    zone=st.sampled_from([1, 32, 59]),
    places=st.lists(st.tuples(st.integers(-90, 70), st.integers(0, 90), st.integers(0, 2)), min_size=2, max_size=40),
    guard_m=st.sampled_from([0.0, 400.0]),
)
def test_no_ground_of_two_zones_is_in_two_sets(
    latitude: int, zone: int, places: list[tuple[int, int, int]], guard_m: float
):
    """Nor within the guard of it: by shapely, in a projection of equal areas made for the place, wherever that is."""
    x0, y0, sets = (np.array(column) for column in zip(*places, strict=True))
    squares = over_an_edge(zone, latitude, y0, x0)
    kept = ~leave_out(squares, sets.astype(np.uint8), guard_m)
    outlines, known = in_equal_area(squares, zone, latitude)[kept], sets[kept]
    one, other = np.triu_indices(known.size, 1)
    differ = known[one] != known[other]
    one, other = outlines[one[differ]], outlines[other[differ]]
    assert shapely.area(shapely.intersection(one, other)).max(initial=0) < 1e-3
    assert shapely.distance(one, other).min(initial=1e9) >= guard_m * 0.998


def over_an_edge(zone: int, latitude: int, y0: np.ndarray, x0: np.ndarray) -> Squares:
    """Windows of 20 m beside the eastern edge of a UTM zone: on its grid where ``x0`` is negative, else on the next."""
    grid = (x0 >= 0).astype(np.intp)
    epsg = tuple((32600 if latitude >= 0 else 32700) + number for number in (zone, zone + 1))
    bounds, degrees = np.empty((x0.size, 4)), np.empty((2, x0.size))
    for number, code in enumerate(epsg):
        rows = np.flatnonzero(grid == number)
        to_utm = to_crs(4326, code)
        east, north = (round(each / 20) for each in to_utm.transform(zone * 6 - 180, latitude))
        ground = make_ground(epsg=code, resolution=20.0, offset=(east, north))
        bounds[rows] = ground.bounds(y0[rows], x0[rows], SIZE)
        degrees[:, rows] = ground.centres(y0[rows], x0[rows], SIZE)
    return Squares(size_px=SIZE, grid=grid, epsg=epsg, y0=y0, x0=x0, bounds=bounds,
                   longitude=degrees[0], latitude=degrees[1])  # fmt: skip  # one call


def in_equal_area(squares: Squares, zone: int, latitude: int) -> np.ndarray:
    """Outlines around the edge of a zone, in metres."""
    shapes = np.array(shapely.segmentize(shapely.box(*squares.bounds.T), 20.0), object)
    for number, code in enumerate(squares.epsg):
        rows = squares.grid == number
        there = to_crs(code, f"+proj=laea +lat_0={latitude} +lon_0={zone * 6 - 180}")
        shapes[rows] = shapely.transform(shapes[rows], there.transform, interleaved=False)
    return shapes


@settings(max_examples=40)
@given(places=PLACES, guard_m=GUARDS)
def test_none_is_left_out_without_need(places: list[tuple[int, int, int]], guard_m: float):
    """Each that is lost is too near one that is kept."""
    y0, x0, sets = (np.array(column) for column in zip(*places, strict=True))
    squares = make_squares(y0.tolist(), x0.tolist(), size_px=SIZE)
    is_out = leave_out(squares, sets.astype(np.uint8), guard_m)
    boxes = shapely.box(*squares.bounds.T)
    lost, kept = np.flatnonzero(is_out), np.flatnonzero(~is_out)
    differ = sets[lost][:, np.newaxis] != sets[kept]
    meets = shapely.area(shapely.intersection(boxes[lost][:, np.newaxis], boxes[kept])) > 0
    near = shapely.distance(boxes[lost][:, np.newaxis], boxes[kept]) < guard_m
    assert (differ & (meets | near)).any(axis=1).all()


@settings(max_examples=40)
@given(places=PLACES, rows=st.randoms(use_true_random=False))
def test_the_order_of_patches_does_not_count(places: list[tuple[int, int, int]], rows):
    """The same ones are lost."""
    unique = list({(y, x): (y, x, number) for y, x, number in places}.values())
    y0, x0, sets = (np.array(column) for column in zip(*unique, strict=True))
    order = np.array(rows.sample(range(len(unique)), len(unique)))
    straight = leave_out(make_squares(y0.tolist(), x0.tolist()), sets.astype(np.uint8), 100.0)
    turned = leave_out(make_squares(y0[order].tolist(), x0[order].tolist()), sets[order].astype(np.uint8), 100.0)
    np.testing.assert_array_equal(straight[order], turned)


def test_a_straight_border_costs_one_row_of_train():
    """Of two rows that face each other, not both."""
    rows, columns = (part.ravel() for part in np.indices((6, 10)) * SIZE)
    sets = np.where(rows < 3 * SIZE, 0, 2).astype(np.uint8)
    squares = make_squares(rows.tolist(), columns.tolist(), size_px=SIZE)
    is_out = leave_out(squares, sets, 100.0)
    np.testing.assert_array_equal(np.flatnonzero(is_out), np.arange(20, 30))


def heap(number: int) -> tuple[Squares, np.ndarray]:
    """Ten squares that overlap as they like, and their sets."""
    rng = np.random.default_rng(number)
    y0, x0 = rng.integers(0, 50, (2, 10)).tolist()
    return make_squares(y0, x0, size_px=SIZE), rng.integers(0, 3, 10).astype(np.uint8)


def fewest(squares: Squares, sets: np.ndarray) -> int:
    """How many must go at least: by trying all choices."""
    first, second = find_close(squares, sets, 0.0)
    choice = np.arange(1 << sets.size)
    taken = (choice >> first[:, np.newaxis]) | (choice >> second[:, np.newaxis])
    return int(np.bitwise_count(choice)[((taken & 1) == 1).all(axis=0)].min())


def test_few_are_lost():
    """Of forty heaps no more than a twentieth more than must be."""
    heaps = [heap(number) for number in range(40)]
    lost = sum(int(leave_out(squares, sets, 0.0).sum()) for squares, sets in heaps)
    least = sum(fewest(squares, sets) for squares, sets in heaps)
    assert 0 < least <= lost <= 1.05 * least


def test_what_nobody_is_near_any_more_comes_back():
    """The middle one goes first, near three; then those three, each near two more; then it is near nobody."""
    middle, near = [(100, 100)], [(100, 112), (100, 88), (112, 100)]
    far = [(92, 124), (108, 124), (92, 76), (108, 76), (124, 92), (124, 108)]
    y0, x0 = (list(column) for column in zip(*middle, *near, *far, strict=True))
    sets = np.array([0, 1, 1, 1, 0, 0, 0, 0, 0, 0], np.uint8)
    assert np.flatnonzero(leave_out(make_squares(y0, x0, size_px=SIZE), sets, 0.0)).tolist() == [1, 2, 3]


def test_patches_side_by_side_are_not_too_near():
    """Without a guard they may touch."""
    squares = make_squares([0, 0], [0, SIZE], size_px=SIZE)
    assert not leave_out(squares, np.array([0, 2], np.uint8), 0.0).any()


def test_leakage_is_counted():
    """Two that overlap by 16 x 4 pixels, one that lies 40 m from both, one far away."""
    squares = make_squares([0, 0, 0, 400], [0, 12, 32, 400], size_px=SIZE)
    found = measure_leakage(squares, np.array([0, 1, 2, 2], np.uint8), 45.0)
    assert (found.pairs, found.overlapping, found.shared_px) == (2, 1, 64.0)
    assert measure_leakage(squares, np.array([0, 1, 2, 2], np.uint8), 200.0).pairs == 3
