"""A cube with a time axis on disk: a folder of objects for each date, and what is known of each tile."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import zarr

from shdask.assemble.failed import failed_tiles
from shdask.assemble.ledger import Ledger, read_ledger
from shdask.assemble.status import read_status
from shdask.assemble.store import CubeStore, create_or_open, known_states
from shdask.assemble.verify import forget, verify_cube
from shdask.model import TileData, TileEvent, TileState
from shdask.plan.group import GroupPlan
from tests.unit.timed import Reached, along_days

from .conftest import Pixels

REACHED = np.array(
    [
        [[True, True, True], [True, True, True], [True, True, True]],
        [[False, False, False], [True, False, False], [False, False, False]],
        [[True, True, True], [True, True, True], [False, False, False]],
    ]
)
"""(step, row, column); the area has no tile in the north-east."""
TILES = (0, 1, 3, 4, 5, 6, 7, 8, 12, 18, 19, 21, 22, 23)


@pytest.fixture(params=[True, False], ids=["sharded", "unsharded"])
def cube(request: pytest.FixtureRequest, make_small_plan: Callable[..., GroupPlan], tmp_path) -> CubeStore:
    """An empty cube of 3, 8 and 13 June."""
    return create_or_open(along_days(make_small_plan(sharded=request.param), REACHED), tmp_path / "cube")


def pixels_on(cube: CubeStore, pixels: Pixels, index: int) -> TileData:
    """Reflectances that tell the dates apart, and a mask that does too."""
    tile = cube.plan.tile(index)
    data = pixels.of(tile)
    keep = np.ones(data.data_mask.shape, np.bool_)
    keep[0, tile.step] = False
    return TileData(values=data.values // np.uint16(tile.step + 1), data_mask=data.data_mask & keep)


def write(cube: CubeStore, pixels: Pixels, *indices: int) -> list[TileEvent]:
    """Write these tiles; what a build would have heard."""
    stored = [(index, cube.write_tile(cube.plan.tile(index), pixels_on(cube, pixels, index))) for index in indices]
    return [TileEvent(tile=index, state=tile.state, checksum=tile.checksum) for index, tile in stored]


def whole(cube: CubeStore, pixels: Pixels) -> None:
    """Write every tile and its row."""
    with Ledger.open(cube.place) as ledger:
        ledger.append(write(cube, pixels, *TILES))


def array(cube: CubeStore, name: str) -> zarr.Array:
    return zarr.open_array(cube.place.path, path=name, mode="r")


def test_the_plan_has_these_tiles(cube):
    """All others below are numbered by hand."""
    assert cube.plan.tile_set.indices().tolist() == list(TILES)


def test_arrays_have_time_first_and_one_date_in_an_object(cube):
    """No object is shared by two dates, so that a date can be appended without a rewrite."""
    band = array(cube, "B04")
    assert (band.shape, band.metadata.dimension_names) == ((3, 70, 80), ("time", "y", "x"))
    assert (band.chunks, (band.shards or (1,))[0]) == ((1, 16, 16), 1)


def test_the_time_axis_is_the_timelines(cube):
    """CF milliseconds, as numpy counts them."""
    time = array(cube, "time")
    dates = np.array(["2024-06-03", "2024-06-08", "2024-06-13"], "datetime64[ms]")
    np.testing.assert_array_equal(time[:], dates.astype(np.int64))
    assert time.attrs["units"] == "milliseconds since 1970-01-01"
    assert array(cube, "scene_ids")[:].tolist() == ["scene-03", "scene-08", "scene-13"]


def test_a_new_cube_tells_what_no_acquisition_reached_from_what_is_outside(cube):
    """254 in the area where no satellite passed, 255 outside the area, whatever passed there."""
    assert array(cube, "tile_state")[:].tolist() == [
        [[0, 0, 255], [0, 0, 0], [0, 0, 0]],
        [[254, 254, 255], [0, 254, 254], [254, 254, 254]],
        [[0, 0, 255], [0, 0, 0], [254, 254, 254]],
    ]


def test_a_new_cube_tells_what_was_not_chosen(cube):
    """252 where a satellite passed and nobody wants the date; the status counts it."""
    declined = np.zeros_like(REACHED)
    declined[1, 0] = True
    cube = replace(
        cube, plan=replace(cube.plan, tile_set=replace(cube.plan.tile_set, declined=Reached(table=declined)))
    )
    cube.write_states(np.zeros(27, np.uint8))
    assert array(cube, "tile_state")[1].tolist() == [[252, 252, 255], [0, 254, 254], [254, 254, 254]]
    status = read_status(cube.place)
    assert status.not_bought == {"not_chosen": 2, "no_acquisition": 8}
    assert "not tiles 2 not chosen, 8 no acquisition: not bought" in str(status)


def test_a_store_of_an_older_version_learns_new_states(cube):
    """Where it is continued; its metadata are consolidated anew."""
    group = zarr.open_group(cube.place.path, mode="r+")
    group["tile_state"].update_attributes({"flag_values": [0, 1, 2, 3, 253, 254, 255]})
    cube.write_states(np.zeros(27, np.uint8))
    assert zarr.open_group(cube.place.path, mode="r")["tile_state"].attrs["flag_values"][4] == 252


def test_states_stand_at_their_date_and_cell(cube):
    """By tile index; where there is no tile, none is written."""
    states = np.full(27, TileState.FAILED, np.uint8)
    states[12] = TileState.EMPTY
    cube.write_states(states)
    assert array(cube, "tile_state")[1].tolist() == [[254, 254, 255], [2, 254, 254], [254, 254, 254]]
    assert array(cube, "tile_state")[2].tolist() == [[3, 3, 255], [3, 3, 3], [254, 254, 254]]


def test_what_is_written_reads_back_at_its_date(cube, pixels):
    """And nowhere else: what was not reached is fill."""
    write(cube, pixels, *TILES)
    for_each = np.stack([pixels.values[0] // np.uint16(step + 1) for step in range(3)])
    reached = np.kron(REACHED, np.ones((32, 32), np.bool_))[:, :70, :80]
    valid = reached & pixels.mask
    for_rows, for_columns = np.arange(70) % 32 == 0, np.arange(80) % 32
    hidden = for_rows[:, None] & (for_columns == np.arange(3)[:, None])[:, None]
    np.testing.assert_array_equal(array(cube, "data_mask")[:], valid & ~hidden)
    np.testing.assert_array_equal(array(cube, "B04")[:], np.where(valid & ~hidden, for_each, 0))


def test_a_tile_is_durable_at_its_date_alone(cube, pixels):
    """By listings, and one by one."""
    write(cube, pixels, 3, 21)
    assert np.flatnonzero(cube.durable_tiles()).tolist() == [3, 21]
    assert [index for index in TILES if cube.is_durable(cube.plan.tile(index))] == [3, 21]


def test_known_states_come_from_disk_and_ledger(cube, pixels):
    """Of tiles of several dates."""
    with Ledger.open(cube.place) as ledger:
        ledger.append(write(cube, pixels, 3))
        ledger.append(
            [TileEvent(tile=12, state=TileState.EMPTY), TileEvent(tile=21, state=TileState.FAILED, error="x")]
        )
        ledger.append([TileEvent(tile=22, state=TileState.WRITTEN)])
    states = known_states(cube.plan, cube, read_ledger(cube.place))
    assert {index: int(states[index]) for index in np.flatnonzero(states)} == {3: 1, 12: 2, 21: 3}
    assert states.size == 27


def test_a_whole_cube_is_sound(cube, pixels):
    """Only tiles count, not what no acquisition reached."""
    whole(cube, pixels)
    report = verify_cube(cube.place)
    assert (report.tiles, report.sound, report.whole) == (14, 14, True)


def test_a_flipped_bit_is_found_at_its_date(cube, pixels):
    """The other dates of the cell are sound."""
    whole(cube, pixels)
    key = "B04/c/2/0/0"
    content = bytearray(cube.place.read(key) or b"")
    content[len(content) // 2] ^= 1
    cube.place.write(key, bytes(content))
    report = verify_cube(cube.place)
    assert (list(report.broken), report.sound) == ([18], 13)


def test_only_the_forgotten_date_is_fetched_again(cube, pixels):
    """Its mark is gone, and its state is untried."""
    whole(cube, pixels)
    forget(cube.place, [21])
    states = known_states(cube.plan, cube, read_ledger(cube.place))
    assert [index for index in TILES if states[index] != TileState.WRITTEN] == [21]
    assert array(cube, "tile_state")[2, 1, 0] == TileState.UNTRIED


def test_what_a_failing_disk_left_is_written_over(make_small_plan, pixels, tmp_path):
    """A tile without its mark is stored anew, though its shard can be read no more."""
    cube = create_or_open(along_days(make_small_plan(sharded=True), REACHED), tmp_path / "cube")
    whole(cube, pixels)
    before = array(cube, "B04")[...]
    cube.place.remove("data_mask/c/2/1/0")
    cube.place.write("B04/c/2/1/0", b"shard" * 9)
    write(cube, pixels, 21)
    np.testing.assert_array_equal(array(cube, "B04")[...], before)


@pytest.mark.parametrize("index", [2, 9, 11, 26, 27])
def test_what_is_no_tile_cannot_be_forgotten(cube, index):
    """Outside the area, not reached, or beyond the last date."""
    with pytest.raises(IndexError, match=f"tile {index} is none of the cube's"):
        forget(cube.place, [index])


def test_status_counts_tiles_alone(cube, pixels):
    """Nothing is left to do where no acquisition was."""
    whole(cube, pixels)
    status = read_status(cube.place)
    assert (status.tiles, status.written, status.untried, status.pu_left) == (14, 14, 0, 0.0)


def test_what_is_left_is_priced_by_its_pixels(cube, pixels):
    """The last tile of a row of tiles is smaller, at any date."""
    with Ledger.open(cube.place) as ledger:
        ledger.append(write(cube, pixels, *TILES[:-1]))
    assert read_status(cube.place).pu_left == pytest.approx(cube.plan.tile_pu(23))


def test_failed_tiles_are_mapped_with_their_step(cube):
    """One cell may fail at several dates."""
    with Ledger.open(cube.place) as ledger:
        ledger.append([TileEvent(tile=tile, state=TileState.FAILED, error="no") for tile in (3, 12)])
    features = failed_tiles(cube.place)["features"]
    places = [{key: feature["properties"][key] for key in ("tile", "step", "row", "column")} for feature in features]
    assert places == [{"tile": 3, "step": 0, "row": 1, "column": 0}, {"tile": 12, "step": 1, "row": 1, "column": 0}]
    assert features[0]["geometry"] == features[1]["geometry"]


@pytest.mark.parametrize("writes", range(4))
def test_a_tile_cut_short_anywhere_is_not_durable(cube, pixels, monkeypatch, writes):
    """Killed after any number of writes but the last, and whatever stands at other dates."""
    write(cube, pixels, 3)
    tile = cube.plan.tile(12)
    last = 2 + len(cube.layout.steps(tile))
    put, left = CubeStore._put, iter(range(min(writes, last - 1)))

    def write_some(*pixels: Any) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt
        put(*pixels)

    monkeypatch.setattr(CubeStore, "_put", write_some)
    with pytest.raises(KeyboardInterrupt):
        cube.write_tile(tile, pixels_on(cube, pixels, 12))
    assert np.flatnonzero(cube.durable_tiles()).tolist() == [3]
