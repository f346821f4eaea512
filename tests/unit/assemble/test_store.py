"""The cube on disk: creating, continuing, writing, and what is known of tiles."""

from __future__ import annotations

import json
import os
import pickle
import threading
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import zarr
from hypothesis import given, settings
from hypothesis import strategies as st

from shdask.assemble.disk import DiskPlace
from shdask.assemble.lease import Lease
from shdask.assemble.ledger import Ledger, read_ledger
from shdask.assemble.place import Place, open_place
from shdask.assemble.store import CubeStore, create_or_open, known_states, read_root_attributes
from shdask.errors import StoreError, WrongStore
from shdask.model import TileData, TileEvent, TileState
from shdask.plan.group import GroupPlan

from .conftest import TILES, Pixels

PlanMaker = Callable[..., GroupPlan]


@pytest.fixture
def cube(plan: GroupPlan, tmp_path: Path) -> CubeStore:
    return create_or_open(plan, tmp_path / "cube.zarr")


def write_all(cube: CubeStore, pixels: Pixels) -> None:
    for tile in cube.plan.tiles():
        cube.write_tile(tile, pixels.of(tile))


def files(path: Path) -> dict[str, bytes]:
    found = (file for file in path.rglob("*") if file.is_file() and ".shdask" not in file.parts)
    return {str(file.relative_to(path)): file.read_bytes() for file in found}


def empty(data: TileData) -> TileData:
    return TileData(values=data.values, data_mask=np.zeros_like(data.data_mask))


def tiles_left(cube: CubeStore) -> list[int]:
    return [index for index in TILES if not cube.durable_tiles()[index]]


# Creating


def test_a_new_cube_holds_no_pixels(cube: CubeStore):
    """Creating writes metadata, coordinates and tile states, and no shard."""
    shards = [
        name for name in files(cube.place.path) if "/c/" in name and name.split("/")[0] in {"B04", "SCL", "data_mask"}
    ]
    assert shards == []


def test_arrays_are_cut_into_shards_of_tiles(cube: CubeStore):
    """One shard is one tile, in every band and in the mask; its chunks are the ones asked for."""
    arrays = [zarr.open_array(cube.place.path, path=name, mode="r") for name in ("B04", "SCL", "data_mask")]
    assert [(array.shards, array.chunks, str(array.dtype)) for array in arrays] == [
        ((32, 32), (16, 16), "uint16"),
        ((32, 32), (16, 16), "uint8"),
        ((32, 32), (16, 16), "uint8"),
    ]


def test_an_unsharded_cube_has_chunks_only(make_small_plan: PlanMaker, tmp_path: Path):
    """With sharded = false a chunk is an object."""
    create_or_open(make_small_plan(sharded=False), tmp_path / "cube.zarr")
    array = zarr.open_array(tmp_path / "cube.zarr", path="B04", mode="r")
    assert (array.shards, array.chunks) == (None, (16, 16))


def test_the_root_says_what_built_it(plan: GroupPlan, cube: CubeStore):
    """Spec, identity, time and conventions stand in the root, and that the cube is not complete."""
    attributes = read_root_attributes(cube.place.path)
    assert attributes["complete"] is False
    assert attributes["identity"] == json.loads(json.dumps(plan.identity()))
    assert attributes["spec"] == json.loads(json.dumps(plan.describe()))
    assert attributes["time_coverage_start"] == "2024-06-01T00:00:00+00:00"
    assert attributes["time_coverage_end"] == "2024-07-01T00:00:00+00:00"
    assert attributes["proj:code"] == "EPSG:32633"
    assert attributes["spatial:transform"] == [10.0, 0.0, 500000.0, 0.0, -10.0, 5000000.0]
    assert attributes["spatial:bbox"] == [500000.0, 4999300.0, 500800.0, 5000000.0]
    assert "spatial:dimensions" not in attributes  # GDAL 3.13.3 would end with a segmentation fault


def test_a_cube_made_again_is_continued(plan: GroupPlan, cube: CubeStore):
    """Opening a cube for its own plan changes nothing on disk."""
    before = files(cube.place.path)
    create_or_open(plan, cube.place.path)
    assert files(cube.place.path) == before


def test_another_cube_is_refused_with_the_difference_named(cube: CubeStore, make_small_plan: PlanMaker):
    """A store is never continued with another plan; the message has key and both values."""
    other = make_small_plan(mosaicking_order="leastRecent")
    with pytest.raises(StoreError, match=r'mosaicking_order is "mostRecent" there and "leastRecent" in this plan'):
        create_or_open(other, cube.place.path)


