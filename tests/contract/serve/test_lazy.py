"""Cubes that are not built: what is touched is fetched, once, for its price, and equals what a build brings."""

from __future__ import annotations

import pickle
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path
from typing import Any

import cloudpickle
import numpy as np
import pytest
import xarray as xr

import shdask
from shdask import open_cube, open_cube_tree
from shdask.assemble.lease import Lease
from shdask.assemble.ledger import read_ledger
from shdask.assemble.place import open_place
from shdask.demand.stored import OWNERS
from shdask.emulator.launch import EmulatorProcess
from shdask.errors import AuthError, BudgetExceeded, BuildError, PlanError, WrongStore

Make = Callable[..., shdask.CubeSpec]
Count = Callable[[], int]
TILE_PU = 4 / 3 * 128 * 128 / 512**2
"""Four bands of a whole tile, by the published formula, above its minimum of 0.005."""


def corner(cube: xr.Dataset) -> xr.Dataset:
    """The first tile."""
    return cube.isel(y=slice(0, 128), x=slice(0, 128))


def let_go(store: Path) -> None:
    """End this process's ownership of a store now, rather than in two seconds."""
    for owner in [owner for name, owner in OWNERS._all.items() if name.startswith(str(store))]:
        owner.end()


# how many requests


def test_opening_sends_nothing(service: EmulatorProcess, make_spec: Make):
    """Not even for a token: a mosaic needs nothing but its plan."""
    open_cube(make_spec(), max_pu=10)
    assert service.stats()["calls"] == {}


def test_opening_a_layer_with_a_cadence_searches_the_catalogue(service: EmulatorProcess, make_spec: Make, count: Count):
    """That is all."""
    cube = open_cube(make_spec(cadence="acquisition"))
    assert cube.sizes["time"] > 3
    assert [call.split()[1] for call in service.stats()["calls"]] == [
        "/auth/realms/main/protocol/openid-connect/token",
        "/api/v1/catalog/1.0.0/search",
    ]


def test_an_index_of_two_bands_is_one_request_a_tile(make_spec: Make, count: Count):
    """Whatever is computed of one tile comes with one request."""
    cube = corner(open_cube(make_spec(), masked=True))
    ((cube["B08"] - cube["B04"]) / (cube["B08"] + cube["B04"])).compute()
    assert count() == 1


def test_all_bands_of_a_tile_are_one_request(make_spec: Make, count: Count):
    """And the mask with them."""
    corner(open_cube(make_spec())).compute()
    assert count() == 1


def test_a_region_is_a_request_for_each_of_its_tiles(make_spec: Make, count: Count):
    """Two by two."""
    open_cube(make_spec())["B04"].isel(y=slice(100, 140), x=slice(100, 140)).compute()
    assert count() == 4


def test_the_same_touch_again_is_free(make_spec: Make, count: Count):
    """What was touched last is kept in memory."""
    cube = open_cube(make_spec())
    [corner(cube)[name].compute() for name in ("B04", "B08", "B04")]
    assert count() == 1


def test_one_date_is_a_request_whatever_a_build_would_buy_together(make_spec: Make, count: Count):
    """Exactly the tiles that are touched: dates are not brought in bundles."""
    cube = corner(open_cube(make_spec(cadence="acquisition")))
    cube.isel(time=[0, 2]).compute()
    assert count() == 2


# a store


def test_with_a_store_a_second_touch_is_free(make_spec: Make, count: Count, tmp_path: Path):
    """Also from another opening, and from the store itself."""
    first = corner(open_cube(make_spec(), store=tmp_path / "cube.zarr")).compute()
    second = corner(open_cube(make_spec(), store=tmp_path / "cube.zarr")).compute()
    let_go(tmp_path)
    with pytest.warns(UserWarning, match="is not complete"):
        stored = corner(open_cube(tmp_path / "cube.zarr")).compute()
    assert count() == 1
    xr.testing.assert_equal(first, second)
    xr.testing.assert_equal(first, stored)


def test_a_build_goes_on_from_what_was_touched(make_spec: Make, count: Count, tmp_path: Path):
    """Nothing is bought twice, and the ledger has it all."""
    corner(open_cube(make_spec(), store=tmp_path / "cube.zarr")).compute()
    let_go(tmp_path)
    report = shdask.build_cube(make_spec(), tmp_path / "cube.zarr", executor=shdask.SerialExecutor())
    assert (report.skipped, report.written, count()) == (1, 3, 4)
    assert read_ledger(tmp_path / "cube.zarr").pu_spent == pytest.approx(shdask.make_plan(make_spec()).cost.pu)
    assert open_cube(tmp_path / "cube.zarr").attrs["complete"]


