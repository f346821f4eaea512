"""Workers that freeze, end, are retired, killed or join late: nothing is lost, and nothing is bought twice."""

from __future__ import annotations

import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import cloudpickle
import pytest
import xarray as xr
from distributed import Client

import shdask
from shdask.cluster.executor import DaskExecutor
from shdask.cluster.patience import Patience
from shdask.emulator.launch import EmulatorProcess, start_emulator
from tests.cluster.processes import Processes, start_processes, wait_until
from tests.cluster.specs import earth_spec, scene_spec

cloudpickle.register_pickle_by_value(sys.modules[__name__])  # workers cannot import the tests

SMALL = earth_spec(store={"chunk_px": 64, "tile_px": 64})
FEW = earth_spec(store={"chunk_px": 96, "tile_px": 96})


@pytest.fixture(scope="module")
def slow() -> Iterator[EmulatorProcess]:
    """A service that takes half a second for an answer, so that something is always in flight."""
    with start_emulator(latency_s=0.5) as service:
        yield service


@pytest.fixture(scope="module")
def undisturbed(earth: EmulatorProcess, tmp_path_factory: pytest.TempPathFactory) -> xr.Dataset:
    """The cube as it is without trouble."""
    folder = tmp_path_factory.mktemp("undisturbed")
    with pytest.MonkeyPatch.context() as patch:
        [patch.setenv(*variable) for variable in earth.environment().items()]
        shdask.build_cube(earth_spec(), folder / "cube", executor=shdask.SerialExecutor())
    return shdask.open_cube(folder / "cube").load()


@pytest.fixture
def processes(tmp_path: Path) -> Iterator[Processes]:
    """A scheduler."""
    with start_processes(tmp_path) as processes:
        yield processes


def build(
    processes: Processes,
    folder: Path,
    act: Callable[[Client, str], None],
    after: int = 3,
    spec: shdask.CubeSpec = SMALL,
    **patience: Any,
) -> shdask.report.BuildReport:
    """Build a cube; once ``after`` tiles are there, ``act(client, worker of the last)`` happens beside it."""
    seen: list[str] = []

    with Client(processes.address) as client:

        def look(event: shdask.TileEvent) -> None:
            seen.append(str(event.worker))
            if len(seen) == after:
                threading.Thread(target=act, args=[client, event.worker], daemon=True).start()

        executor = DaskExecutor(client, Patience(**patience))
        return shdask.build_cube(spec, folder / "cube", executor=executor, on_event=look)


def pid_of(client: Client, worker: str) -> int:
    pid: int = client.run(os.getpid, workers=[worker])[worker]
    return pid


def sent(service: EmulatorProcess) -> int:
    """Process requests that have arrived."""
    return sum(count for call, count in service.stats()["calls"].items() if "/process" in call)


def assert_bought_once(service: EmulatorProcess, report: Any, folder: Path, expected: xr.Dataset) -> None:
    assert (report.written, report.failed, report.complete) == (report.tiles, 0, True)
    assert service.stats()["pu_charged"] == pytest.approx(report.pu_projected, rel=1e-6)
    assert sent(service) == report.tiles
    xr.testing.assert_equal(shdask.open_cube(folder / "cube").load(), expected)


@pytest.mark.long
def test_retired_worker_ends_what_it_has_sent(slow, point_at, processes, undisturbed, tmp_path) -> None:
    """Scaling down takes a worker away in mid-batch: its tiles in flight are written, the others bought elsewhere."""
    point_at(slow)
    [processes.start_worker(name) for name in ("a", "b")]
    report = build(
        processes, tmp_path, lambda client, worker: client.retire_workers([worker], close_workers=True, remove=True)
    )
    assert_bought_once(slow, report, tmp_path, undisturbed)


def test_worker_that_is_told_to_end_drains(slow, point_at, processes, undisturbed, tmp_path) -> None:
    """SIGTERM to a worker without a nanny, as a batch system sends it."""
    point_at(slow)
    ended = [processes.start_worker(name) for name in ("a", "b")]
    report = build(
        processes, tmp_path, lambda client, worker: os.kill(pid_of(client, worker), signal.SIGTERM), spec=FEW
    )
    assert_bought_once(slow, report, tmp_path, undisturbed)
    assert [process.poll() for process in ended].count(None) == 1


@pytest.mark.long
@pytest.mark.parametrize("whom", ["worker", "nanny"])
def test_worker_under_a_nanny_drains_too(slow, point_at, processes, undisturbed, tmp_path, whom) -> None:
    """SIGTERM to the worker's process, which would die of it, or to its nanny, which would kill it after 8 seconds."""
    point_at(slow)
    nannies = {name: processes.start_worker(name, nanny=True) for name in ("a", "b")}

    def end(client: Client, worker: str) -> None:
        name = client.scheduler_info(-1)["workers"][worker]["name"]
        os.kill(pid_of(client, worker) if whom == "worker" else nannies[name].pid, signal.SIGTERM)

    report = build(processes, tmp_path, end)
    assert_bought_once(slow, report, tmp_path, undisturbed)