def test_other_bands_are_named_in_brief(cube: CubeStore, make_small_plan: PlanMaker):
    """By name alone where the names differ."""
    other = make_small_plan(bands=("B04", "B08"))
    with pytest.raises(StoreError, match=r"another cube: layer\.bands is B04, SCL there and B04, B08 in this plan\."):
        create_or_open(other, cube.place.path)


def test_other_units_of_a_band_are_named_at_that_band(cube: CubeStore, make_small_plan: PlanMaker):
    """The rest of the bands is passed over."""
    with pytest.raises(StoreError, match=r'another cube: layer\.bands\.B04\.dtype is "uint16" there and "float32"'):
        create_or_open(make_small_plan(units="REFLECTANCE"), cube.place.path)


def test_a_file_in_the_cubes_place_is_a_wrong_argument(plan: GroupPlan, tmp_path: Path):
    """It is left as it is."""
    (tmp_path / "cube.zarr").write_text("dear")
    with pytest.raises(WrongStore, match=r"cube\.zarr.*part of that path is a file; choose another folder"):
        create_or_open(plan, tmp_path / "cube.zarr")
    assert (tmp_path / "cube.zarr").read_text() == "dear"


def test_another_layout_is_refused(cube: CubeStore, make_small_plan: PlanMaker):
    """The layout is part of a cube's identity."""
    with pytest.raises(StoreError, match=r"sharded is true there and false in this plan"):
        create_or_open(make_small_plan(sharded=False), cube.place.path)


def test_a_folder_with_other_things_is_left_alone(plan: GroupPlan, tmp_path: Path):
    """A cube is never created over what is not ours."""
    (tmp_path / "thesis.tex").write_text("dear")
    with pytest.raises(StoreError, match=r"other things in it \(thesis\.tex"):
        create_or_open(plan, tmp_path)
    assert list(files(tmp_path)) == ["thesis.tex"]


def test_a_zarr_store_of_others_is_left_alone(plan: GroupPlan, tmp_path: Path):
    """A Zarr group without our mark is not ours."""
    zarr.create_group(tmp_path / "a.zarr", attributes={"title": "somebody's"})
    before = files(tmp_path)
    with pytest.raises(StoreError, match="a Zarr store that shdask did not make"):
        create_or_open(plan, tmp_path / "a.zarr")
    assert files(tmp_path) == before


@pytest.mark.parametrize("killed_at", ["SCL", "data_mask", "tile_state", "x", "spatial_ref"])
def test_a_creation_killed_half_way_is_done_again(
    plan: GroupPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, killed_at: str
):
    """Wherever creation was cut, opening again gives the same cube as an unbroken one."""
    create = zarr.Group.create_array

    def die_at(group: zarr.Group, name: str, **options: object) -> object:
        if name == killed_at:
            raise KeyboardInterrupt
        return create(group, name, **options)

    monkeypatch.setattr(zarr.Group, "create_array", die_at)
    with pytest.raises(KeyboardInterrupt):
        create_or_open(plan, tmp_path / "cut.zarr")
    monkeypatch.undo()
    create_or_open(plan, tmp_path / "cut.zarr")
    create_or_open(plan, tmp_path / "whole.zarr")
    assert files(tmp_path / "cut.zarr") == files(tmp_path / "whole.zarr")


def test_a_creation_in_progress_is_not_disturbed(plan: GroupPlan, tmp_path: Path):
    """While one process creates, another is told so."""
    with (
        Lease.acquire(open_place(tmp_path / "cube.zarr")),
        pytest.raises(StoreError, match="is being built by process"),
    ):
        create_or_open(plan, tmp_path / "cube.zarr")


def test_a_cube_that_another_process_has_just_made_is_not_made_again(
    plan: GroupPlan, pixels: Pixels, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
):
    """Between looking and owning, another process may have created the cube and written to it."""
    acquire = Lease.acquire

    def acquire_too_late(path: Place) -> Lease:
        monkeypatch.undo()
        write_all(create_or_open(plan, path), pixels)
        return acquire(path)

    monkeypatch.setattr(Lease, "acquire", acquire_too_late)
    assert tiles_left(create_or_open(plan, tmp_path / "cube.zarr")) == []


