"""Reading tiles back."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from unittest.mock import Mock

import numpy as np
import pytest
from zarr.storage import _local

from shdask.assemble.disk import DiskPlace
from shdask.assemble.ledger import Ledger, read_ledger
from shdask.assemble.status import read_status
from shdask.assemble.store import CubeStore, create_or_open, known_states, read_root_attributes
from shdask.assemble.verify import VerifyReport, forget, verify_cube
from shdask.errors import StoreUnavailable, WrongStore
from shdask.model import TileData, TileEvent, TileState

from .conftest import TILES


@pytest.fixture(params=[True, False], ids=["sharded", "unsharded"])
def cube(request, make_small_plan, pixels, tmp_path) -> CubeStore:
    """Seven tiles written, the last one empty, all with their rows."""
    made = create_or_open(make_small_plan(sharded=request.param), tmp_path / "cube")
    with Ledger.open(made.place) as ledger:
        ledger.append([record(made, index, pixels.of(made.plan.tile(index))) for index in TILES[:7]])
        ledger.append([TileEvent(tile=8, state=TileState.EMPTY)])
    made.mark_complete(pu_spent=1.0)
    return made


def record(cube: CubeStore, index: int, data: TileData) -> TileEvent:
    stored = cube.write_tile(cube.plan.tile(index), data)
    return TileEvent(tile=index, state=stored.state, checksum=stored.checksum)


def flip(cube: CubeStore, key: str) -> None:
    """Change one bit in the middle of an object."""
    content = bytearray(cube.place.read(key) or b"")
    content[len(content) // 2] ^= 1
    cube.place.write(key, bytes(content))


def test_a_whole_cube_is_sound(cube):
    """Every tile that holds pixels reads back as it was stored."""
    report = verify_cube(cube.place)
    assert (report.tiles, report.sound, report.whole) == (8, 7, True)
    assert (report.broken, report.missing, report.unrecorded) == ({}, (), ())


@pytest.mark.parametrize("array", ["B04", "SCL", "data_mask"])
def test_a_flipped_bit_in_any_array_is_found(cube, array):
    """In the first tile."""
    flip(cube, f"{array}/c/0/0")
    assert list(verify_cube(cube.place).broken) == [0]


def test_a_cut_object_is_found(cube):
    """A shard without its end."""
    cube.place.write("B04/c/0/0", (cube.place.read("B04/c/0/0") or b"")[:40])
    assert list(verify_cube(cube.place).broken) == [0]


def test_a_lost_band_is_found(cube):
    """It would read as fill."""
    cube.place.remove("B04/c/0/0")
    assert verify_cube(cube.place).broken == {0: "it holds other pixels than were stored"}


def test_other_pixels_are_found_though_they_can_be_read(cube, pixels):
    """What was written by somebody else is not what was bought."""
    tile = cube.plan.tile(0)
    cube.arrays["B04"][tile.extent.slices] = pixels.of(tile).values[0] + 1
    assert list(verify_cube(cube.place).broken) == [0]


def test_a_lost_mark_is_a_missing_tile(cube):
    """The next build fetches it again by itself."""
    tile = cube.plan.tile(3)
    cube.place.remove("data_mask/c/{}/{}".format(*cube.layout.mark(tile)))
    report = verify_cube(cube.place)
    assert (report.missing, report.broken, report.whole) == ((3,), {}, False)


def test_a_tile_without_a_row_is_told_apart(cube, pixels):
    """It can be read; nothing tells whether it is right."""
    record(cube, 8, pixels.of(cube.plan.tile(8)))
    report = verify_cube(cube.place)
    assert (report.unrecorded, report.sound, report.whole) == ((8,), 7, True)


def test_a_tile_without_a_row_that_cannot_be_read_is_broken(cube, pixels):
    """Nobody needs a checksum for that."""
    record(cube, 8, pixels.of(cube.plan.tile(8)))
    key = "data_mask/c/{}/{}".format(*cube.layout.mark(cube.plan.tile(8)))
    cube.place.write(key, b"nonsense")
    assert list(verify_cube(cube.place).broken) == [8]


def test_forgotten_tiles_and_only_they_are_fetched_again(cube):
    """Their marks are gone, their rows say nothing more, and the cube is not complete."""
    forget(cube.place, [1, 4])
    states = known_states(cube.plan, cube, read_ledger(cube.place))
    assert states.tolist() == [1, 0, 0, 1, 0, 1, 1, 1, 2]
    assert read_root_attributes(cube.place)["complete"] is False
    assert read_status(cube.place).untried == 2


def test_a_forgotten_tile_that_is_bought_again_is_sound(cube, pixels):
    """With its new row."""
    flip(cube, "B04/c/0/0")
    forget(cube.place, list(verify_cube(cube.place).broken))
    with Ledger.open(cube.place) as ledger:
        ledger.append([record(cube, 0, pixels.of(cube.plan.tile(0)))])
    assert verify_cube(cube.place).whole


@pytest.mark.parametrize("cut", [(DiskPlace, "remove"), (Ledger, "forget")])
def test_a_forgetting_cut_short_does_not_hide_what_is_broken(cube, monkeypatch, cut):
    """Killed before marks are removed, or before their rows are forgotten, it leaves the tile to be found again."""
    flip(cube, "B04/c/0/0")
    found = verify_cube(cube.place)
    monkeypatch.setattr(*cut, Mock(side_effect=KeyboardInterrupt))
    with pytest.raises(KeyboardInterrupt):
        forget(cube.place, list(found.broken))
    assert (verify_cube(cube.place).whole, read_root_attributes(cube.place)["complete"]) == (False, False)


@pytest.mark.parametrize("index", [-1, 2, 9])
def test_what_is_no_tile_of_the_cube_is_not_forgotten(cube, index):
    """Outside the area, or outside the array; what was named beside it stays."""
    with pytest.raises(IndexError, match=f"tile {index} is none of the cube's"):
        forget(cube.place, [0, index])
    assert verify_cube(cube.place).sound == 7


def test_nothing_to_forget_changes_nothing(cube):
    """A sound cube stays complete."""
    forget(cube.place, [])
    assert read_root_attributes(cube.place)["complete"] is True


def test_a_cube_that_is_being_built_is_not_repaired(cube):
    """Only the owner may."""
    with Ledger.open(cube.place), pytest.raises(WrongStore, match="is being built by"):
        forget(cube.place, [0])


def test_progress_is_told_tile_by_tile(cube):
    """In order, in the caller's thread."""
    heard: list[tuple[int, int]] = []
    verify_cube(cube.place, on_progress=lambda done, total: heard.append((done, total)))
    assert heard == [(done, 7) for done in range(1, 8)]


