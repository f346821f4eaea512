"""Whether there is a tile, asked of one."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from shdask.plan.placing import place_in_time
from shdask.plan.reach import Reach
from shdask.plan.tile_set import TileSet
from shdask.plan.tiles import TileRuns
from shdask.plan.timeline import make_timeline
from tests.unit.assemble.conftest import small_plan

from .scenes import scene, span  # tests are no installed package

GRIDS = st.lists(st.lists(st.booleans(), min_size=5, max_size=5), min_size=4, max_size=4)


def runs_of(cells: np.ndarray) -> TileRuns:
    """The runs of a (row, column) table of cells."""
    padded = np.pad(cells.astype(np.int8), ((0, 0), (1, 1)))
    change = np.diff(padded, axis=1)
    rows, starts = np.nonzero(change == 1)
    _, stops = np.nonzero(change == -1)
    found = np.stack((rows, starts, stops), axis=1).astype(np.int64)
    first = np.concatenate(([0], np.cumsum(stops - starts)))
    return TileRuns(runs=found, first=first, grid_shape=(4, 5))


@given(GRIDS, st.lists(GRIDS, min_size=1, max_size=3), GRIDS)
def test_a_tile_set_holds_exactly_its_indices(area: list[list[bool]], steps: list[list[list[bool]]], clouds):
    """At every step, with and without reach and clouds."""
    reach = Reach(packed=np.packbits(np.reshape(steps, (len(steps), -1)), axis=1), grid_shape=(4, 5))
    runs = runs_of(np.asarray(area))
    cloudy = np.repeat(np.asarray(clouds)[np.newaxis], len(steps), axis=0)
    sets = (TileSet(runs=runs), TileSet(runs=runs, reach=reach), TileSet(runs=runs, reach=reach, cloudy=cloudy))
    told = [[index for index in range(tiles.index_count) if tiles.holds(index)] for tiles in sets]
    assert told == [tiles.indices().tolist() for tiles in sets]


def test_an_index_outside_the_array_is_refused():
    """Rather than answered for another tile."""
    with pytest.raises(IndexError, match="tile 20 of a cube with 20"):
        TileSet(runs=runs_of(np.ones((4, 5), np.bool_))).holds(20)


def test_a_plan_in_time_holds_what_its_scenes_reach():
    """A scene beside the area makes no tile."""
    plan = small_plan()
    plan = replace(plan, layer=replace(plan.layer, cadence="day"))
    around, beside = shapely.box(14, 44, 16, 47), shapely.box(20, 44, 22, 47)
    scenes = [
        scene("a", "2024-06-02T10:00:00", footprint=around),
        scene("b", "2024-06-03T10:00:00", footprint=beside),
    ]
    placed = place_in_time(plan, make_timeline(scenes, "day", span("2024-06-01T00:00:00", "2024-07-01T00:00:00")))
    cells = placed.tile_set.cell_count
    held = [index for index in range(2 * cells) if placed.tile_set.holds(index)]
    assert held == placed.tile_set.indices().tolist() == [0, 1, 3, 4, 5, 6, 7, 8]