def test_a_full_disk_is_a_store_error_with_a_cure(plan: GroupPlan, tmp_path: Path, monkeypatch: pytest.MonkeyPatch):
    """The message says what to do."""
    monkeypatch.setattr("zarr.storage._local._put", fail_with_full_disk)
    with pytest.raises(StoreError, match="the disk is full; make room"):
        create_or_open(plan, tmp_path / "cube.zarr")


def test_old_partial_files_are_swept_and_young_ones_kept(plan: GroupPlan, cube: CubeStore):
    """What a killed writer left goes; what may still be written stays."""
    old, young = (cube.place.path / "B04" / f"{name}.partial" for name in ("old", "young"))
    young.write_bytes(b"")
    old.write_bytes(b"")
    os.utime(old, (0, 0))
    create_or_open(plan, cube.place.path)
    assert (old.exists(), young.exists()) == (False, True)


# Writing


def test_what_is_written_reads_back_as_masked_pixels(cube: CubeStore, pixels: Pixels):
    """Every valid pixel of every tile, edge tiles included, is on disk; all others are fill."""
    write_all(cube, pixels)
    root = zarr.open_group(cube.place.path, mode="r")
    np.testing.assert_array_equal(root["B04"][:], np.where(pixels.mask, pixels.values[0], 0))
    np.testing.assert_array_equal(root["SCL"][:], np.where(pixels.mask, pixels.values[1], 0))
    np.testing.assert_array_equal(root["data_mask"][:], pixels.mask)


def test_an_unsharded_cube_reads_back_the_same(make_small_plan: PlanMaker, tmp_path: Path, pixels: Pixels):
    """The layout does not change a pixel."""
    cube = create_or_open(make_small_plan(sharded=False), tmp_path / "cube.zarr")
    write_all(cube, pixels)
    root = zarr.open_group(cube.place.path, mode="r")
    np.testing.assert_array_equal(root["B04"][:], np.where(pixels.mask, pixels.values[0], 0))
    np.testing.assert_array_equal(root["data_mask"][:], pixels.mask)
    assert tiles_left(cube) == []


def test_reflectance_is_stored_as_scaled_floats(make_small_plan: PlanMaker, tmp_path: Path, pixels: Pixels):
    """DN x 0.0001 where valid, NaN elsewhere; classes keep their type."""
    cube = create_or_open(make_small_plan(units="REFLECTANCE"), tmp_path / "cube.zarr")
    write_all(cube, pixels)
    root = zarr.open_group(cube.place.path, mode="r")
    expected = np.where(pixels.mask, (pixels.values[0] * np.float64(0.0001)).astype(np.float32), np.float32("nan"))
    np.testing.assert_array_equal(root["B04"][:], expected)
    assert (root["B04"].dtype, root["SCL"].dtype) == (np.float32, np.uint8)


def test_a_tile_is_durable_once_written(cube: CubeStore, pixels: Pixels):
    """Only the tile that was written counts."""
    first, second = cube.plan.tile(0), cube.plan.tile(1)
    assert cube.write_tile(first, pixels.of(first)).state is TileState.WRITTEN
    assert (cube.is_durable(first), cube.is_durable(second)) == (True, False)


@pytest.mark.parametrize("sharded", [True, False])
@pytest.mark.parametrize("writes", range(5))
def test_a_tile_cut_short_anywhere_is_not_durable(
    make_small_plan: PlanMaker,
    tmp_path: Path,
    pixels: Pixels,
    monkeypatch: pytest.MonkeyPatch,
    writes: int,
    *,
    sharded: bool,
):
    """Killed after any number of writes but the last, a tile counts as not written."""
    cube = create_or_open(make_small_plan(sharded=sharded), tmp_path / "cube.zarr")
    tile = cube.plan.tile(0)
    last = 2 + len(cube.layout.steps(tile))
    put, left = CubeStore._put, iter(range(min(writes, last - 1)))

    def write_some(*pixels: Any) -> None:
        if next(left, None) is None:
            raise KeyboardInterrupt
        put(*pixels)

    monkeypatch.setattr(CubeStore, "_put", write_some)
    with pytest.raises(KeyboardInterrupt):
        cube.write_tile(tile, pixels.of(tile))
    assert not cube.is_durable(tile)
    assert not cube.durable_tiles().any()


@pytest.mark.parametrize("sharded", [True, False])
def test_an_empty_tile_stores_nothing(make_small_plan: PlanMaker, tmp_path: Path, pixels: Pixels, *, sharded: bool):
    """A tile without a valid pixel costs no file."""
    cube = create_or_open(make_small_plan(sharded=sharded), tmp_path / "cube.zarr")
    before = files(cube.place.path)
    tile = cube.plan.tile(0)
    assert cube.write_tile(tile, empty(pixels.of(tile))).state is TileState.EMPTY
    assert files(cube.place.path) == before
    assert not cube.is_durable(tile)


