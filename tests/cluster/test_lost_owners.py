"""The owner or the scheduler killed: nobody goes on buying, and the next run buys only what is missing."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import xarray as xr
from distributed import Client

import shdask
from shdask.emulator.launch import EmulatorProcess, start_emulator
from tests.cluster.processes import Processes, kill_group, start_processes, wait_until
from tests.cluster.specs import L_SHAPE, earth_spec

IN_FLIGHT = 2 * 32
"""Two workers, each with as many requests in flight as a worker may have."""
LATENCY_S = 0.5
JOB = """
[cube]
aoi = "area.geojson"
crs = "EPSG:32633"
resolution = 20
time = ["2024-06-01", "2024-06-30"]
[layers.s2]
collection = "sentinel-2-l2a"
bands = ["B02", "B08"]
mosaicking_order = "leastCC"
[store]
chunk_px = 32
tile_px = 32
[service]
requests_per_minute = 3000
"""


@pytest.fixture(scope="module")
def slow() -> Iterator[EmulatorProcess]:
    """A service that takes half a second for an answer, so that something is always in flight."""
    with start_emulator(latency_s=LATENCY_S) as service:
        yield service


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """A job of some 270 tiles."""
    (tmp_path / "area.geojson").write_text(json.dumps(L_SHAPE))
    (tmp_path / "job.toml").write_text(JOB)
    return tmp_path / "job.toml"


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    """A scheduler and two workers."""
    with start_processes(tmp_path) as processes:
        [processes.start_worker(name) for name in ("a", "b")]
        yield processes


def start_owner(job: Path, processes: Processes, service: EmulatorProcess) -> subprocess.Popen[str]:
    words = ["build", str(job), str(job.parent / "cube"), "--scheduler", processes.address, "--json"]
    environment = {**os.environ, **service.environment(), "XDG_CONFIG_HOME": "/nonexistent"}
    owner = subprocess.Popen(
        [sys.executable, "-m", "shdask", *words],
        env=environment,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )
    wait_until(lambda: sent(service) > 10)
    return owner


def sent(service: EmulatorProcess) -> int:
    """Process requests that have arrived."""
    return sum(count for call, count in service.stats()["calls"].items() if "/process" in call)


def is_quiet(service: EmulatorProcess) -> bool:
    """Whether no request is answered for so long that none can be in flight."""
    before = sent(service)
    time.sleep(4 * LATENCY_S)
    return sent(service) == before


def parts_on(address: str) -> set[str]:
    with Client(address) as client:
        plugins = client.run(lambda dask_worker: [name for name in dask_worker.plugins if name.startswith("shdask-")])
    return {name for names in plugins.values() for name in names}


def assert_little_was_bought_twice(job: Path, service: EmulatorProcess, tmp_path: Path, point_at, earth) -> None:
    assert 0 <= sent(service) - shdask.make_plan(job).only.tile_count <= IN_FLIGHT
    point_at(earth)  # the same pixels, at once
    shdask.build_cube(earth_spec(), tmp_path / "undisturbed", executor=shdask.SerialExecutor())
    xr.testing.assert_equal(
        shdask.open_cube(job.parent / "cube").load(), shdask.open_cube(tmp_path / "undisturbed").load()
    )


@pytest.mark.long
def test_orphaned_build_is_taken_off_its_workers(slow, earth, point_at, processes, job, tmp_path) -> None:
    """Kill -9 of the owner: within seconds nothing is sent any more, and the next run buys only what is missing."""
    service = point_at(slow)
    owner = start_owner(job, processes, service)
    kill_group(owner)
    owner.communicate(timeout=10)
    took_s = wait_until(lambda: not parts_on(processes.address), timeout_s=15)
    assert took_s < 15
    wait_until(lambda: is_quiet(service), timeout_s=15)
    report = shdask.build_cube(job, job.parent / "cube")
    assert (report.complete, report.skipped > 0) == (True, True)
    assert_little_was_bought_twice(job, service, tmp_path, point_at, earth)


@pytest.mark.long
def test_owner_without_a_scheduler_ends_in_seconds(slow, earth, point_at, processes, job, tmp_path) -> None:
    """Kill -9 of the scheduler: the owner says so and exits with 5, the workers end and buy nothing more."""
    service = point_at(slow)
    owner = start_owner(job, processes, service)
    scheduler, *workers = processes.started
    scheduler.send_signal(signal.SIGKILL)
    _, told = owner.communicate(timeout=20)
    assert (owner.returncode, "the connection to the scheduler is lost" in told) == (5, True)
    assert "build again" in told
    wait_until(lambda: all(worker.poll() is not None for worker in workers))
    wait_until(lambda: is_quiet(service), timeout_s=15)
    report = shdask.build_cube(job, job.parent / "cube")
    assert (report.complete, report.skipped > 0) == (True, True)
    assert_little_was_bought_twice(job, service, tmp_path, point_at, earth)
