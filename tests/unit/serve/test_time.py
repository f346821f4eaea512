"""Cubes with a time axis, and of several groups, opened from a store."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import xarray as xr

from shdask.errors import StoreError
from shdask.serve.open import open_cube, open_cube_tree
from tests.unit.assemble.conftest import small_plan

from .timed import DAYS, disordered_plan, fill, fill_tree, flat_plan, timed_plan  # tests are no installed package


@pytest.fixture(scope="module")
def grown(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A store whose steps are not in the order of time."""
    return fill(disordered_plan(), tmp_path_factory.mktemp("time") / "cube.zarr").place.path


@pytest.fixture(scope="module")
def tree(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Two layers in each of two zones, one of them with a time axis."""
    s2, flat = timed_plan(), flat_plan()
    groups = {"32632/s2": s2, "32632/flat": flat, "32633/s2": s2, "32633/flat": flat}
    return fill_tree(tmp_path_factory.mktemp("tree") / "cube.zarr", **groups)


def values(cube: xr.Dataset) -> list[int]:
    """The number that each step of the cube was filled with."""
    return cube["B04"].max(("y", "x")).to_numpy().tolist()


def test_time_ascends_whatever_the_order_in_the_store(grown: Path):
    """Later dates are appended on disk; a date that was bought again follows the one it mends."""
    cube = open_cube(grown)
    expected = np.array([DAYS[0], DAYS[1], DAYS[1], DAYS[2]], "datetime64[s]")
    np.testing.assert_array_equal(cube["time"], expected)
    assert cube["revision"].to_numpy().tolist() == [0, 0, 1, 0]


def test_pixels_and_coordinates_follow_their_date(grown: Path):
    """Sorting moves whole dates."""
    cube = open_cube(grown)
    assert values(cube) == [3, 1, 4, 2]
    assert cube["scene_ids"].to_numpy().tolist() == ["S2A_0", "S2A_1", "S2A_1", "S2A_2"]
    np.testing.assert_allclose(cube["cloud_cover"], [0.0, 0.1, 0.1, 0.2])
    assert cube["B04"].coords["platform"].to_numpy().tolist() == ["sentinel-2a"] * 4


def test_what_is_known_of_dates_is_in_memory_and_pixels_are_not(grown: Path):
    """Blocks are tiles of one date; coordinates are small."""
    cube = open_cube(grown)
    assert cube["B04"].chunks == ((1, 1, 1, 1), (32, 32, 6), (32, 32, 16))
    assert [name for name in cube.coords if cube[name].chunks is not None] == []


@pytest.mark.parametrize(
    ("time", "kept"),
    [
        (("2024-06-02", "2024-06-05"), [3, 1, 4]),
        (("2024-06-05", "2024-06-05"), [1, 4]),
        (("2024-06-09", "2024-06-09"), [2]),
        ((np.datetime64("2024-06-03"), np.datetime64("2030-01-01")), [1, 4, 2]),
    ],
)
def test_time_keeps_the_days_from_first_to_last(grown: Path, time: tuple[str, str], kept: list[int]):
    """Both included: a scene at midnight belongs to the day that begins, one a second before to the day that ends."""
    assert values(open_cube(grown, time=time)) == kept


def test_a_part_in_time_and_space_is_cut_where_tiles_end(grown: Path):
    """As the whole, sliced."""
    part = open_cube(grown, time=("2024-06-05", "2024-06-09"), bbox=(500095, 4999405, 500405, 4999905))
    assert part["B04"].chunks == ((1, 1, 1), (23, 28), (23, 9))
    xr.testing.assert_equal(part, open_cube(grown).isel(time=slice(1, 4), y=slice(9, 60), x=slice(9, 41)))


def test_a_time_without_a_date_is_an_error_that_says_what_there_is(grown: Path):
    """Not an empty cube."""
    with pytest.raises(StoreError, match=r"the cube has 4 from 2024-06-02 to 2024-06-09"):
        open_cube(grown, time=("2025-01-01", "2025-12-31"))


def test_a_time_that_is_none_is_refused(grown: Path):
    """With how it is written."""
    with pytest.raises(StoreError, match=r"is not \(first day, last day\), such as"):
        open_cube(grown, time=("spring", "summer"))


def test_one_picture_has_no_time(tmp_path: Path):
    """To ask for days of a mosaic is a mistake."""
    fill(small_plan(), tmp_path / "cube.zarr")
    with pytest.raises(StoreError, match="one picture and has no time axis"):
        open_cube(tmp_path / "cube.zarr", time=("2024-06-01", "2024-06-30"))


def test_masked_dates_are_nan_outside_the_area(grown: Path):
    """Each by its own mask."""
    cube = open_cube(grown, masked=True)
    np.testing.assert_array_equal(np.isnan(cube["B04"]), cube["data_mask"] == 0)
    assert bool(cube["data_mask"].any(("y", "x")).all())


# several groups


@pytest.mark.parametrize(("layer", "dims"), [("s2", ("time", "y", "x")), ("flat", ("y", "x"))])
@pytest.mark.parametrize("zone", ["32632", 32633])
def test_a_group_is_picked_by_layer_and_zone(tree: Path, layer: str, zone: str | int, dims: tuple[str, ...]):
    """The zone as a text or a number, each group with the axes it has."""
    assert open_cube(tree, layer=layer, zone=zone)["B04"].dims == dims


def test_several_that_fit_are_named(tree: Path):
    """Ambiguous is an error with the cure."""
    with pytest.raises(StoreError, match=r"several groups that fit: 32632/s2, .*; name one by layer= and zone="):
        open_cube(tree)


def test_another_zone_is_an_error_that_names_those_there(tree: Path):
    """As for layers."""
    with pytest.raises(StoreError, match="has no zone 32634; its zones are 32632, 32633"):
        open_cube(tree, zone=32634)


def test_a_cube_without_zones_says_so(grown: Path):
    """There is nothing to choose from."""
    with pytest.raises(StoreError, match="has no zone '32633'; its zones are none"):
        open_cube(grown, zone="32633")


def test_coarse_looks_are_not_in_the_way(tmp_path: Path):
    """The one layer is opened; the look at it by its whole path."""
    groups = {"s2": timed_plan(), "scout/s2": small_plan()}
    path = fill_tree(tmp_path / "cube.zarr", **groups)
    assert open_cube(path)["B04"].dims == ("time", "y", "x")
    assert open_cube(path, layer="scout/s2")["B04"].dims == ("y", "x")


def test_a_tree_holds_every_group_at_its_path(tree: Path):
    """Each as open_cube gives it; time cuts those that have one."""
    opened = open_cube_tree(tree, time=("2024-06-02", "2024-06-02"))
    assert opened["32633/s2/B04"].sizes == {"time": 1, "y": 70, "x": 80}
    xr.testing.assert_equal(opened["32632/flat"].to_dataset(), open_cube(tree, layer="32632/flat"))


def test_a_tree_of_one_group_is_its_root(grown: Path):
    """No invented names."""
    xr.testing.assert_identical(open_cube_tree(grown).to_dataset(), open_cube(grown))


def test_what_buys_nothing_takes_no_cap(grown: Path, tmp_path: Path):
    """A cap or a second store is for jobs."""
    with pytest.raises(StoreError, match="no job but a store, from which nothing is bought"):
        open_cube(grown, max_pu=5)
    with pytest.raises(StoreError, match="no job but a store, from which nothing is bought"):
        open_cube(grown, store=tmp_path / "other.zarr")
