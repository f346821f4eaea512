"""The recipe for one machine, run as it stands against the emulator."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import pytest
import xarray as xr

import shdask
from shdask.emulator.launch import EmulatorProcess, start_emulator
from tests.cluster.processes import wait_until

DEPLOY = Path(__file__).parents[2] / "deploy"
RECIPE = DEPLOY / "local"
LATENCY_S = 1.0
TILES = 6


@pytest.fixture(scope="module")
def slow() -> Iterator[EmulatorProcess]:
    """A service that takes a second for an answer."""
    with start_emulator(latency_s=LATENCY_S) as service:
        yield service


def start(store: Path, service: EmulatorProcess) -> subprocess.Popen[str]:
    words = [RECIPE / "job.toml", store, "--workers", "2", "--memory", "1GB", "--dashboard", "127.0.0.1:0"]
    return subprocess.Popen(
        [sys.executable, "-W", "error", RECIPE / "build.py", *words],
        env={**os.environ, **service.environment()},
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
        start_new_session=True,
    )


def sent(service: EmulatorProcess) -> int:
    """Process requests that have arrived."""
    return sum(count for call, count in service.stats()["calls"].items() if "/process" in call)


@pytest.fixture
def expected(earth: EmulatorProcess, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> xr.Dataset:
    """The recipe's cube, built without a cluster."""
    [monkeypatch.setenv(*variable) for variable in earth.environment().items()]
    shdask.build_cube(RECIPE / "job.toml", tmp_path / "serial", executor=shdask.SerialExecutor())
    return shdask.open_cube(tmp_path / "serial").load()


def test_recipe_builds_its_job(earth, expected, tmp_path) -> None:
    """The recipe ends with 0 and nothing but the dashboard's address on stderr; its pixels are those of one process."""
    process = start(tmp_path / "cube", earth)
    out, err = process.communicate(timeout=120)
    assert (process.returncode, err.count("\n")) == (0, 1), err
    assert "Dask dashboard: http://127.0.0.1:" in err
    assert "0 failed" in out
    xr.testing.assert_equal(shdask.open_cube(tmp_path / "cube").load(), expected)


@pytest.mark.long
def test_recipe_that_is_told_to_end_loses_nothing(slow, expected, tmp_path) -> None:
    """SIGTERM in mid-build ends it with 130 once what is in flight is written; run again, no tile is bought twice."""
    process = start(tmp_path / "cube", slow)
    wait_until(lambda: sent(slow) > 0)
    process.send_signal(signal.SIGTERM)
    began = time.monotonic()
    _, err = process.communicate(timeout=60)
    assert (process.returncode, time.monotonic() - began < 30) == (130, True), err
    again = start(tmp_path / "cube", slow)
    again.communicate(timeout=120)
    assert (again.returncode, sent(slow)) == (0, TILES)
    xr.testing.assert_equal(shdask.open_cube(tmp_path / "cube").load(), expected)
