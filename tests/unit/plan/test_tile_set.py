"""The tiles of a layer in space and time: their numbers, and which come with one request."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from hypothesis.extra.numpy import arrays
from numpy.typing import NDArray

from shdask.plan.tile_set import TileSet
from shdask.plan.tiles import TileRuns
from tests.unit.timed import Reached

Bools = NDArray[np.bool_]


def runs_of(cells: Bools) -> TileRuns:
    """The runs of an area that holds these (row, column) cells."""
    edges = np.diff(cells.astype(np.int64), axis=1, prepend=0, append=0)
    (rows, starts), (_, stops) = np.nonzero(edges == 1), np.nonzero(edges == -1)
    first = np.concatenate(([0], np.cumsum(stops - starts)))
    return TileRuns(runs=np.stack((rows, starts, stops), axis=1), first=first, grid_shape=cells.shape)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Case:
    """A set of tiles, and what it is made of."""

    tiles: TileSet
    cells: Bools
    """(row, column) of the area."""
    table: Bools
    """(step, row, column) that acquisitions reach, in the area and outside."""


def tiles_of(cells: Bools, table: Bools, bundles: Sequence[int] = ()) -> Case:
    tiles = TileSet(runs=runs_of(cells), reach=Reached(table=table), bundles=tuple(bundles))
    return Case(tiles=tiles, cells=cells, table=table)


@st.composite
def cases(draw: st.DrawFn, *, bundled: bool | None = None) -> Case:
    shape = draw(st.integers(1, 4)), draw(st.integers(1, 5))
    steps = draw(st.integers(1, 6))
    bundled = draw(st.booleans()) if bundled is None else bundled
    numbers = st.lists(st.integers(0, 3), min_size=steps, max_size=steps)
    return tiles_of(
        draw(arrays(np.bool_, shape)), draw(arrays(np.bool_, (steps, *shape))), draw(numbers) if bundled else ()
    )


@given(cases())
def test_tiles_are_the_areas_cells_that_a_step_reaches(case: Case) -> None:
    """Numbered as numpy numbers the cells of the whole array, ascending."""
    expected = np.flatnonzero(case.table & case.cells)
    np.testing.assert_array_equal(case.tiles.indices(), expected)
    assert case.tiles.count == expected.size


@given(arrays(np.bool_, (3, 4)))
def test_without_a_time_axis_tiles_are_the_areas_cells(cells: Bools) -> None:
    """And none is without an acquisition."""
    tiles = TileSet(runs=runs_of(cells))
    np.testing.assert_array_equal(tiles.indices(), np.flatnonzero(cells))
    assert (tiles.count, tiles.step_count, tiles.index_count) == (cells.sum(), 1, 12)
    assert tiles.unreached().size == 0


@given(cases(), st.data())
def test_an_index_is_the_place_of_its_tile(case: Case, data: st.DataObject) -> None:
    """Any index below their number, planned or not, as numpy unravels it."""
    index = data.draw(st.integers(0, case.tiles.index_count - 1))
    assert case.tiles.place(index) == np.unravel_index(index, case.table.shape)


@given(cases(), st.sampled_from([-1, 0]))
def test_there_is_no_place_outside_the_array(case: Case, offset: int) -> None:
    """No negative number counts from the end."""
    outside = case.tiles.index_count if offset == 0 else offset
    with pytest.raises(IndexError, match=f"tile {outside} of a cube with {case.table.size}"):
        case.tiles.place(outside)


@given(cases())
def test_reached_and_unreached_are_the_areas_cells_at_every_step(case: Case) -> None:
    """Each once: what is not asked for is known to be empty."""
    both = np.concatenate((case.tiles.indices(), case.tiles.unreached()))
    expected = np.flatnonzero(np.broadcast_to(case.cells, case.table.shape))
    np.testing.assert_array_equal(np.sort(both), expected)
    assert (np.diff(case.tiles.unreached()) > 0).all()


@given(cases(), st.data())
def test_appended_steps_change_no_index(case: Case, data: st.DataObject) -> None:
    """The tiles of a shorter time axis are the first of a longer one."""
    steps = data.draw(st.integers(1, len(case.table)))
    shorter = tiles_of(case.cells, case.table[:steps]).tiles
    longer = case.tiles.indices()
    np.testing.assert_array_equal(shorter.indices(), longer[longer < steps * case.cells.size])


@given(cases(), st.data())
def test_an_area_that_grows_in_the_array_changes_no_index(case: Case, data: st.DataObject) -> None:
    """It only adds some."""
    smaller = case.cells & data.draw(arrays(np.bool_, case.cells.shape))
    assert set(tiles_of(smaller, case.table).tiles.indices()) <= set(case.tiles.indices())


def some_of(case: Case, data: st.DataObject) -> NDArray[np.intp]:
    """Tiles that are left to do after some were done."""
    return case.tiles.indices()[data.draw(arrays(np.bool_, case.tiles.count))]


@given(cases(), st.data())
def test_order_loses_and_repeats_no_tile(case: Case, data: st.DataObject) -> None:
    """Whatever is left to do."""
    some = some_of(case, data)
    np.testing.assert_array_equal(np.sort(case.tiles.in_order(some)), some)


@given(cases(), st.data())
def test_groups_are_the_tiles_in_order(case: Case, data: st.DataObject) -> None:
    """Joined together, none empty."""
    ordered = case.tiles.in_order(some_of(case, data))
    groups = list(case.tiles.bundle(ordered))
    assert [index for group in groups for index in group] == ordered.tolist()
    assert all(groups)


@given(cases(bundled=True), st.data())
def test_a_group_holds_the_steps_of_one_bundle_in_one_cell(case: Case, data: st.DataObject) -> None:
    """By time, since a request names its dates in order."""
    groups = case.tiles.bundle(case.tiles.in_order(some_of(case, data)))
    places = [[case.tiles.place(index) for index in group] for group in groups]
    assert all(len({(case.tiles.bundles[step], row, column) for step, row, column in group}) == 1 for group in places)
    assert all(group == sorted(group) for group in places)


@given(cases(bundled=True), st.data())
def test_no_bundle_is_torn(case: Case, data: st.DataObject) -> None:
    """Two groups are never two parts of what one request can bring."""
    groups = case.tiles.bundle(case.tiles.in_order(some_of(case, data)))
    places = [case.tiles.place(group[0]) for group in groups]
    keys = [(case.tiles.bundles[step], row, column) for step, row, column in places]
    assert len(set(keys)) == len(keys)


@given(cases(bundled=False), st.data())
def test_without_bundles_every_tile_comes_alone(case: Case, data: st.DataObject) -> None:
    """Ascending."""
    some = some_of(case, data)
    assert list(case.tiles.bundle(case.tiles.in_order(some))) == [[index] for index in some.tolist()]


@given(cases())
def test_the_number_of_groups_is_counted_without_making_them(case: Case) -> None:
    """It is what the plan calls requests."""
    ordered = case.tiles.in_order(case.tiles.indices())
    assert case.tiles.bundle_count() == len(list(case.tiles.bundle(ordered)))


@given(cases())
def test_tiles_share_a_number_where_they_share_a_group(case: Case) -> None:
    """And only there."""
    groups = list(case.tiles.bundle(case.tiles.in_order(case.tiles.indices())))
    numbers = [set(case.tiles.bundle_numbers(np.asarray(group, np.intp)).tolist()) for group in groups]
    assert all(len(number) == 1 for number in numbers)
    assert len(set.union(set(), *numbers)) == len(groups)


@given(cases())
def test_counts_by_size_count_every_tile_once(case: Case) -> None:
    """Inner, last column, last row and corner, against a count of the listed tiles."""
    planned = case.table & case.cells
    expected = (planned[:, :-1, :-1], planned[:, :-1, -1], planned[:, -1, :-1], planned[:, -1, -1])
    assert case.tiles.counts_by_size() == tuple(part.sum() for part in expected)


@given(cases())
def test_one_step_that_reaches_all_counts_as_no_time_axis(case: Case) -> None:
    """The formula without a time axis and the count along one are one rule."""
    timeless = replace(case.tiles, reach=None, bundles=())
    whole = tiles_of(case.cells, np.ones((1, *case.cells.shape), np.bool_)).tiles
    assert timeless.counts_by_size() == whole.counts_by_size()


def test_steps_of_a_bundle_come_together_though_others_lie_between() -> None:
    """Two cells, three steps, the outer two in one bundle; the second cell is not reached at the last."""
    table = np.array([[[True, True]], [[True, True]], [[True, False]]])
    tiles = tiles_of(np.array([[True, True]]), table, (0, 1, 0)).tiles
    ordered = tiles.in_order(tiles.indices())
    assert list(tiles.bundle(ordered)) == [[0, 4], [1], [2], [3]]
    assert tiles.bundle_count() == 4


@given(cases(), st.data())
def test_tiles_found_too_cloudy_are_told_apart(case: Case, data: st.DataObject) -> None:
    """They are no tiles; with them and what no step reaches the area's cells are complete."""
    cloudy = data.draw(arrays(np.bool_, case.table.shape))
    tiles = replace(case.tiles, cloudy=cloudy)
    np.testing.assert_array_equal(tiles.indices(), np.flatnonzero(case.table & case.cells & ~cloudy))
    np.testing.assert_array_equal(tiles.too_cloudy(), np.flatnonzero(case.table & case.cells & cloudy))
    np.testing.assert_array_equal(tiles.unreached(), case.tiles.unreached())
    assert tiles.count == tiles.indices().size == sum(tiles.counts_by_size())
