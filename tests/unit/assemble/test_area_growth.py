"""A cube whose area grows: what is reopened, in which order it is made durable, and what a tile becomes."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import shapely

from shdask.assemble import area_growth
from shdask.assemble.area_growth import CubeAreas, check_area, continue_area, find_reopened, refuse_growth, widen_area
from shdask.assemble.areas import KEY, KeptArea, kept_areas
from shdask.assemble.ledger import Ledger, read_ledger
from shdask.assemble.store import CubeStore, create_or_open, known_states, read_root_attributes
from shdask.assemble.verify import verify_cube
from shdask.errors import StoreError, WrongStore
from shdask.inputs import AreaOfInterest
from shdask.model import TileData, TileEvent, TileState
from shdask.plan.group import GroupPlan
from shdask.plan.placing import make_group
from shdask.plan.spec import CubeSpec
from shdask.settings import DEPLOYMENTS

WEST = shapely.box(500000, 4999300, 500400, 5000000)
"""Columns 0 to 40 of 80 in 70 rows: two of three columns of tiles of 32 px, the second by 8 pixels."""
MOST = shapely.box(500000, 4999300, 500500, 5000000)
"""Ten columns more, all of them in the second column of tiles."""
ALL = shapely.box(500000, 4999300, 500800, 5000000)


def plan_of(area: shapely.Geometry, *, sharded: bool = True, extent: bool = True) -> GroupPlan:
    spec = CubeSpec(
        aoi=area,
        crs="EPSG:32633",
        resolution=10,
        time=("2024-06-01", "2024-06-30"),
        extent=ALL.bounds if extent else None,
        layers={"s2": {"collection": "sentinel-2-l2a", "bands": ["B04", "SCL"]}},
        store={"chunk_px": 16, "tile_px": 32, "sharded": sharded},
    )
    given = AreaOfInterest(geometry=area, crs="EPSG:32633")
    return make_group(spec, area=given, like=None, deployment=DEPLOYMENTS["services"])


def data_of(cube: CubeStore, index: int, value: int, *, valid: bool = True) -> TileData:
    """A tile full of one value, as it is bought."""
    tile = cube.plan.tile(index)
    mask = cube.plan.bought_mask(tile) & valid
    return TileData(values=np.full((2, *mask.shape), value, np.uint16), data_mask=mask)


def write(cube: CubeStore, index: int, value: int, *, valid: bool = True) -> TileEvent:
    stored = cube.write_tile(cube.plan.tile(index), data_of(cube, index, value, valid=valid))
    return TileEvent(tile=index, state=stored.state, checksum=stored.checksum)


def grow(area: shapely.Geometry, path: Path, *, sharded: bool = True) -> CubeStore:
    """As a build begins."""
    cube, areas = widen_area(create_or_open(plan_of(area, sharded=sharded), path))
    with Ledger.open(path) as ledger:
        return continue_area(cube, areas, ledger)[0]


@pytest.fixture(params=[True, False], ids=["sharded", "unsharded"])
def sharded(request: pytest.FixtureRequest) -> bool:
    return request.param


@pytest.fixture
def path(tmp_path: Path, sharded: bool) -> Path:
    """A cube of the western half: tile 0 and 1 written, 3 written, 4 empty, 6 and 7 untried."""
    cube = create_or_open(plan_of(WEST, sharded=sharded), tmp_path / "cube")
    with Ledger.open(cube.place) as ledger:
        ledger.append([write(cube, tile, 5) for tile in (0, 1, 3)] + [write(cube, 4, 5, valid=False)])
    return tmp_path / "cube"


def test_an_area_comes_back_to_the_bit(path, sharded) -> None:
    """Edges as they were, and what tells it from others."""
    plan = plan_of(WEST, sharded=sharded)
    (kept,) = kept_areas(create_or_open(plan, path).place, plan.grid.shape)
    assert kept == KeptArea.of(plan)
    np.testing.assert_array_equal(kept.area.edges, plan.area.edges)
    np.testing.assert_array_equal(kept.area.reach, plan.area.reach)


def test_tiles_that_lack_pixels_are_reopened(path, sharded) -> None:
    """What was written or empty has the first of two areas; the others are tiles as any."""
    cube = grow(MOST, path, sharded=sharded)
    assert dict(cube.plan.reopened.levels) == {1: 1, 4: 1}
    states = known_states(cube.plan, cube, read_ledger(path))
    assert [TileState(states[tile]).name for tile in (0, 1, 3, 4, 6, 7)] == [
        "WRITTEN", "UNTRIED", "WRITTEN", "UNTRIED", "UNTRIED", "UNTRIED"
    ]  # fmt: skip  # a row


def test_a_tile_in_flight_is_bought_as_a_whole(path, sharded) -> None:
    """It may land yet, without what is new."""
    with Ledger.open(path) as ledger:
        ledger.give_out([7], pu_projected=1.0)
    assert grow(MOST, path, sharded=sharded).plan.reopened.levels[7] == 0


def test_only_what_is_new_is_asked_for(path, sharded) -> None:
    """Ten columns of the second column of tiles; all of the area where nothing stands."""
    plan = grow(MOST, path, sharded=sharded).plan
    assert [(tile.windows[0].x0, tile.windows[0].x1) for tile in map(plan.tile, (1, 4, 7))] == [
        (40, 50),
        (40, 50),
        (32, 50),
    ]


def test_what_stands_stays(path, sharded) -> None:
    """New pixels come beside it, and the checksum is that of all."""
    cube = grow(MOST, path, sharded=sharded)
    with Ledger.open(path) as ledger:
        ledger.append([write(cube, 1, 9)])
    tile = cube.arrays["B04"][:32, 32:64]
    assert np.unique(tile[:, :8]).tolist() == [5]
    assert np.unique(tile[:, 8:18]).tolist() == [9]
    assert np.unique(tile[:, 18:]).tolist() == [0]
    np.testing.assert_array_equal(cube.arrays["data_mask"][:32, 32:64], tile > 0)
    assert (verify_cube(path).sound, verify_cube(path).whole) == (3, True)


def test_a_tile_written_again_after_a_kill_is_the_same(path, sharded) -> None:
    """Whatever of it was written before."""
    cube = grow(MOST, path, sharded=sharded)
    first = write(cube, 1, 9)
    again = write(grow(MOST, path, sharded=sharded), 1, 9)
    assert first == again


def test_what_a_cut_write_left_of_another_area_is_not_kept(path, sharded) -> None:
    """A band that was written before its mask holds nothing outside of it in the end."""
    cube = grow(MOST, path, sharded=sharded)
    cube.arrays["B04"][:32, 32:64] = 77
    write(cube, 1, 9, valid=False)
    assert np.unique(cube.arrays["B04"][:32, 40:64]).tolist() == [0]


def test_an_empty_tile_that_gains_nothing_valid_stays_empty(path, sharded) -> None:
    """Nothing is stored."""
    cube = grow(MOST, path, sharded=sharded)
    assert write(cube, 4, 9, valid=False).state is TileState.EMPTY
    assert write(cube, 4, 9).state is TileState.WRITTEN


def test_the_ledger_reopens_before_the_area_is_kept(path, sharded, monkeypatch) -> None:
    """Cut short between, the same is done again by the next build, and one with the old area lacks nothing."""
    monkeypatch.setattr(area_growth, "keep_areas", lambda *_: pytest.fail("cut short"))
    with pytest.raises(pytest.fail.Exception):
        grow(MOST, path, sharded=sharded)
    assert read_ledger(path).reopened == {1: 1, 4: 1}
    cube, areas = widen_area(create_or_open(plan_of(WEST, sharded=sharded), path))
    assert find_reopened(cube, areas, read_ledger(path))[0].plan.reopened.levels == {}
    monkeypatch.undo()
    assert dict(grow(MOST, path, sharded=sharded).plan.reopened.levels) == {1: 1, 4: 1}


def test_root_and_tile_states_tell_of_the_growth(path, sharded) -> None:
    """From its beginning, for whoever asks while it goes on."""
    cube = grow(ALL, path, sharded=sharded)
    attributes = read_root_attributes(path)
    assert (attributes["complete"], attributes["layout"]["tiles"]) == (False, 9)
    assert cube.arrays["tile_state"][...].tolist() == [[1, 0, 0], [1, 0, 0], [0, 0, 0]]


def test_a_smaller_area_is_part_of_what_the_cube_has(path, sharded) -> None:
    """The cube's is that of all builds."""
    grow(ALL, path, sharded=sharded)
    cube, areas = widen_area(create_or_open(plan_of(WEST, sharded=sharded), path))
    assert areas.new is None
    assert cube.plan.area_mask(cube.plan.grid.window).all()


