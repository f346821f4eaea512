"""Builds that outlive who ordered them, and the workers that their owners live on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import xarray as xr
from distributed import Client

import shdask
from shdask.assemble.tree_status import read_whole_status
from shdask.emulator.launch import EmulatorProcess, start_emulator
from tests.cluster.processes import Processes, start_processes, wait_until
from tests.cluster.specs import L_SHAPE, earth_spec

LATENCY_S = 0.5
IN_FLIGHT = 32
"""Requests that one worker may have sent."""
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
requests_per_minute = 2400
"""


@pytest.fixture(scope="module")
def slow() -> Iterator[EmulatorProcess]:
    """A service that takes half a second for an answer, so that something is always in flight."""
    with start_emulator(latency_s=LATENCY_S) as service:
        yield service


@pytest.fixture(scope="module")
def undisturbed(slow: EmulatorProcess, tmp_path_factory: pytest.TempPathFactory) -> xr.Dataset:
    """The cube as it is without trouble."""
    folder = tmp_path_factory.mktemp("undisturbed")
    with pytest.MonkeyPatch.context() as patch:
        [patch.setenv(*variable) for variable in slow.environment().items()]
        shdask.build_cube(earth_spec(), folder / "cube", executor=shdask.SerialExecutor())
    return shdask.open_cube(folder / "cube").load()


@pytest.fixture
def service(slow: EmulatorProcess) -> EmulatorProcess:
    """The same, with nothing sent yet."""
    slow.reset()
    return slow


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


def run(*words: object, service: EmulatorProcess, **more: str) -> subprocess.CompletedProcess[str]:
    environment = {**os.environ, **service.environment(), "XDG_CONFIG_HOME": "/nonexistent", **more}
    command = [sys.executable, "-m", "shdask", *map(str, words)]
    return subprocess.run(command, env=environment, capture_output=True, text=True, check=False, timeout=120)


def detach(job: Path, processes: Processes, service: EmulatorProcess, *words: object) -> dict[str, Any]:
    place = job.parent / "cube"
    told = run("build", job, place, "--scheduler", processes.address, "--detach", "--json", *words, service=service)
    assert told.returncode == 0, told.stderr
    answer: dict[str, Any] = json.loads(told.stdout)
    return answer


def status(job: Path) -> Any:
    return read_whole_status(job.parent / "cube").whole


def sent(service: EmulatorProcess) -> int:
    """Process requests that have arrived."""
    return sum(count for call, count in service.stats()["calls"].items() if "/process" in call)


def driver_of(job: Path, processes: Processes) -> subprocess.Popen[bytes]:
    """The worker's process that owns the build."""
    wait_until(lambda: status(job).running)
    pid = int(status(job).owner.rpartition(":")[2])
    return next(process for process in processes.started if process.pid == pid)


def wait_for_end(job: Path) -> None:
    """Until the build has ended, and not merely changed its driver."""
    wait_until(lambda: status(job).complete and not status(job).running, timeout_s=120)


def assert_cube_is_right(job: Path, undisturbed: xr.Dataset) -> None:
    assert (status(job).complete, status(job).ended["exit_code"]) == (True, 0)
    xr.testing.assert_equal(shdask.open_cube(job.parent / "cube").load(), undisturbed)


@pytest.mark.long
def test_detached_build_goes_on_without_its_client(service, processes, job, undisturbed) -> None:
    """The command returns while the build goes on; anybody can see how it is, and it ends by itself."""
    told = detach(job, processes, service)
    assert (told["store"], told["watch"]) == (str(job.parent / "cube"), f"shdask status {job.parent / 'cube'}")
    wait_until(lambda: status(job).running)
    assert not status(job).complete
    wait_for_end(job)
    assert_cube_is_right(job, undisturbed)
    assert sent(service) == told["tiles"]


@pytest.mark.long
def test_drivers_worker_killed_costs_what_it_had_in_flight(service, processes, job, undisturbed) -> None:
    """SIGKILL to the worker that owns the build: another one owns it within seconds, and goes on."""
    told = detach(job, processes, service)
    driver = driver_of(job, processes)
    wait_until(lambda: sent(service) > 60)
    driver.kill()
    wait_until(lambda: driver_of(job, processes).pid != driver.pid, timeout_s=60)
    wait_for_end(job)
    assert_cube_is_right(job, undisturbed)
    assert 0 < sent(service) - told["tiles"] <= IN_FLIGHT


