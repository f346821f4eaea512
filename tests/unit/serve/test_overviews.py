"""Overviews of small cubes: what they hold, who can read them, and what outdates them."""

from __future__ import annotations

import shutil
from pathlib import Path

import numpy as np
import pytest
import xarray as xr
import zarr

from shdask.assemble.disk import DiskPlace
from shdask.assemble.grow import continue_timeline
from shdask.assemble.lease import Lease
from shdask.assemble.ledger import Ledger
from shdask.assemble.place import open_place
from shdask.assemble.pyramid import make_levels, tell_classes
from shdask.assemble.store import CubeStore, create_or_open, read_root_attributes
from shdask.assemble.tree import create_tree
from shdask.assemble.tree_status import read_whole_status
from shdask.assemble.verify import forget, verify_cube
from shdask.errors import CubeOwned, WrongStore
from shdask.model import TileEvent, TileState
from shdask.plan.group import GroupPlan
from shdask.serve.coarse import Scene, read_coarse
from shdask.serve.open import open_cube
from shdask.serve.overviews import Overviews, add_overviews, find_classes
from tests.unit.assemble.conftest import Pixels, small_plan

from .timed import DAYS, fill, fill_tree, flat_plan, timed_plan

SMALLEST = 20
"""So that 70 x 80 pixels have two overviews."""


@pytest.fixture(scope="module")
def plan() -> GroupPlan:
    return small_plan()


@pytest.fixture(scope="module")
def pixels(plan: GroupPlan) -> Pixels:
    return Pixels.random(plan)


