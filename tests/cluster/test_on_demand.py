"""Cubes that are not built, computed on a cluster: one limiter, one token and one cap for all workers."""

from __future__ import annotations

import contextlib
from pathlib import Path

import dask
import pytest
import xarray as xr
from distributed import Client, LocalCluster

import shdask
from shdask import open_cube
from shdask.emulator.launch import EmulatorProcess
from shdask.errors import AuthError, BudgetExceeded, BuildError, SettingsError

TOKEN = "POST /auth/realms/main/protocol/openid-connect/token 200"
PROCESS = "POST /api/v1/process 200"


@pytest.fixture
def spec() -> shdask.CubeSpec:
    """Nine tiles of four bands."""
    return shdask.CubeSpec(
        aoi=(500000.0, 5100000.0, 506000.0, 5105600.0),
        aoi_crs="EPSG:32633",
        crs="EPSG:32633",
        resolution=20,
        time=("2024-06-01", "2024-06-30"),
        layers={"s2": {"collection": "sentinel-2-l2a", "bands": ["B02", "B04", "B08", "SCL"]}},
        store={"chunk_px": 64, "tile_px": 128},
        service={"requests_per_minute": 60000, "pu_per_minute": 60000},
    )


@pytest.fixture
def service(earth: EmulatorProcess, point_at) -> EmulatorProcess:
    return point_at(earth)


@pytest.fixture
def on_cluster(client: Client):
    """Dask computes on the cluster, whatever other tests have set."""
    with client.as_current(), dask.config.set(scheduler="dask.distributed"):
        yield client


@pytest.mark.usefixtures("on_cluster")
def test_workers_share_one_token_and_fetch_each_tile_once(service: EmulatorProcess, spec: shdask.CubeSpec):
    """All bands of a tile with one request, whichever worker needs them."""
    cube = open_cube(spec, max_pu=10)
    computed = cube.compute()
    assert service.stats()["calls"] == {TOKEN: 1, PROCESS: 9}
    with dask.config.set(scheduler="threads"):
        xr.testing.assert_equal(open_cube(spec).compute(), computed)


@pytest.mark.usefixtures("on_cluster")
def test_the_cap_holds_for_all_workers_together(service: EmulatorProcess, spec: shdask.CubeSpec):
    """What two workers spend counts as one: after two tiles not even the smallest fits."""
    cube = open_cube(spec, max_pu=0.17)
    cube.isel(y=slice(0, 128), x=slice(0, 256)).compute()
    with pytest.raises(BudgetExceeded, match=r"of max_pu 0\.17 are spent or promised; nothing was sent for it"):
        cube.compute()
    assert service.stats()["calls"][PROCESS] == 2
    assert service.stats()["pu_charged"] <= 0.17


@pytest.mark.usefixtures("on_cluster")
def test_credentials_are_proved_at_opening(service: EmulatorProcess, spec: shdask.CubeSpec, monkeypatch):
    """The scheduler gets them once, and workers never."""
    monkeypatch.setenv("SH_CLIENT_SECRET", "wrong")
    with pytest.raises(AuthError):
        open_cube(spec)


@pytest.mark.usefixtures("on_cluster", "service")
def test_a_store_is_refused_with_the_cure(spec: shdask.CubeSpec, tmp_path: Path):
    """Its one owner would be another process than those that write."""
    with pytest.raises(SettingsError, match=r"shdask\.build_cube\(job, store, client=client\) first"):
        open_cube(spec, store=tmp_path / "cube.zarr")


@pytest.mark.usefixtures("on_cluster")
def test_threads_here_have_no_part_in_it(service: EmulatorProcess, spec: shdask.CubeSpec):
    """They would need a limiter of their own beside the scheduler's."""
    cube = open_cube(spec)
    with pytest.raises(BuildError, match="was carried to where it was not opened for"):
        cube.compute(scheduler="threads")
    assert PROCESS not in service.stats()["calls"]


def test_a_worker_never_falls_back_to_a_limiter_of_its_own(
    service: EmulatorProcess, spec: shdask.CubeSpec, client: Client
):
    """What was opened for threads is refused on a cluster."""
    with dask.config.set(scheduler="threads"):
        cube = open_cube(spec)
    with pytest.raises(BuildError, match="was carried to where it was not opened for"):
        client.compute(cube["B04"].data).result()
    assert PROCESS not in service.stats()["calls"]


def test_nor_does_a_worker_in_the_very_process(service: EmulatorProcess, spec: shdask.CubeSpec):
    """Another build of that cluster would not share it."""
    with contextlib.ExitStack() as stack:
        stack.enter_context(dask.config.set(scheduler="threads"))
        cube = open_cube(spec)
        cluster = stack.enter_context(LocalCluster(n_workers=1, processes=False, dashboard_address="127.0.0.1:0"))
        client = stack.enter_context(Client(cluster, set_as_default=False))
        with pytest.raises(BuildError, match="was carried to where it was not opened for"):
            client.compute(cube["B04"].data).result()
    assert PROCESS not in service.stats()["calls"]