@pytest.fixture
def refuse_first_shard(monkeypatch) -> Callable[[int, str], None]:
    """Lets every read of the first tile's B04 fail."""
    get = _local._get

    def refuse(code: int, text: str) -> None:
        def refusing(path: Path, *args: object) -> object:
            if path.match("B04/c/0/0"):
                raise OSError(code, text)
            return get(path, *args)

        monkeypatch.setattr(_local, "_get", refusing)

    return refuse


def test_a_disk_that_does_not_answer_breaks_no_tile(cube, refuse_first_shard):
    """A verdict needs an answer."""
    refuse_first_shard(110, "Connection timed out")
    with pytest.raises(StoreUnavailable, match="timed out"):
        verify_cube(cube.place)


def test_a_bad_sector_is_a_broken_tile(cube, refuse_first_shard):
    """Asking again would not help."""
    refuse_first_shard(5, "Input/output error")
    report = verify_cube(cube.place)
    assert list(report.broken) == [0]
    assert "Input/output error" in report.broken[0]


def test_what_is_no_cube_is_told(tmp_path):
    """With what to give instead."""
    with pytest.raises(WrongStore, match="does not exist; give the folder or bucket"):
        verify_cube(tmp_path / "nothing")


def test_the_report_names_what_is_wrong():
    """A few of many, and how many there are."""
    report = VerifyReport(
        store="/cube",
        tiles=40,
        sound=5,
        broken=dict.fromkeys(range(12), "cut"),
        missing=(20,),
        unrecorded=tuple(range(12)),
    )
    lines = str(report).splitlines()
    assert lines[0] == "/cube: 5 of 40 tiles read back as they were stored"
    assert lines[1] == "tile 0 is broken: cut"
    assert lines[11] == "... and 2 more are broken"
    assert lines[12] == "missing    tiles 20; the next build fetches them again"
    assert lines[13].startswith("no record  tiles 0, 1, 2, 3, 4, 5, 6, 7, 8, 9, ... (12 in all)")


def test_a_report_is_json(cube):
    """As `--json` prints it."""
    assert verify_cube(cube.place).as_dict()["sound"] == 7


def test_checksums_are_of_pixels_whatever_the_layout(make_small_plan, pixels, tmp_path):
    """A cube of chunks and one of shards have the same rows."""
    cubes = [create_or_open(make_small_plan(sharded=sharded), tmp_path / str(sharded)) for sharded in (True, False)]
    sums = [record(cube, index, pixels.of(cube.plan.tile(index))).checksum for cube in cubes for index in TILES]
    np.testing.assert_array_equal(sums[:8], sums[8:])
