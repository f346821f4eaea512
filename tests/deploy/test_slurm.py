"""The Slurm recipe as far as it can be seen without Slurm: what it would submit."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

import shdask

RECIPE = Path(__file__).parents[2] / "deploy" / "slurm"
SUBMIT = """
import cluster
with cluster.open_cluster(0) as client:
    print(client.cluster.job_script())
"""


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The job that the recipe submits for a worker."""
    folder = tmp_path_factory.mktemp("slurm")
    settings = (RECIPE / "jobqueue.yaml").read_text().replace("ib0", "lo").replace("127.0.0.1:8787", "127.0.0.1:0")
    (folder / "jobqueue.yaml").write_text(settings)
    places = {"DASK_CONFIG": str(folder), "HOME": str(folder), "PYTHONPATH": str(RECIPE)}
    environment = {**os.environ, **places, "SH_CLIENT_SECRET": "canary"}
    done = subprocess.run(
        [sys.executable, "-c", SUBMIT], cwd=folder, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.mark.parametrize(
    "words",
    [
        "#SBATCH --export=NONE",
        f"exec {sys.executable} -m distributed.cli.dask_worker tls://",
        "--protocol tls",
        "--tls-key ",
        "--lifetime 50m",
        "#SBATCH -t 01:00:00",
    ],
)
def test_job_says(script, words) -> None:
    """No environment, SIGTERM to the worker itself, TLS, and an end of its own before the walltime's."""
    assert words in script


def test_job_holds_no_secret(script) -> None:
    """Neither the account's nor that of the certificates, which are named by their files."""
    assert "canary" not in script
    assert "PRIVATE KEY" not in script


def test_job_file_is_small() -> None:
    """The cube to try the recipe with costs less than its own cap, which is 10 PU."""
    assert shdask.make_plan(RECIPE / "job.toml").only.cost.pu < 10