def test_what_was_built_is_not_touched_again(make_spec: Make, count: Count, tmp_path: Path):
    """A job opened over its finished cube is that cube."""
    spec = make_spec(cadence="acquisition")
    shdask.build_cube(spec, tmp_path / "cube.zarr", executor=shdask.SerialExecutor())
    before = count()
    lazy = open_cube(spec, store=tmp_path / "cube.zarr").compute()
    xr.testing.assert_equal(lazy, open_cube(tmp_path / "cube.zarr").compute())
    assert count() == before


def test_a_store_that_somebody_builds_is_not_written(make_spec: Make, count: Count, tmp_path: Path):
    """One owner: the touch says who, and sends nothing."""
    cube = open_cube(make_spec(), store=tmp_path / "cube.zarr")
    lease = Lease.acquire(open_place(tmp_path / "cube.zarr"))
    with pytest.raises(WrongStore, match="is being built by process"):
        corner(cube).compute()
    lease.release()
    assert count() == 0
    assert corner(cube)["data_mask"].compute().any()


def test_empty_tiles_are_remembered(make_spec: Make, count: Count, tmp_path: Path):
    """Nothing is stored of them but a row."""
    spec = make_spec(max_cloud_cover=0.0, time=("2024-06-03", "2024-06-03"))
    first = corner(open_cube(spec, store=tmp_path / "cube.zarr")).compute()
    again = corner(open_cube(spec, store=tmp_path / "cube.zarr")).compute()
    let_go(tmp_path)
    later = corner(open_cube(spec, store=tmp_path / "cube.zarr")).compute()
    assert [int(cube["data_mask"].sum()) for cube in (first, again, later)] == [0, 0, 0]
    assert count() == 1


def test_a_process_that_ends_leaves_a_tidy_store(service: EmulatorProcess, make_spec: Make, tmp_path: Path):
    """At once after a touch: the lease is given back, and the tile's state stands in the cube."""
    spec, store = tmp_path / "spec.json", tmp_path / "cube.zarr"
    spec.write_text(make_spec().model_dump_json())
    code = f"""
import shdask
spec = shdask.CubeSpec.model_validate_json(open({str(spec)!r}).read())
shdask.open_cube(spec, store={str(store)!r})["B04"][:1, :1].compute()
"""
    run = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True)
    assert run.stderr == ""
    assert xr.open_zarr(store)["tile_state"].to_numpy().tolist() == [[1, 0], [0, 0]]
    Lease.acquire(open_place(store)).release()
    assert not read_ledger(store).in_flight


# pixels


@pytest.mark.parametrize(
    "layer",
    [{}, {"units": "REFLECTANCE", "resampling": "bilinear"}, {"cadence": "acquisition"}],
    ids=["DN", "two parts", "time"],
)
def test_what_is_touched_equals_what_is_built(make_spec: Make, tmp_path: Path, layer: dict[str, Any]):
    """Bit for bit, whole and in part, with and without a store, outside the area too."""
    spec = make_spec(**layer)
    shdask.build_cube(spec, tmp_path / "built.zarr", executor=shdask.SerialExecutor())
    built = open_cube(tmp_path / "built.zarr").compute()
    assert 0 < float(built["data_mask"].mean()) < 1
    xr.testing.assert_equal(open_cube(spec).compute(), built)
    xr.testing.assert_equal(open_cube(spec, store=tmp_path / "lazy.zarr").compute(), built)
    bbox = (500500, 5100500, 504000, 5104000)
    part = open_cube(spec, bbox=bbox, masked=True).compute()
    xr.testing.assert_equal(part, open_cube(tmp_path / "built.zarr", bbox=bbox, masked=True).compute())


# money and failures


def test_the_cap_is_never_passed(service: EmulatorProcess, make_spec: Make, count: Count):
    """The touch that would is refused before it is sent, with its price; what was bought is still there."""
    cube = open_cube(make_spec(), max_pu=1.5 * TILE_PU)
    corner(cube).compute()
    with pytest.raises(BudgetExceeded, match=r"tile 1 of s2 \(row 0, column 1\) costs 0\.\d+ PU, .* nothing was sent"):
        cube["B04"].isel(y=0, x=200).compute()
    assert count() == 1
    assert corner(cube)["B08"].compute().any()
    assert service.stats()["pu_charged"] < 1.5 * TILE_PU