@pytest.mark.parametrize("sharded", [True, False])
def test_a_tile_with_one_valid_pixel_anywhere_is_durable(
    make_small_plan: PlanMaker, tmp_path: Path, pixels: Pixels, *, sharded: bool
):
    """The commit mark is stored even where all the pixels it holds are invalid."""
    cube = create_or_open(make_small_plan(sharded=sharded), tmp_path / "cube.zarr")
    tile = cube.plan.tile(0)
    data_mask = np.zeros(tile.extent.shape, np.bool_)
    data_mask[0, 0] = True
    cube.write_tile(tile, TileData(values=pixels.of(tile).values, data_mask=data_mask))
    assert cube.is_durable(tile)


def test_a_band_of_zeros_stores_no_shard_but_the_tile_is_durable(cube: CubeStore, pixels: Pixels):
    """Valid zeros are what an absent shard reads as."""
    tile = cube.plan.tile(0)
    data = pixels.of(tile)
    values = data.values.copy()
    values[1] = 0
    cube.write_tile(tile, TileData(values=values, data_mask=data.data_mask))
    assert (cube.place.path / "B04/c/0/0").exists()
    assert not (cube.place.path / "SCL/c/0/0").exists()
    assert cube.is_durable(tile)


@pytest.mark.parametrize("sharded", [True, False])
def test_leftovers_of_a_killed_attempt_do_not_outlive_an_empty_one(
    make_small_plan: PlanMaker, tmp_path: Path, pixels: Pixels, *, sharded: bool
):
    """When the second attempt finds no data, nothing of the first stays."""
    cube = create_or_open(make_small_plan(sharded=sharded), tmp_path / "cube.zarr")
    before = files(cube.place.path)
    tile = cube.plan.tile(0)
    cube.write_tile(tile, pixels.of(tile))
    row, column = cube.layout.mark(tile)
    (cube.place.path / "data_mask" / "c" / str(row) / str(column)).unlink()
    cube.write_tile(tile, empty(pixels.of(tile)))
    assert files(cube.place.path) == before


def test_a_durable_tile_is_not_written_again(cube: CubeStore, pixels: Pixels):
    """What is committed stays as it is."""
    tile = cube.plan.tile(0)
    cube.write_tile(tile, pixels.of(tile))
    before = files(cube.place.path)
    data = pixels.of(tile)
    again = TileData(values=data.values + np.uint16(1), data_mask=~data.data_mask)
    assert cube.write_tile(tile, again).state is TileState.WRITTEN
    assert files(cube.place.path) == before


def test_a_value_that_cannot_be_stored_leaves_the_tile_uncommitted(cube: CubeStore, pixels: Pixels):
    """A class code above 255 is an error of that tile."""
    tile = cube.plan.tile(0)
    data = pixels.of(tile)
    with pytest.raises(StoreError, match="SCL is stored as uint8"):
        cube.write_tile(tile, TileData(values=data.values + np.uint16(300), data_mask=data.data_mask))
    assert not cube.is_durable(tile)


def test_a_write_that_the_disk_refuses_is_a_store_error(
    cube: CubeStore, pixels: Pixels, monkeypatch: pytest.MonkeyPatch
):
    """A full disk in mid-build says so, and the tile is not durable."""
    tile = cube.plan.tile(0)
    monkeypatch.setattr(DiskPlace, "put", fail_with_full_disk)
    with pytest.raises(StoreError, match="the disk is full"):
        cube.write_tile(tile, pixels.of(tile))
    assert not cube.is_durable(tile)


@settings(max_examples=15, deadline=None)
@given(order=st.permutations(TILES), killed_after=st.integers(0, 8))
def test_any_order_and_any_interruption_give_the_same_bytes(
    plan: GroupPlan, pixels: Pixels, tmp_path_factory: pytest.TempPathFactory, order: list[int], killed_after: int
):
    """Some tiles in some order, then a new process for the rest: the disk holds the same files, byte for byte."""
    folder = tmp_path_factory.mktemp("cubes")
    whole = create_or_open(plan, folder / "whole.zarr")
    write_all(whole, pixels)
    first = create_or_open(plan, folder / "parts.zarr")
    write_tiles(first, pixels, order[:killed_after])
    second = create_or_open(plan, folder / "parts.zarr")
    write_tiles(second, pixels, tiles_left(second))
    assert files(second.place.path) == files(whole.place.path)


