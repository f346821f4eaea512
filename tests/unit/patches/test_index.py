"""The index of valid and clear pixels: the same numbers as numpy over the pixels, whatever happened to the cube."""

from __future__ import annotations

import pickle
from pathlib import Path
from unittest.mock import Mock, create_autospec

import numpy as np
import pytest
import zarr

from shdask.assemble.disk import DiskPlace
from shdask.assemble.grow import continue_timeline
from shdask.assemble.ledger import Ledger
from shdask.assemble.status import read_status
from shdask.assemble.store import CubeStore, create_or_open
from shdask.assemble.verify import forget, verify_cube
from shdask.errors import PlanError, StoreError, WrongStore
from shdask.patches.choosing.index import open_index
from shdask.patches.measuring.counts import KEPT
from shdask.patches.measuring.stored_arrays import StoredArrays
from tests.unit.serve.timed import DAYS, disordered_plan, fill, fill_tree, flat_plan, timed_plan

from .indexed import dated_plan, in_blocks, make_cube, stored, write_tiles

FIRST = (0, 1, 3, 4)
"""Tiles of the first date, those in its north-west."""


@pytest.fixture(scope="module")
def cube(tmp_path_factory: pytest.TempPathFactory) -> CubeStore:
    """A whole cube of two dates."""
    return make_cube(tmp_path_factory.mktemp("index") / "cube")


def assert_counted(cube: CubeStore, steps: int = 2) -> None:
    """Every block of every date is what numpy counts in the arrays."""
    index = open_index(cube.place)
    for step in range(steps):
        for found, pixels in zip(index.blocks("", "s2", step), stored(cube, step), strict=True):
            np.testing.assert_array_equal(found, in_blocks(pixels))


@pytest.fixture
def reads(monkeypatch: pytest.MonkeyPatch) -> Mock:
    """Counts the windows that are read of arrays."""
    spy = create_autospec(StoredArrays.read, side_effect=StoredArrays.read)
    monkeypatch.setattr(StoredArrays, "read", spy)
    return spy


def test_blocks_hold_what_numpy_counts(cube) -> None:
    """Of valid pixels and of clear ones, blocks that are cut by the array's edge included."""
    assert_counted(cube)


@pytest.mark.parametrize("sharded", [True, False])
def test_shares_of_patches_on_blocks_are_exact(tmp_path, sharded) -> None:
    """As the mean of the masks under each patch, one row a patch, one column a date."""
    cube = make_cube(tmp_path / "cube", dated_plan(sharded=sharded), (*FIRST, 9, 10, 12, 13))
    y0, x0 = np.array([0, 16, 32]), np.array([0, 32, 16])
    valid, clear = open_index(cube.place).shares("", "s2", y0, x0, 32)
    masks = [stored(cube, step) for step in range(2)]
    under = [[[mask[y : y + 32, x : x + 32] for mask in each] for each in masks] for y, x in zip(y0, x0, strict=True)]
    assert (valid.dtype, valid.shape, clear.shape) == (np.float32, (3, 2), (3, 2))
    np.testing.assert_array_equal(valid, np.float32([[one.mean() for one, _ in row] for row in under]))
    np.testing.assert_array_equal(clear, np.float32([[both.sum() / one.sum() for one, both in row] for row in under]))


def test_shares_between_blocks_are_near(cube) -> None:
    """A patch of 20 px has at most the error of the blocks that it cuts."""
    valid, _ = open_index(cube.place).shares("", "s2", [5], [9], 20)
    exact = stored(cube, 0)[0][5:25, 9:29].mean()
    assert valid[0, 0] == pytest.approx(exact, abs=0.05)


def test_pixels_beyond_the_array_are_not_valid(cube) -> None:
    """Three quarters of this patch lie beyond its upper left corner."""
    inside, _ = open_index(cube.place).shares("", "s2", [0], [0], 16, time=0)
    beyond, _ = open_index(cube.place).shares("", "s2", [-16], [-16], 32, time=0)
    assert beyond[0, 0] == pytest.approx(inside[0, 0] / 4)


def test_where_nothing_is_valid_nothing_is_clear(cube) -> None:
    """The north-east lies outside the area."""
    valid, clear = open_index(cube.place).shares("", "s2", [0], [64], 16)
    assert (valid.tolist(), clear.tolist()) == ([[0.0, 0.0]], [[0.0, 0.0]])


def test_without_a_band_of_clouds_all_that_is_valid_is_clear(tmp_path) -> None:
    """Nothing tells otherwise."""
    cube = make_cube(tmp_path / "cube", dated_plan(bands=("B04",)), (0, 9))
    valid, clear = open_index(cube.place).shares("", "s2", [0], [0], 32)
    assert (valid > 0).all()
    assert (clear == 1).all()


