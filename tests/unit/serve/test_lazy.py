"""A plan opened as a Dataset: what Dask is given, and which tiles it asks for."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass, field

import cloudpickle
import dask
import numpy as np
import pytest
import xarray as xr

from shdask.demand.tiles import OPEN, Pixels, TilesOnDemand
from shdask.errors import BuildError
from shdask.model import Tile
from shdask.plan.group import GroupPlan
from shdask.serve.lazy import open_lazy
from tests.unit.assemble.conftest import TILES, small_plan

from .timed import disordered_plan, fill


@dataclass
class Numbers:
    """Tiles filled with their own number, and a mask that is 1."""

    plan: GroupPlan
    asked: Counter[int] = field(default_factory=Counter)

    def get(self, tile: Tile) -> Pixels | None:
        """As `TileSource.get`."""
        self.asked[tile.index] += 1
        bands = [np.full(tile.extent.shape, tile.index, band.dtype) for band in self.plan.layer.bands]
        return (*bands, np.ones(tile.extent.shape, np.uint8))


@dataclass
class Opened:
    """A Dataset, and the source behind it. Nothing is kept, so that each touch is counted."""

    cube: xr.Dataset
    source: Numbers
    tiles: TilesOnDemand


def opened(plan: GroupPlan, **options) -> Opened:
    source = Numbers(plan)
    tiles = TilesOnDemand(plan, source, cache_nbytes=0)
    OPEN.add(tiles)
    options = {"masked": False, "bbox": None, "time": None, **options}
    return Opened(cube=open_lazy(plan, tiles.token, tiles, **options), source=source, tiles=tiles)


@pytest.fixture(autouse=True)
def _on_threads():
    with dask.config.set(scheduler="threads"):
        yield


def test_nothing_is_asked_for_at_opening():
    """Nor for its shape, its repr, and arithmetic that is not computed."""
    plan = opened(small_plan())
    ndvi = plan.cube["B04"] / plan.cube["SCL"]
    assert (ndvi.shape, len(repr(plan.cube)) > 100) == ((70, 80), True)
    assert plan.source.asked == {}


def test_all_bands_of_a_tile_are_one_touch():
    """Whatever is made of them in one computation."""
    plan = opened(small_plan())
    corner = plan.cube.isel(y=slice(0, 32), x=slice(0, 32))
    dask.compute(corner["B04"] + corner["SCL"], corner["data_mask"].sum(), corner)
    assert plan.source.asked == {0: 1}


def test_a_region_touches_exactly_its_tiles():
    """One pixel of a tile is a touch; a neighbour is none."""
    plan = opened(small_plan())
    plan.cube["B04"].isel(y=slice(31, 33), x=slice(31, 33)).compute()
    assert plan.source.asked == {0: 1, 1: 1, 3: 1, 4: 1}


def test_tiles_without_a_pixel_of_the_area_are_fill():
    """Of nine the north-eastern is none; what is read is the tile it lies in."""
    plan = opened(small_plan())
    b04 = plan.cube["B04"].compute()
    assert plan.source.asked == dict.fromkeys(TILES, 1)
    assert not b04[:32, 64:].any()
    assert [int(b04[y, x]) for y, x in [(0, 0), (0, 40), (40, 70), (69, 79)]] == [0, 1, 5, 8]


def test_a_bbox_cuts_tiles_and_keeps_pixels_in_place():
    """As the whole, sliced."""
    bbox = (500095, 4999405, 500405, 4999905)
    part, whole = opened(small_plan(), bbox=bbox), opened(small_plan())
    xr.testing.assert_equal(part.cube.compute(), whole.cube.isel(y=slice(9, 60), x=slice(9, 41)).compute())
    assert part.source.asked == {0: 1, 1: 1, 3: 1, 4: 1}


def test_dates_are_sorted_and_tiles_found_where_the_store_has_them():
    """The step of a tile is that of the timeline, not of what is shown."""
    plan = opened(disordered_plan())
    first = plan.cube["B04"].isel(y=0, x=0).compute()
    assert first.to_numpy().tolist() == [18, 0, 27, 9]
    assert plan.source.asked == {18: 1, 0: 1, 27: 1, 9: 1}


def test_a_part_in_time_touches_only_its_dates():
    """Both days included."""
    plan = opened(disordered_plan(), time=("2024-06-05", "2024-06-05"))
    assert plan.cube["B04"].isel(y=0, x=0).compute().to_numpy().tolist() == [0, 27]


@pytest.mark.parametrize("make", [small_plan, disordered_plan])
def test_it_looks_like_the_cube_that_would_be_built(make, tmp_path):
    """Coordinates, dimensions, types, blocks and attributes, but for those that tell of a build."""
    from shdask.serve.open import open_cube

    lazy = opened(make()).cube
    built = open_cube(fill(make(), tmp_path / "cube.zarr").place.path)
    for cube in (lazy, built):
        cube.attrs = {}
    xr.testing.assert_identical(lazy.drop_vars(lazy.data_vars), built.drop_vars(built.data_vars))
    assert [list(lazy), lazy.chunks, lazy.dtypes] == [list(built), built.chunks, built.dtypes]
    assert {name: lazy[name].attrs for name in lazy} == {name: built[name].attrs for name in built}
    assert lazy.rio.crs == built.rio.crs


def test_blocks_may_be_written_to():
    """They are copies of what is kept: a function that works in place disturbs no other."""

    def blacken(block: np.ndarray) -> np.ndarray:
        block[...] = 77
        return block

    source = Numbers(small_plan())
    tiles = TilesOnDemand(source.plan, source)
    OPEN.add(tiles)
    cube = open_lazy(source.plan, tiles.token, tiles, masked=False, bbox=None, time=None)
    block = cube["B04"].data.blocks[1, 1]
    assert int(block.map_blocks(blacken, dtype=block.dtype).compute().min()) == 77
    assert int(block.compute().max()) == 4


def test_the_graph_is_small_and_holds_neither_plan_nor_source():
    """A token, a few numbers, and how blocks are combined."""
    plan = opened(small_plan())
    names = (b"GroupPlan", b"Deployment", b"TilesOnDemand", b"Numbers")
    pickled = cloudpickle.dumps(plan.cube["B04"].data.dask)
    assert len(pickled) < 10_000
    assert [name for name in names if name in pickled] == []


def test_a_graph_finds_its_layer_after_a_journey():
    """In the process that opened it, by its token."""
    plan = opened(small_plan())
    back = cloudpickle.loads(cloudpickle.dumps(plan.cube["B04"].data))
    assert int(back[40, 40].compute()) == 4


def test_a_dataset_keeps_what_is_behind_it_alive_and_nothing_else_does():
    """The Dataset is all that a user holds; a graph alone, sent elsewhere, holds nothing."""
    plan = opened(small_plan())
    cube, token = plan.cube, plan.tiles.token
    sent = cloudpickle.dumps(cube["B04"].data)
    del plan
    assert int(cube["B04"][40, 40].compute()) == 4
    del cube
    with pytest.raises(BuildError, match="carried to where it was not opened for"):
        cloudpickle.loads(sent).compute()
    with pytest.raises(BuildError):
        OPEN.find(token)