def write_tiles(cube: CubeStore, pixels: Pixels, indices: list[int]) -> None:
    for index in indices:
        cube.write_tile(cube.plan.tile(index), pixels.of(cube.plan.tile(index)))


def test_threads_may_write_different_tiles_at_once(cube: CubeStore, pixels: Pixels):
    """Eight threads with one cube object write eight tiles."""
    threads = [threading.Thread(target=write_tiles, args=(cube, pixels, [index])) for index in TILES]
    list(map(threading.Thread.start, threads))
    list(map(threading.Thread.join, threads))
    np.testing.assert_array_equal(zarr.open_array(cube.place.path, path="data_mask", mode="r")[:], pixels.mask)


def test_a_pickled_cube_writes_to_the_same_place(cube: CubeStore, pixels: Pixels):
    """A cube that has been written to travels to another process and goes on there."""
    write_tiles(cube, pixels, [0])
    travelled = pickle.loads(pickle.dumps(cube))  # noqa: S301  # our own bytes
    write_tiles(travelled, pixels, [1])
    assert np.flatnonzero(cube.durable_tiles()).tolist() == [0, 1]


# What is known


def tile_state(cube: CubeStore) -> list[list[int]]:
    return zarr.open_array(cube.place.path, path="tile_state", mode="r")[:].tolist()


def test_a_new_cube_marks_tiles_untried_and_the_rest_as_outside(cube: CubeStore):
    """The tile that the area does not touch is 255."""
    assert tile_state(cube) == [[0, 0, 255], [0, 0, 0], [0, 0, 0]]


def test_states_stand_at_their_tiles(cube: CubeStore):
    """States go by tile index, row by row from the north; where there is no tile, none is written."""
    cube.write_states(np.array([1, 2, 1, 3, 0, 1, 1, 2, 3], np.uint8))
    assert tile_state(cube) == [[1, 2, 255], [3, 0, 1], [1, 2, 3]]


def test_flags_name_every_state(cube: CubeStore):
    """The numbers are explained as CF has it."""
    attributes = zarr.open_array(cube.place.path, path="tile_state", mode="r").attrs
    assert attributes["flag_values"] == [0, 1, 2, 3, 252, 253, 254, 255]
    assert (
        attributes["flag_meanings"] == "untried written empty failed not_chosen too_cloudy no_acquisition outside_area"
    )


def test_completion_stands_in_the_root_and_keeps_consolidated_metadata(cube: CubeStore):
    """Marking a cube changes two attributes and nothing else."""
    before = json.loads((cube.place.path / "zarr.json").read_text())
    cube.mark_complete(pu_spent=12.5)
    after = json.loads((cube.place.path / "zarr.json").read_text())
    before["attributes"].update(complete=True, pu_spent=12.5)
    assert after == before
    assert set(after["consolidated_metadata"]["metadata"]) == {
        "B04",
        "SCL",
        "data_mask",
        "spatial_ref",
        "tile_state",
        "x",
        "y",
    }


def test_known_states_come_from_disk_and_ledger(cube: CubeStore, pixels: Pixels):
    """Durable is written whatever the ledger says; written without its shard is untried; empty and failed stand."""
    write_tiles(cube, pixels, [0, 1])
    with Ledger.open(cube.place.path) as ledger:
        ledger.append(
            [
                TileEvent(tile=1, state=TileState.FAILED, error="TransportError: cut"),
                TileEvent(tile=3, state=TileState.WRITTEN),
                TileEvent(tile=4, state=TileState.EMPTY),
                TileEvent(tile=5, state=TileState.FAILED, error="DecodeError: short"),
            ]
        )
    with Ledger.open(cube.place.path) as ledger:
        states = known_states(cube.plan, cube, ledger)
    assert states.tolist() == [1, 1, 0, 0, 2, 3, 0, 0, 0]
    assert known_states(cube.plan, cube, read_ledger(cube.place.path)).tolist() == states.tolist()


def test_a_tile_whose_mark_was_deleted_is_untried(cube: CubeStore, pixels: Pixels):
    """Deleting a mask shard asks for its tile again."""
    write_all(cube, pixels)
    (cube.place.path / "data_mask" / "c" / "1" / "2").unlink()
    assert tiles_left(cube) == [5]


def fail_with_full_disk(*_args: object, **_options: object) -> None:
    raise OSError(28, "No space left on device")