def test_tiles_that_are_not_written_hold_nothing(tmp_path) -> None:
    """What is there is counted, what is not is not claimed."""
    cube = make_cube(tmp_path / "cube", indices=FIRST)
    assert_counted(cube)
    valid, _ = open_index(cube.place).shares("", "s2", [32], [0], 32)
    assert valid[0, 1] == 0


def test_tiles_written_later_are_counted_alone(tmp_path, reads) -> None:
    """Two arrays of each of them, and nothing of those that were counted."""
    cube = make_cube(tmp_path / "cube", indices=FIRST)
    open_index(cube.place).dates("", "s2")
    reads.reset_mock()
    write_tiles(cube, [5, 9])
    assert_counted(cube)
    assert reads.call_count == 4


def test_a_cube_that_has_not_changed_is_not_read(cube, reads) -> None:
    """The counts stand beside it."""
    open_index(cube.place).dates("", "s2")
    reads.reset_mock()
    assert_counted(cube)
    assert reads.call_count == 0


def test_a_tile_that_is_bought_again_is_counted_again(tmp_path, reads) -> None:
    """With other pixels; the others are not read."""
    cube = make_cube(tmp_path / "cube", indices=FIRST)
    open_index(cube.place).dates("", "s2")
    reads.reset_mock()
    forget(cube.place, [4])
    write_tiles(cube, [4], seed=2)
    assert_counted(cube)
    assert reads.call_count == 2


def test_a_tile_that_is_taken_away_is_forgotten(tmp_path) -> None:
    """Until it is bought again its pixels are not claimed."""
    cube = make_cube(tmp_path / "cube", indices=(0, 9))
    open_index(cube.place).dates("", "s2")
    forget(cube.place, [0])
    valid, _ = open_index(cube.place).shares("", "s2", [0], [0], 32)
    assert valid[0, 0] == 0 < valid[0, 1]
    assert_counted(cube)


def test_a_tile_that_is_taken_away_while_it_is_read_is_not_claimed(tmp_path, monkeypatch) -> None:
    """Its commit mark is looked for again behind its pixels."""
    cube = make_cube(tmp_path / "cube", indices=[0])
    monkeypatch.setattr(DiskPlace, "exists", lambda *_: False)
    assert open_index(cube.place).shares("", "s2", [0], [0], 32)[0].tolist() == [[0.0, 0.0]]
    monkeypatch.undo()
    assert_counted(cube)


def test_a_tile_that_lacks_pixels_of_a_grown_area_is_not_claimed(tmp_path) -> None:
    """It may be written to just now."""
    cube = make_cube(tmp_path / "cube", indices=FIRST)
    open_index(cube.place).dates("", "s2")
    with Ledger.open(cube.place) as ledger:
        ledger.reopen({0: 1})
    assert open_index(cube.place).shares("", "s2", [0], [0], 32, time=0)[0].tolist() == [[0.0]]


def test_dates_that_are_appended_are_counted(tmp_path, reads) -> None:
    """And those before them are not read again."""
    cube = make_cube(tmp_path / "cube", timed_plan(*DAYS[:2]), FIRST)
    open_index(cube.place).dates("", "s2")
    reads.reset_mock()
    longer, _ = continue_timeline(create_or_open(timed_plan(), cube.place))
    write_tiles(longer, [18])
    assert_counted(longer, 3)
    assert reads.call_count == 2


def test_dates_stand_in_the_order_of_time(tmp_path) -> None:
    """As open_cube has them, whatever their order in the store; shares follow."""
    place = fill(disordered_plan(), tmp_path / "cube").place
    index = open_index(place)
    expected = np.array([DAYS[0], DAYS[1], DAYS[1], DAYS[2]], "datetime64[s]")
    np.testing.assert_array_equal(index.dates("", "s2"), expected)
    forget(place, [22])  # of the third step in the store, the first date
    valid, _ = open_index(place).shares("", "s2", [32], [32], 16)
    assert (valid[0] == 0).tolist() == [True, False, False, False]


def test_dates_are_chosen_by_time_or_position(tmp_path) -> None:
    """Of a date that was bought again, the newest."""
    place = fill(disordered_plan(), tmp_path / "cube").place
    forget(place, [4])  # of the first step, the second date, which the fourth step mends
    index = open_index(place)
    by_time, _ = index.shares("", "s2", [32], [32], 16, time=np.array([DAYS[1], DAYS[2]], "datetime64[s]"))
    by_position, _ = index.shares("", "s2", [32], [32], 16, time=[1, 2])
    assert ((by_time == 0).tolist(), (by_position == 0).tolist()) == ([[False, False]], [[True, False]])