@pytest.mark.long
def test_drivers_worker_told_to_end_costs_nothing(service, processes, job, undisturbed) -> None:
    """SIGTERM to it: what is in flight is written and recorded, and another one goes on."""
    told = detach(job, processes, service)
    driver = driver_of(job, processes)
    wait_until(lambda: sent(service) > 60)
    driver.send_signal(signal.SIGTERM)
    driver.wait(60)
    wait_for_end(job)
    assert_cube_is_right(job, undisturbed)
    assert (sent(service), status(job).requests) == (told["tiles"], told["tiles"])


@pytest.mark.long
def test_stopped_build_stays_stopped_and_can_be_continued(service, processes, job, undisturbed) -> None:
    """``status --stop`` needs the store alone: the owner drains and ends; the same command goes on."""
    job.write_text(job.read_text().replace("2400", "120"))
    told = detach(job, processes, service)
    wait_until(lambda: sent(service) > 20)
    stopped = run("status", job.parent / "cube", "--stop", "--json", service=service)
    answer = json.loads(stopped.stdout)
    assert (stopped.returncode, answer["running"], answer["ended"]["exit_code"]) == (0, False, 130)
    bought = sent(service)
    assert bought < told["tiles"]
    job.write_text(job.read_text().replace("120", "2400"))
    detach(job, processes, service)
    wait_for_end(job)
    assert_cube_is_right(job, undisturbed)
    assert sent(service) == told["tiles"]


@pytest.mark.long
def test_retired_workers_driver_moves(service, processes, job, undisturbed) -> None:
    """Scaling down by hand takes the owner's worker: the next owner waits for it, and nothing is bought twice."""
    told = detach(job, processes, service)
    driver = driver_of(job, processes)
    wait_until(lambda: sent(service) > 60)
    with Client(processes.address) as client:
        workers = {pid: address for address, pid in client.run(os.getpid).items()}
        client.retire_workers([workers[driver.pid]], close_workers=True, remove=True)
    wait_for_end(job)
    assert_cube_is_right(job, undisturbed)
    assert sent(service) == told["tiles"]


@pytest.mark.long
def test_cap_is_of_all_drivers_together(service, processes, job) -> None:
    """What the first has spent, or may have, the next one has not: a cap without room for more ends the build there."""
    told = detach(job, processes, service, "--max-pu", 1.85)
    driver = driver_of(job, processes)
    wait_until(lambda: sent(service) > 60)
    driver.kill()
    wait_until(lambda: not status(job).running and status(job).ended is not None, timeout_s=90)
    assert service.stats()["pu_charged"] <= 1.85
    assert (status(job).ended["exit_code"], status(job).complete) in {(4, False), (0, True)}
    assert sent(service) <= told["tiles"] + IN_FLIGHT


@pytest.mark.long
def test_build_of_this_machine_outlives_its_command(service, job, undisturbed) -> None:
    """Without a cluster: the command returns once a process in a session of its own owns the cube."""
    place = job.parent / "cube"
    told = run(
        "build", job, place, "--workers", 1, "--detach", "--json", service=service, XDG_STATE_HOME=str(job.parent)
    )
    answer = json.loads(told.stdout)
    assert (told.returncode, status(job).running, status(job).owner.rpartition(":")[2]) == (0, True, str(answer["pid"]))
    assert os.getsid(answer["pid"]) == answer["pid"]
    wait_for_end(job)
    assert_cube_is_right(job, undisturbed)
    assert "written" in Path(answer["log"]).read_text()


def test_build_of_this_machine_that_fails_at_once_says_why(service, job) -> None:
    """Another cube stands there: its code and its words are those of a build that is waited for."""
    (job.parent / "cube").mkdir()
    (job.parent / "cube" / "notes.txt").write_text("mine")
    told = run("build", job, job.parent / "cube", "--detach", service=service, XDG_STATE_HOME=str(job.parent))
    assert (told.returncode, "choose a new path" in told.stderr) == (2, True)


@pytest.mark.long
def test_detached_build_of_a_cube_that_is_being_built_is_refused(service, processes, job) -> None:
    """At once, and by the command."""
    job.write_text(job.read_text().replace("2400", "60"))
    detach(job, processes, service)
    wait_until(lambda: status(job).running)
    words = ["build", job, job.parent / "cube", "--scheduler", processes.address, "--detach"]
    told = run(*words, service=service)
    assert (told.returncode, "is being built" in told.stderr) == (2, True)


def test_event_log_of_a_detached_build_is_refused(service, job) -> None:
    """It would lie on a machine that nobody chose."""
    told = run("build", job, job.parent / "cube", "--detach", "--events", "events.jsonl", service=service)
    assert (told.returncode, "shdask status" in told.stderr) == (2, True)
    assert not (job.parent / "cube").exists()