@pytest.mark.long
def test_frozen_worker_is_noticed_and_its_tiles_go_elsewhere(slow, point_at, processes, undisturbed, tmp_path) -> None:
    """SIGSTOP: the build goes on without it; when it wakes up it buys nothing more, changes nothing, and ends."""
    service = point_at(slow)
    workers = {process.pid: process for process in [processes.start_worker(name) for name in ("a", "b")]}
    frozen: list[int] = []

    def freeze(client: Client, worker: str) -> None:
        frozen.append(pid_of(client, worker))
        os.kill(frozen[0], signal.SIGSTOP)

    spec = earth_spec(store={"chunk_px": 64, "tile_px": 64}, service={"requests_per_minute": 120})
    report = build(processes, tmp_path, freeze, after=62, spec=spec, frozen_s=6.0)
    assert (report.complete, report.failed) == (True, 0)
    assert service.stats()["pu_charged"] <= report.pu_spent + report.pu_unknown + 1e-6
    assert report.pu_unknown > 0
    before = sent(service)
    os.kill(frozen[0], signal.SIGCONT)
    wait_until(lambda: workers[frozen[0]].poll() is not None)
    assert sent(service) - before <= 1, "the one that may just have had its permit in hand"
    xr.testing.assert_equal(shdask.open_cube(tmp_path / "cube").load(), undisturbed)


@pytest.mark.long
def test_frozen_worker_under_a_nanny_is_restarted(slow, point_at, processes, undisturbed, tmp_path) -> None:
    """Its nanny kills it and starts another, which works on."""
    point_at(slow)
    processes.start_worker("a", nanny=True)
    report = build(
        processes, tmp_path, lambda client, worker: os.kill(pid_of(client, worker), signal.SIGSTOP), frozen_s=6.0
    )
    assert (report.complete, report.failed) == (True, 0)
    xr.testing.assert_equal(shdask.open_cube(tmp_path / "cube").load(), undisturbed)


@pytest.mark.long
def test_worker_that_joins_late_gets_work(slow, point_at, processes, undisturbed, tmp_path) -> None:
    """A build that began with one worker uses the second as soon as it is there."""
    point_at(slow)
    processes.start_worker("a")
    used: set[str] = set()
    joined: list[object] = []

    def look(event: shdask.TileEvent) -> None:
        used.add(str(event.worker))
        if not joined:
            joined.append(processes.start_worker("b"))

    spec = earth_spec(store={"chunk_px": 64, "tile_px": 64}, service={"requests_per_minute": 120})
    with Client(processes.address) as client:
        report = shdask.build_cube(spec, tmp_path / "cube", client=client, on_event=look)
    assert len(used) == 2
    assert report.complete


@pytest.mark.long
def test_empty_tiles_of_a_killed_worker_are_not_bought_again(scene, point_at, processes, shared_data, tmp_path) -> None:
    """Nothing is stored of them, so that only the scheduler can know: at most what was in flight is sent again."""
    service = point_at(scene)
    workers = [processes.start_worker(name) for name in ("a", "b")]
    spec = scene_spec(aoi=[900_000, 4_000_000, 900_000 + 20 * 64 * 20, 4_000_000 + 20 * 64 * 20],
                      aoi_crs="EPSG:32618", crs="EPSG:32618", resolution=20,
                      service={"requests_per_minute": 1200})  # fmt: skip
    spec = spec.model_copy(update={"store": spec.store.model_copy(update={"tile_px": 64, "chunk_px": 64})})
    by_pid = {process.pid: process for process in workers}
    seen: list[str] = []

    with Client(processes.address) as client:

        def look(event: shdask.TileEvent) -> None:
            seen.append(str(event.worker))
            if len(seen) == 30:
                by_pid[pid_of(client, seen[-1])].kill()

        report = shdask.build_cube(spec, tmp_path / "cube", client=client, on_event=look)
    assert (report.empty, report.tiles) == (400, 400)
    assert sent(service) - report.tiles <= 32


@pytest.mark.long
def test_stuck_tile_is_tried_elsewhere(slow, point_at, processes, undisturbed, tmp_path) -> None:
    """A request that hangs for ever holds up one thread, not the build."""
    service = point_at(slow)
    [processes.start_worker(name) for name in ("a", "b")]
    service.set_faults([{"kind": "hang", "first": 5, "last": 5}])
    try:
        started = time.monotonic()
        report = build(processes, tmp_path, lambda _client, _worker: None, stuck_s=4.0)
    finally:
        service.clear_faults()
    assert (report.complete, report.failed) == (True, 0)
    assert time.monotonic() - started < 60
    xr.testing.assert_equal(shdask.open_cube(tmp_path / "cube").load(), undisturbed)