def test_an_array_that_follows_its_area_keeps_none(tmp_path) -> None:
    """It cannot grow."""
    cube = create_or_open(plan_of(WEST, extent=False), tmp_path / "cube")
    assert cube.place.read(KEY) is None
    assert CubeAreas.of(cube, grow=True) == CubeAreas(kept=(), new=None)


def test_a_cube_of_before_is_bound_to_its_area(tmp_path) -> None:
    """One made when areas could not grow is continued with the same, and refuses any other."""
    old = replace(plan_of(WEST), has_fixed_array=False)
    create_or_open(old, tmp_path / "cube")
    assert create_or_open(plan_of(WEST), tmp_path / "cube").plan.has_fixed_array
    with pytest.raises(WrongStore, match=r"area\.sha256"):
        create_or_open(plan_of(MOST), tmp_path / "cube")


def test_areas_that_cannot_be_read_are_named(path, sharded) -> None:
    """With the file that is to blame."""
    (path / KEY).write_text("[{}]")
    with pytest.raises(StoreError, match=KEY):
        grow(MOST, path, sharded=sharded)


def test_who_buys_tile_by_tile_does_not_let_an_area_grow(path, sharded) -> None:
    """Nor goes on once another has."""
    cube = create_or_open(plan_of(MOST, sharded=sharded), path)
    with pytest.raises(WrongStore, match="shdask build"):
        refuse_growth(cube, read_ledger(path))
    opened = refuse_growth(create_or_open(plan_of(WEST, sharded=sharded), path), read_ledger(path))
    check_area(opened)
    grow(MOST, path, sharded=sharded)
    with pytest.raises(WrongStore, match="open it again"):
        check_area(opened)