def test_the_cap_is_the_jobs_where_none_is_given(make_spec: Make):
    """As for a build."""
    spec = make_spec().model_copy(update={"service": make_spec().service.model_copy(update={"max_pu": 0.001})})
    with pytest.raises(BudgetExceeded, match=r"max_pu 0\.001"):
        corner(open_cube(spec)).compute()


def test_layers_of_a_tree_share_one_cap(make_spec: Make, count: Count):
    """Opened together, spent together."""
    layer = {"collection": "sentinel-2-l2a", "bands": ["B02", "B04", "B08", "B03"]}
    tree = open_cube_tree(make_spec(layers={"s2": layer, "twin": layer}), max_pu=1.5 * TILE_PU)
    corner(tree["s2"].to_dataset()).compute()
    with pytest.raises(BudgetExceeded, match="of twin"):
        corner(tree["twin"].to_dataset()).compute()
    assert count() == 1


@pytest.mark.parametrize("stored", [False, True])
def test_a_tile_that_fails_raises_its_name_and_can_be_touched_again(
    service: EmulatorProcess, make_spec: Make, tmp_path: Path, *, stored: bool
):
    """With and without a store, nothing is made up."""
    cube = open_cube(make_spec(), store=tmp_path / "cube.zarr" if stored else None)
    service.set_faults([{"kind": "garbled"}])
    with pytest.raises(BuildError, match=r"tile 0 of s2 \(row 0, column 0\) could not be fetched: DecodeError"):
        corner(cube).compute()
    service.clear_faults()
    assert corner(cube)["data_mask"].compute().any()


def test_refused_credentials_raise_in_the_touch(make_spec: Make, monkeypatch: pytest.MonkeyPatch):
    """A mosaic can be looked at without any."""
    cube = open_cube(make_spec())
    monkeypatch.setenv("SH_CLIENT_SECRET", "wrong")
    with pytest.raises(AuthError):
        corner(cube).compute()


def test_the_graph_holds_no_secret(service: EmulatorProcess, make_spec: Make):
    """Before and after a touch: a token of ours, of no use to anyone else."""
    cube = open_cube(make_spec(), masked=True)
    corner(cube).compute()
    sent = cloudpickle.dumps(cube) + pickle.dumps(cube["B04"].data.dask)
    assert service.client_secret.encode() not in sent
    assert b"Bearer" not in sent


# groups


def test_several_layers_are_named(make_spec: Make):
    """Before anything is bought."""
    layer = {"collection": "sentinel-2-l2a", "bands": ["B02"]}
    with pytest.raises(WrongStore, match="several groups that fit: a, b; name one"):
        open_cube(make_spec(layers={"a": layer, "b": layer}))


def test_layers_in_one_store_are_groups_of_one_cube(make_spec: Make, count: Count, tmp_path: Path):
    """A build of the whole job continues it."""
    layer = {"collection": "sentinel-2-l2a", "bands": ["B02", "B03"]}
    spec = make_spec(layers={"a": layer, "b": {**layer, "cadence": "acquisition"}})
    part = corner(open_cube(spec, layer="b", store=tmp_path / "cube.zarr").isel(time=[0]))
    part.compute()
    let_go(tmp_path)
    report = shdask.build_cube(spec, tmp_path / "cube.zarr", executor=shdask.SerialExecutor())
    assert report.skipped == 1
    xr.testing.assert_equal(part.compute(), corner(open_cube(tmp_path / "cube.zarr", layer="b").isel(time=[0])))


def test_a_clear_rule_needs_a_build(make_spec: Make):
    """What is clear is not known before somebody looks."""
    spec = make_spec(cadence="acquisition", clear={"min": 0.2, "scout_m": 200})
    with pytest.raises(PlanError, match=r"layers\.s2\.clear: .* leave clear out, or run shdask build"):
        open_cube(spec, layer="s2")


def test_nothing_is_kept_where_no_pixel_is_valid(make_spec: Make):
    """Fill, in the stored types."""
    cube = corner(open_cube(make_spec(units="REFLECTANCE", max_cloud_cover=0.0, time=("2024-06-03", "2024-06-03"))))
    got = cube.compute()
    assert np.isnan(got["B04"]).all()
    assert got["B04"].dtype == np.float32