@pytest.fixture(scope="module")
def built(plan: GroupPlan, pixels: Pixels, tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A cube with rows that tell checksums, and overviews."""
    path = tmp_path_factory.mktemp("overviews") / "cube.zarr"
    write(create_or_open(plan, path), pixels)
    add_overviews(path, smallest_px=SMALLEST)
    return path


@pytest.fixture
def cube(built: Path, tmp_path: Path) -> Path:
    """A copy to be changed."""
    return shutil.copytree(built, tmp_path / "cube.zarr")


def write(cube: CubeStore, pixels: Pixels) -> None:
    """Write every tile that is not there."""
    with Ledger.open(cube.place) as ledger:
        ledger.begin_run(pu_projected=1.0)
        stored = [(tile, cube.write_tile(tile, pixels.of(tile))) for tile in cube.plan.tiles()]
        rows = [TileEvent(tile=tile.index, state=one.state, checksum=one.checksum) for tile, one in stored]
        ledger.append([row for row in rows if row.checksum is not None])
        cube.write_states(np.full(cube.plan.tile_set.index_count, TileState.WRITTEN, np.uint8))
    cube.mark_complete(pu_spent=1.0)


def level(path: Path, factor: int) -> xr.Dataset:
    return xr.open_zarr(path, group=f"overviews/{factor}", consolidated=False, chunks=None)


def means(values: np.ndarray, valid: np.ndarray) -> np.ma.MaskedArray:
    """Of each two by two, rounded half up."""
    parts = [np.ma.masked_array(values, ~valid)[y::2, x::2] for y in (0, 1) for x in (0, 1)]
    return np.floor(np.ma.stack(parts).mean(axis=0) + 0.5)


# what they hold


def test_a_level_halves_until_it_is_small():
    """The last is the first whose longer side is no longer than asked."""
    assert [(one.factor, one.shape) for one in make_levels((70, 80), 20)] == [(2, (35, 40)), (4, (18, 20))]
    assert [one.factor for one in make_levels((1, 50000), 512)] == [2, 4, 8, 16, 32, 64, 128]
    assert make_levels((512, 512), 512) == ()


def test_measurements_are_averaged_over_valid_pixels(built: Path, pixels: Pixels):
    """Level by level, across the borders of tiles."""
    first = means(pixels.values[0], pixels.mask)
    found = level(built, 2)
    np.testing.assert_array_equal(found["B04"], first.filled(0))
    np.testing.assert_array_equal(found["data_mask"], ~np.ma.getmaskarray(first))


def test_the_second_level_is_made_of_the_first(built: Path):
    """Its last row of an odd number of rows has half as many below it."""
    below = level(built, 2)
    padded = below.pad(y=(0, 1), constant_values=0)
    expected = means(padded["B04"].to_numpy(), padded["data_mask"].to_numpy() == 1)
    np.testing.assert_array_equal(level(built, 4)["B04"], expected.filled(0))


def test_classes_are_never_averaged(built: Path, pixels: Pixels):
    """A code of SCL in an overview is one that stands below it."""
    scl = level(built, 2)["SCL"].to_numpy()
    below = np.stack([pixels.values[1][y::2, x::2] for y in (0, 1) for x in (0, 1)])
    valid = np.stack([pixels.mask[y::2, x::2] for y in (0, 1) for x in (0, 1)])
    stands = ((below == scl) & valid).any(axis=0)
    np.testing.assert_array_equal(stands, valid.any(axis=0))


def test_other_bands_can_be_named_as_classes_later(cube: Path, pixels: Pixels):
    """All is made again, once, and it is remembered."""
    assert [one.tiles for one in add_overviews(cube, classes=("B04",))] == [8]
    told = read_root_attributes(cube)["multiscales"]
    assert (told["classes"], told["resampling_method"]) == (["B04", "SCL"], "mode")
    assert set(level(cube, 4)["B04"].to_numpy().ravel().tolist()) <= {0, *pixels.values[0].ravel().tolist()}
    assert [one.tiles for one in add_overviews(cube)] == [0]


def test_what_was_forgotten_is_not_left_when_all_is_made_again(cube: Path):
    """Nothing stands there, and nothing is shown."""
    forget(cube, [0, 1, 3, 4])
    assert [one.tiles for one in add_overviews(cube, classes=("B04",))] == [8]
    assert not level(cube, 2)["data_mask"].to_numpy()[:32, :32].any()


def test_that_all_is_outdated_is_durable_before_it_is_said_what_are_codes(cube: Path, monkeypatch: pytest.MonkeyPatch):
    """Else a machine that stops in between would keep means of codes for good."""
    settled: list[tuple[list[str], list[str]]] = []

    def settle(_place: DiskPlace, keys: list[str]) -> None:
        settled.append((list(keys), read_root_attributes(cube)["multiscales"]["classes"]))

    monkeypatch.setattr(DiskPlace, "settle", settle)
    tell_classes(open_place(cube), read_root_attributes(cube), ("B04", "SCL"))
    assert settled == [(["overviews/made_of/c/0/0"], ["SCL"]), (["zarr.json"], ["B04", "SCL"])]


def test_days_of_composites_are_codes():
    """The mean of two days is no day on which a satellite passed."""
    attributes = {"source": "sentinel-2-l2a", "bands": ["B04", "origin_day", "SCL"]}
    assert find_classes(attributes) == ("origin_day", "SCL")


def test_coordinates_lie_where_the_pixels_do(built: Path):
    """In the middle of those they are made of."""
    fine, coarse = open_cube(built), level(built, 2)
    np.testing.assert_allclose(coarse["x"], fine["x"].to_numpy().reshape(-1, 2).mean(axis=1))
    np.testing.assert_allclose(coarse["y"], fine["y"].to_numpy().reshape(-1, 2).mean(axis=1))
    assert coarse["spatial_ref"].attrs["GeoTransform"] == "500000.0 20.0 0.0 5000000.0 0.0 -20.0"


def test_a_cube_that_is_small_enough_has_none(plan: GroupPlan, pixels: Pixels, tmp_path: Path):
    """And is left as it is."""
    write(create_or_open(plan, tmp_path / "cube.zarr"), pixels)
    before = read_root_attributes(tmp_path / "cube.zarr")
    assert add_overviews(tmp_path / "cube.zarr") == (Overviews(group="", factors=(), tiles=0, objects=0),)
    assert read_root_attributes(tmp_path / "cube.zarr") == before


# the convention


def test_the_root_tells_of_them_by_the_convention(built: Path):
    """Its identity, and a layout in which every asset is there and derives from the one before."""
    attributes = read_root_attributes(built)
    ours = [each for each in attributes["zarr_conventions"] if each["name"] == "multiscales"]
    layout = attributes["multiscales"]["layout"]
    assert [each["uuid"] for each in ours] == ["d35379db-88df-4056-af3a-620245f8e347"]
    assert [each["asset"] for each in layout] == ["B04", "overviews/2", "overviews/4"]
    assert [each.get("derived_from") for each in layout] == [None, "B04", "overviews/2"]
    assert [each["transform"]["scale"] for each in layout] == [[1.0, 1.0], [2.0, 2.0], [2.0, 2.0]]
    assert [each["spatial:transform"][0] for each in layout] == [10.0, 20.0, 40.0]
    assert not any("spatial:shape" in each for each in layout)  # GDAL 3.13 would pass over them


def test_consolidated_metadata_holds_them(built: Path):
    """Whoever opens the root finds all."""
    members = zarr.open_consolidated(built, zarr_format=3)["overviews/2"]
    assert {"B04", "SCL", "data_mask", "x", "y", "spatial_ref"} == set(members.array_keys())


def test_the_cube_stays_what_it_was(built: Path, plan: GroupPlan, pixels: Pixels):
    """It opens, continues, verifies and tells its status as before."""
    assert list(open_cube(built).data_vars) == ["B04", "SCL", "data_mask"]
    np.testing.assert_array_equal(open_cube(built)["B04"], np.where(pixels.mask, pixels.values[0], 0))
    assert create_or_open(plan, built).durable_tiles().sum() == 8
    assert verify_cube(built).sound == 8
    assert read_whole_status(built).whole.complete


# what outdates them


def test_made_again_nothing_is_done(cube: Path):
    """Nothing has changed."""
    assert [one.tiles for one in add_overviews(cube)] == [0]


def test_a_tile_that_changed_outdates_what_lies_above_it(cube: Path, plan: GroupPlan, pixels: Pixels):
    """And only that is made again; the overviews are then as if made anew."""
    forget(cube, [4])
    other = Pixels(values=pixels.values + np.uint16(1), mask=pixels.mask)
    write(create_or_open(plan, cube), other)
    (made,) = add_overviews(cube)
    values = pixels.values[0].copy()
    values[32:64, 32:64] += 1
    assert (made.tiles, made.objects) == (1, 2)
    np.testing.assert_array_equal(level(cube, 2)["B04"], means(values, pixels.mask).filled(0))


def test_status_tells_of_outdated_ones(cube: Path):
    """And what brings them up to date; a cube without overviews is left in peace."""
    assert read_whole_status(cube).whole.command is None
    zarr.open_array(cube / "overviews" / "made_of", mode="r+")[0, :2] = 1  # what another version of these tiles left
    told = read_whole_status(cube).whole
    assert told.next == "bring its overviews up to date: 2 tiles are newer than they"
    assert told.command == f"shdask overviews {cube}"


def test_a_tile_that_is_gone_is_gone_from_them(cube: Path):
    """Where nothing stands, overviews show nothing."""
    forget(cube, [4])
    assert [one.tiles for one in add_overviews(cube)] == [1]
    assert not level(cube, 2)["data_mask"].to_numpy()[16:32, 16:32].any()


def test_overviews_that_were_deleted_are_made_anew(cube: Path):
    """Until then pictures are made of all pixels."""
    shutil.rmtree(cube / "overviews")
    assert Scene.of_store(cube, layer=None, zone=None, time=None).coarser(2).sizes["x"] == 80
    assert [one.tiles for one in add_overviews(cube, smallest_px=SMALLEST)] == [8]
    assert level(cube, 4)["data_mask"].to_numpy().any()


def test_an_overview_that_is_outdated_is_not_read(cube: Path):
    """A picture is then made of all pixels."""
    scene = Scene.of_store(cube, layer=None, zone=None, time=None)
    assert scene.coarser(2).sizes["x"] == 40
    forget(cube, [4])
    assert scene.coarser(2).sizes["x"] == 80


def test_the_coarsest_that_is_fine_enough_is_read(cube: Path):
    """Never one with fewer pixels than the picture."""
    scene = Scene.of_store(cube, layer=None, zone=None, time=None)
    assert [scene.coarser(step).sizes["x"] for step in (1, 2, 3, 4, 9)] == [80, 40, 40, 20, 20]


def test_a_picture_is_the_same_with_and_without_them(cube: Path, pixels: Pixels):
    """But for rounding, where all of four pixels are valid."""
    scene = Scene.of_store(cube, layer=None, zone=None, time=None)
    with_them = read_coarse(scene, ["B04"], 40)
    forget(cube, [1])
    without = read_coarse(scene, ["B04"], 40)
    whole = pixels.mask[::2, ::2] & pixels.mask[1::2, ::2] & pixels.mask[::2, 1::2] & pixels.mask[1::2, 1::2]
    whole[:, 16:32] = False
    np.testing.assert_allclose(with_them.values[0][whole], without.values[0][whole], atol=0.5)


# dates and groups


def test_dates_are_halved_by_themselves(tmp_path: Path):
    """A step of an overview is made of that step of the cube; what is known of dates goes with it."""
    path = fill(timed_plan(), tmp_path / "cube.zarr").place.path
    add_overviews(path, smallest_px=SMALLEST)
    coarse = level(path, 4)
    assert coarse["B04"].max(("y", "x")).to_numpy().tolist() == [1, 2, 3]
    np.testing.assert_array_equal(coarse["time"], np.array(DAYS, "datetime64[s]"))
    assert coarse["scene_ids"].to_numpy().tolist() == ["S2A_0", "S2A_1", "S2A_2"]


def test_they_grow_with_the_time_axis(tmp_path: Path):
    """New dates hold nothing in them until they are asked for again."""
    path = fill(timed_plan(*DAYS[:2]), tmp_path / "cube.zarr").place.path
    add_overviews(path, smallest_px=SMALLEST)
    grown, _ = continue_timeline(create_or_open(timed_plan(), path))
    assert level(path, 2)["data_mask"].to_numpy().any(axis=(1, 2)).tolist() == [True, True, False]
    fill(grown.plan, path)
    assert [one.tiles for one in add_overviews(path)] == [8]
    assert level(path, 2)["B04"].max(("y", "x")).to_numpy().tolist() == [1, 2, 3]
    assert zarr.open_consolidated(path, zarr_format=3)["overviews/4/B04"].shape == (3, 18, 20)


def test_every_group_of_a_tree_gets_its_own(tmp_path: Path):
    """Or the one that is named; the tree's metadata tells of all."""
    path = fill_tree(tmp_path / "cube.zarr", s2=timed_plan(), flat=flat_plan())
    assert [one.group for one in add_overviews(path, layer="flat", smallest_px=SMALLEST)] == ["flat"]
    assert [(one.group, one.tiles) for one in add_overviews(path, smallest_px=SMALLEST)] == [("s2", 24), ("flat", 0)]
    assert zarr.open_consolidated(path, zarr_format=3)["s2/overviews/2/B04"].shape == (3, 35, 40)


def test_classes_of_one_group_do_not_outdate_another(built: Path, tmp_path: Path):
    """Which has no such band."""
    path = tmp_path / "cube.zarr"
    create_tree(open_place(path), ("s2", "radar"))
    shutil.copytree(built, path / "s2")
    create_or_open(small_plan(collection="sentinel-1-grd", bands=("VV",)), path / "radar")
    add_overviews(path, classes=("B04",), smallest_px=SMALLEST)
    assert [(one.group, one.tiles) for one in add_overviews(path, classes=("B04",))] == [("s2", 0), ("radar", 0)]
    assert read_root_attributes(path / "radar")["multiscales"]["classes"] == []


def test_status_tells_of_outdated_ones_in_every_group(built: Path, tmp_path: Path):
    """Whichever of them was built last."""
    path = tmp_path / "cube.zarr"
    create_tree(open_place(path), ("a", "b"))
    shutil.copytree(built, path / "a")
    shutil.copytree(built, path / "b")
    assert read_whole_status(path).whole.command is None
    zarr.open_array(path / "a" / "overviews" / "made_of", mode="r+")[0, :2] = 7
    zarr.open_array(path / "b" / "overviews" / "made_of", mode="r+")[0, :1] = 7
    assert read_whole_status(path).whole.next == "bring its overviews up to date: 3 tiles are newer than they"


def test_chunks_without_shards_are_halved_too(pixels: Pixels, tmp_path: Path):
    """Chunk by chunk."""
    cube = create_or_open(small_plan(sharded=False), tmp_path / "cube.zarr")
    write(cube, pixels)
    add_overviews(cube.place.path, smallest_px=SMALLEST)
    np.testing.assert_array_equal(level(cube.place.path, 2)["B04"], means(pixels.values[0], pixels.mask).filled(0))


# refusals


def test_a_cube_that_is_being_built_is_left_alone(cube: Path):
    """Its owner is named."""
    with Lease.acquire(open_place(cube)), pytest.raises(CubeOwned, match="is being built by process"):
        add_overviews(cube)


def test_classes_that_are_no_bands_are_refused(cube: Path):
    """With those there are."""
    with pytest.raises(WrongStore, match="has no band 'LC'; it has B04, SCL"):
        add_overviews(cube, classes=("LC",))