def test_a_date_bought_again_in_part_has_the_rest_as_it_was(tmp_path) -> None:
    """A late scene reaches few tiles; the others are not bought a second time."""
    place = fill(disordered_plan(), tmp_path / "cube").place
    forget(place, [31])  # of the fourth step, which mends the second date
    assert open_index(place).shares("", "s2", [32], [32], 16)[0].tolist() == [[1.0, 1.0, 1.0, 1.0]]
    forget(place, [4])
    assert open_index(place).shares("", "s2", [32], [32], 16)[0].tolist() == [[1.0, 0.0, 0.0, 1.0]]


def test_a_date_that_the_layer_does_not_have_is_named(cube) -> None:
    """The cure too."""
    with pytest.raises(PlanError, match=r"2020-01-01T00:00:00 is no date of .*dates\(\)"):
        open_index(cube.place).shares("", "s2", [0], [0], 32, time=np.datetime64("2020-01-01"))


def test_a_layer_is_found_in_its_zone(tmp_path) -> None:
    """A picture without dates has one column, of no date."""
    tree = fill_tree(tmp_path / "tree", **{"32632/s2": timed_plan(), "32633/flat": flat_plan()})
    index = open_index(tree)
    assert index.shares("32632", "s2", [0], [0], 32)[0].tolist() == [[1.0, 1.0, 1.0]]
    assert index.shares("32633", "flat", [0], [0], 32)[0].tolist() == [[1.0]]
    assert np.isnat(index.dates("32633", "flat")).tolist() == [True]


def test_a_layer_that_is_not_there_is_named_beside_those_that_are(cube) -> None:
    """With zone and cube."""
    with pytest.raises(WrongStore, match="no layer 's1' in zone '32633'; its layers so far: 's2' in zone ''"):
        open_index(cube.place).dates("32633", "s1")


def test_where_the_store_takes_nothing_counts_stay_in_memory(tmp_path, monkeypatch) -> None:
    """The same counts, and nothing is written."""
    cube = make_cube(tmp_path / "cube", indices=FIRST)
    monkeypatch.setattr(DiskPlace, "write", Mock(side_effect=StoreError("read-only")))
    assert_counted(cube)
    assert not (tmp_path / "cube" / KEPT).exists()


@pytest.mark.parametrize("content", [b"", b"PK\x03\x04 cut", b"nonsense"])
def test_broken_counts_are_made_anew(tmp_path, content) -> None:
    """Nothing else depends on them."""
    cube = make_cube(tmp_path / "cube", indices=FIRST)
    open_index(cube.place).dates("", "s2")
    cube.place.write(f"{KEPT}/000000.npz", content)
    assert_counted(cube)


def test_counts_by_another_meaning_of_clear_are_made_anew(tmp_path, monkeypatch) -> None:
    """Such as those of an older release."""
    cube = make_cube(tmp_path / "cube", indices=FIRST)
    with monkeypatch.context() as older:
        older.setattr("shdask.patches.choosing.index.find_clear_band", lambda _bands: None)
        open_index(cube.place).dates("", "s2")
    assert_counted(cube)


def test_a_broken_tile_is_told_with_its_cure(tmp_path) -> None:
    """Its place is named."""
    cube = make_cube(tmp_path / "cube", indices=FIRST)
    cube.place.write("SCL/c/0/0/0", b"nonsense")
    with pytest.raises(StoreError, match=r"SCL of .* at step 0, rows 0 to 32, columns 0 to 32 .*verify .* --repair"):
        open_index(cube.place).dates("", "s2")


def test_the_index_disturbs_nobody(tmp_path) -> None:
    """Readers of Zarr, verify, status and the next build find the cube as it was."""
    cube = make_cube(tmp_path / "cube", indices=FIRST)
    before = read_status(cube.place).as_dict()
    metadata = cube.place.read("zarr.json")
    open_index(cube.place).dates("", "s2")
    assert "index" not in list(zarr.open_group(Path(cube.place.name), mode="r").keys())
    assert cube.place.read("zarr.json") == metadata
    assert verify_cube(cube.place).whole
    after = read_status(cube.place).as_dict()
    assert {**after, "last_row_s": 0} == {**before, "last_row_s": 0}
    assert create_or_open(dated_plan(), cube.place).durable_tiles().sum() == 4


def test_progress_is_told_tile_by_tile(tmp_path) -> None:
    """To the last one."""
    cube = make_cube(tmp_path / "cube", indices=FIRST)
    heard: list[tuple[int, int]] = []
    open_index(cube.place, on_progress=lambda *now: heard.append(now)).dates("", "s2")
    assert heard == [(1, 4), (2, 4), (3, 4), (4, 4)]


def test_an_index_travels_as_its_store(cube) -> None:
    """To workers that read it themselves."""
    index = pickle.loads(pickle.dumps(open_index(cube.place)))  # noqa: S301  # our own
    assert index.block_px("", "s2") == 16
