"""The command line as a user meets it: JSON, exit codes, interrupts, and going on after a kill."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
from pathlib import Path

import psutil
import pytest
import xarray as xr

import shdask
from shdask.emulator.launch import EmulatorProcess, start_emulator
from tests.cluster.processes import wait_until
from tests.cluster.specs import L_SHAPE

JOB = """
[cube]
aoi = "area.geojson"
crs = "EPSG:32633"
resolution = {resolution}
time = ["2024-06-01", "2024-06-30"]

[layers.s2]
collection = "sentinel-2-l2a"
bands = ["B02", "B08"]

[store]
chunk_px = {tile_px}
tile_px = {tile_px}
"""


@pytest.fixture
def job(tmp_path: Path) -> Path:
    """A job of 7 tiles."""
    return write_job(tmp_path, resolution=20, tile_px=256)


def write_job(folder: Path, **values: int) -> Path:
    (folder / "area.geojson").write_text(json.dumps(L_SHAPE))
    path = folder / "job.toml"
    path.write_text(JOB.format(**values))
    return path


def environment(service: EmulatorProcess | None) -> dict[str, str]:
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SH_")}
    return {**clean, **(service.environment() if service else {}), "XDG_CONFIG_HOME": "/nonexistent"}


def start(*words: object, service: EmulatorProcess | None) -> subprocess.Popen[str]:
    return subprocess.Popen(
        [sys.executable, "-m", "shdask", *map(str, words)],
        env=environment(service),
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def run(*words: object, service: EmulatorProcess | None = None) -> tuple[int, str, str]:
    process = start(*words, service=service)
    out, err = process.communicate(timeout=120)
    return process.returncode, out, err


def test_plan_prints_the_promised_json(job) -> None:
    """``plan --json`` needs no credentials and prints requests, pu, minutes, nbytes and tiles."""
    code, out, _ = run("plan", job, "--json")
    assert (code, list(json.loads(out))[:4]) == (0, ["requests", "pu", "minutes", "nbytes"])
    assert "tiles" in json.loads(out)


@pytest.fixture(scope="module")
def built(earth, tmp_path_factory) -> tuple[Path, int, str, str]:
    """A cube that ``build --json`` has built, its exit code, and what it printed."""
    folder = tmp_path_factory.mktemp("built")
    job = write_job(folder, resolution=20, tile_px=256)
    return folder / "cube", *run("build", job, folder / "cube", "--workers", 1, "--json", service=earth)


def test_build_prints_the_promised_json(built) -> None:
    """``build --json`` prints one object on stdout, everything else on stderr."""
    _, code, out, err = built
    report = json.loads(out)
    assert code == 0, err
    assert list(report) == [
        "tiles", "written", "empty", "failed", "skipped", "requests", "pu_spent", "pu_projected", "seconds", "store",
    ]  # fmt: skip
    assert (report["written"], report["failed"]) == (report["tiles"], 0)


def test_build_runs_on_a_scheduler_elsewhere(earth, client, job, tmp_path) -> None:
    """``build --scheduler`` uses the running cluster at that address."""
    address = client.scheduler_info()["address"]
    code, out, err = run("build", job, tmp_path / "cube", "--scheduler", address, "--json", service=earth)
    assert code == 0, err
    assert json.loads(out)["written"] == json.loads(out)["tiles"]


def test_status_says_how_far_a_cube_is(built) -> None:
    """``status --json`` counts tiles by state without a cluster."""
    code, out, _ = run("status", built[0], "--json")
    status = json.loads(out)
    assert code == 0
    assert status["complete"]
    assert status["written"] + status["empty"] == status["tiles"]


def test_missing_credentials_exit_with_3_and_a_hint(job, tmp_path) -> None:
    """Without credentials the build ends with 3, points to the demo, and invents no pixels."""
    code, out, err = run("build", job, tmp_path / "cube")
    assert (code, out) == (3, "")
    assert "shdask demo" in err
    assert not (tmp_path / "cube").exists()


@pytest.mark.long
def test_wrong_secret_exits_with_3(earth, job, tmp_path) -> None:
    """Refused credentials end with 3 and one clear line."""
    service = EmulatorProcess(base_url=earth.base_url, token_url=earth.token_url, client_id="emulator",
                              client_secret="wrong", pid=earth.pid)  # fmt: skip
    code, _, err = run("build", job, tmp_path / "cube", "--workers", 1, service=service)
    assert code == 3
    assert "Traceback" not in err
    assert "wrong" not in err.replace("wrong or", "")


def test_bad_job_exits_with_2_and_names_the_place(job) -> None:
    """A wrong band ends with 2 and names file, table and key."""
    job.write_text(job.read_text().replace("B08", "B99"))
    code, _, err = run("plan", job)
    assert code == 2
    assert "job.toml" in err
    assert "layers.s2.bands" in err


def test_budget_exits_with_4(earth, job, tmp_path) -> None:
    """A cap below the price ends with 4."""
    code, _, err = run("build", job, tmp_path / "cube", "--max-pu", 0.01, service=earth)
    assert code == 4
    assert "max_pu" in err


def test_status_of_nothing_exits_with_2(tmp_path) -> None:
    """A path that is no cube is an error with a cure."""
    code, _, err = run("status", tmp_path / "nothing")
    assert code == 2
    assert "shdask build" in err


@pytest.fixture
def slow_earth():
    """An emulator that takes a second for each answer, as the service does."""
    with start_emulator(latency_s=1.0) as service:
        yield service


def interrupted_build(folder: Path, service: EmulatorProcess, how: int, *, group: bool) -> tuple[int, str]:
    """Start a build of many tiles, end it after a few of them, return its exit code and stderr."""
    job = write_job(folder, resolution=20, tile_px=96)
    process = start("build", job, folder / "cube", "--workers", 2, service=service)
    ledger = folder / "cube" / ".shdask" / "ledger.jsonl"
    while not (ledger.exists() and ledger.read_text().count('"state"') > 2):
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(0.05)
            raise AssertionError(f"ended by itself: {process.stderr and process.stderr.read()}")
    (os.killpg if group else os.kill)(process.pid, how)
    _, err = process.communicate(timeout=60)
    return process.returncode, err


@pytest.fixture(scope="module")
def undisturbed(earth, tmp_path_factory) -> xr.Dataset:
    """The cube that the interrupted builds must end with."""
    folder = tmp_path_factory.mktemp("undisturbed")
    code, _, err = run("build", write_job(folder, resolution=20, tile_px=96), folder / "cube", service=earth)
    assert code == 0, err
    return shdask.open_cube(folder / "cube").load()


@pytest.mark.long
@pytest.mark.parametrize(("how", "group"), [(signal.SIGINT, True), (signal.SIGTERM, False)])
def test_interrupted_build_drains_and_goes_on(slow_earth, undisturbed, tmp_path, how, group) -> None:
    """After Ctrl-C or SIGTERM the same command continues, pays no tile twice, and ends with the undisturbed cube."""
    code, err = interrupted_build(tmp_path, slow_earth, how, group=group)
    second, out, text = run("build", tmp_path / "job.toml", tmp_path / "cube", "--json", service=slow_earth)
    report = json.loads(out)
    assert (code, second) == (130, 0), err + text
    assert "the same command continues" in err
    assert 0 < report["skipped"] < report["tiles"]
    assert slow_earth.stats()["pu_charged"] == pytest.approx(
        shdask.make_plan(tmp_path / "job.toml").only.cost.pu, rel=1e-6
    )
    xr.testing.assert_equal(shdask.open_cube(tmp_path / "cube").load(), undisturbed)


@pytest.mark.long
def test_killed_build_goes_on(slow_earth, undisturbed, tmp_path) -> None:
    """After kill -9 of the whole process group the same command continues to the undisturbed cube."""
    code, err = interrupted_build(tmp_path, slow_earth, signal.SIGKILL, group=True)
    second, out, text = run("build", tmp_path / "job.toml", tmp_path / "cube", "--json", service=slow_earth)
    report = json.loads(out)
    assert (code, second) == (-signal.SIGKILL, 0), err + text
    assert 0 < report["skipped"] < report["tiles"]
    xr.testing.assert_equal(shdask.open_cube(tmp_path / "cube").load(), undisturbed)


def test_interrupt_while_the_cluster_starts_ends_quietly(earth, job, tmp_path) -> None:
    """Ctrl-C in a terminal reaches every process: none of them dies in mid-start, and none is left behind."""
    process = start("build", job, tmp_path / "cube", "--workers", 1, service=earth)
    owner = psutil.Process(process.pid)
    wait_until(lambda: bool(owner.children()))
    children = owner.children(recursive=True)
    os.killpg(process.pid, signal.SIGINT)
    _, err = process.communicate(timeout=120)
    assert (process.returncode, "interrupted; what was written is kept" in err) == (130, True)
    assert ("KeyboardInterrupt" in err, "failed to start" in err) == (False, False)
    assert psutil.wait_procs(children, timeout=20)[1] == []
