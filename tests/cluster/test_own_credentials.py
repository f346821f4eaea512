"""A scheduler with credentials of its own: whoever builds on it needs none, and none leave it."""

from __future__ import annotations

import json
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path

import pytest

from shdask.cluster.executor import is_private
from shdask.cluster.scheduler_plugin import refuse_foreign_server
from shdask.emulator.launch import EmulatorProcess
from shdask.errors import AuthError
from shdask.settings import DEPLOYMENTS, make_deployment
from tests.cluster.kill_points import write_job
from tests.cluster.killable import DaskProcesses, worker_environment


@contextmanager
def start_cluster(folder: Path, scheduler_environ: Mapping[str, str]) -> Iterator[DaskProcesses]:
    """A scheduler that is told this, and two workers that are told nothing."""
    processes = DaskProcesses(folder=folder, environ=worker_environment(), scheduler_environ=scheduler_environ)
    processes.start_missing()
    try:
        processes.wait()
        yield processes
    finally:
        processes.end()


def build(service: EmulatorProcess, cluster: DaskProcesses, job: Path) -> subprocess.CompletedProcess[str]:
    """``shdask build`` by an owner that knows where the service is, and nothing else of it."""
    known = {name: value for name, value in service.environment().items() if name.endswith("_URL")}
    words = ["build", str(job), str(job.with_suffix(".zarr")), "--scheduler", cluster.address, "--yes", "--json"]
    return subprocess.run(
        [sys.executable, "-m", "shdask", *words],
        env={**worker_environment(), **known, "HOME": str(job.parent)},
        capture_output=True,
        text=True,
        check=False,
        timeout=240,
    )


def write_daily_job(folder: Path) -> Path:
    """A job whose plan asks the catalogue."""
    path = write_job(folder, resolution=40, tile_px=256)
    path.write_text(path.read_text().replace('bands = ["B02", "B08"]', 'bands = ["B02"]\ncadence = "day"'))
    return path


def test_an_owner_without_credentials_builds_with_the_schedulers(earth: EmulatorProcess, tmp_path: Path) -> None:
    """The catalogue is searched and every tile bought by the scheduler's token; owner and workers were told nothing."""
    with start_cluster(tmp_path, earth.environment()) as cluster:
        told = build(earth, cluster, write_daily_job(tmp_path))
    assert (told.returncode, told.stderr.count("Traceback")) == (0, 0), told.stderr
    assert json.loads(told.stdout)["written"] == json.loads(told.stdout)["tiles"]


@pytest.mark.long
def test_a_scheduler_without_credentials_says_who_lacks_them(earth: EmulatorProcess, tmp_path: Path) -> None:
    """Where nobody has credentials the build ends with 3, and names the scheduler as where they were looked for."""
    with start_cluster(tmp_path, {"HOME": str(tmp_path)}) as cluster:
        told = build(earth, cluster, write_job(tmp_path, resolution=40, tile_px=256))
    assert told.returncode == AuthError.exit_code
    assert f"on the scheduler at {cluster.address}" in told.stderr


def test_the_schedulers_secret_goes_to_no_address_of_a_client() -> None:
    """A token server that the scheduler was not told of is not shown its secret."""
    elsewhere = make_deployment(
        environ={"SH_BASE_URL": "http://127.0.0.1:1", "SH_TOKEN_URL": "http://127.0.0.1:1/token"}
    )
    with pytest.raises(AuthError, match="set SH_TOKEN_URL where the scheduler runs"):
        refuse_foreign_server(elsewhere, environ={})


def test_the_schedulers_secret_goes_where_its_environment_says() -> None:
    """The one token server that is named there, and then no other, is asked."""
    refuse_foreign_server(DEPLOYMENTS["cdse"], environ={"SH_TOKEN_URL": DEPLOYMENTS["cdse"].token_url})
    with pytest.raises(AuthError, match="not shown"):
        refuse_foreign_server(DEPLOYMENTS["services"], environ={"SH_TOKEN_URL": DEPLOYMENTS["cdse"].token_url})


@pytest.mark.parametrize("name", DEPLOYMENTS)
def test_the_schedulers_secret_goes_to_known_deployments(name: str) -> None:
    """Without an address of its own the scheduler trusts the deployments that the package knows."""
    refuse_foreign_server(DEPLOYMENTS[name], environ={})


@pytest.mark.parametrize(
    ("address", "private"),
    [
        ("tls://10.0.0.7:8786", True),
        ("gateway://proxy.example:443/cubes.1f2e", True),
        ("tcp://127.0.0.1:8786", True),
        ("tcp://localhost:8786", True),
        ("inproc://10.0.0.7/1/1", True),
        ("tcp://10.0.0.7:8786", False),
        ("tcp://scheduler:8786", False),
        ("ws://10.0.0.7:8786", False),
    ],
)
def test_who_else_reads_a_connection(address: str, private: bool) -> None:
    """TLS in any of its names, and this machine's loopback, are nobody else's."""
    assert is_private(address) is private
