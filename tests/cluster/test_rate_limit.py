"""One account, one limiter: builds of several clients share it, and a later cluster begins where the last one was."""

from __future__ import annotations

import json
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import pytest
from distributed import Client

import shdask
from shdask.cluster.local import open_local_client
from shdask.cluster.scheduler_plugin import account_key
from shdask.emulator.launch import EmulatorProcess, start_emulator
from shdask.planning import deployment_of
from shdask.settings import Credentials
from tests.cluster.specs import earth_spec

RATES = {"requests_per_minute": 600, "pu_per_minute": 6000}


@pytest.fixture
def limited(point_at) -> Iterator[EmulatorProcess]:
    """Ten requests a second, and 24 at once."""
    with start_emulator(requests_per_minute=600, request_burst=24) as service:
        yield point_at(service)


def small_tiles(**service: float) -> shdask.CubeSpec:
    """25 tiles."""
    return earth_spec(
        aoi=[500_000, 5_100_000, 500_000 + 5 * 640, 5_100_000 + 5 * 640],
        aoi_crs="EPSG:32633",
        resolution=10,
        store={"chunk_px": 64, "tile_px": 64},
        service={**RATES, **service},
    )


def test_builds_of_two_clients_share_one_limiter(client: Client, limited: EmulatorProcess, tmp_path: Path) -> None:
    """Together they send 12 at once and ten a second, which the service allows; two limiters would send twice that."""
    spec = small_tiles(bucket_s=2.4)

    def build(name: str) -> shdask.BuildReport:
        with Client(client.scheduler.address, set_as_default=False) as own:
            return shdask.build_cube(spec, tmp_path / name, client=own)

    with ThreadPoolExecutor(2) as pool:
        reports = list(pool.map(build, ["one", "two"]))
    account = account_key(deployment_of(spec), Credentials.load())
    limits = client.sync(client.scheduler.shdask_snapshot, account=account)
    assert [(each.requests, each.rejected) for each in reports] == [(25, 0), (25, 0)]
    assert limits["permits"] == 50
    assert max(each.seconds for each in reports) > (50 - 12) / 10 - 0.5


def test_the_next_cluster_knows_the_burst(learning: Path, point_at, earth: EmulatorProcess, tmp_path: Path) -> None:
    """What the first one has found stands in the user's state folder, and the second one goes on from there."""
    point_at(earth)
    spec = small_tiles(requests_per_minute=60)
    with open_local_client(1) as first:
        shdask.build_cube(spec, tmp_path / "one", client=first)
    (kept,) = json.loads(learning.with_name("bursts.json").read_text())["accounts"].values()
    with open_local_client(1) as second:
        shdask.build_cube(spec, tmp_path / "two", client=second)
        account = account_key(deployment_of(spec), Credentials.load())
        limits = second.sync(second.scheduler.shdask_snapshot, account=account)
    assert limits["burst_s"] >= kept["known_s"] > 2
