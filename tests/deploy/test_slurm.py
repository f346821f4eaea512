"""The Slurm recipe as far as it can be seen without Slurm: what it would submit."""

from __future__ import annotations

import os
import shutil
import subprocess
import sys
from pathlib import Path

import pytest

import shdask

RECIPE = Path(__file__).parents[2] / "deploy" / "slurm"
SUBMIT = """
from dask_jobqueue import SLURMCluster
with SLURMCluster(security=True, interface="lo") as cluster:
    print(cluster.job_script())
"""
"""As cluster.py opens it, on an interface that is here."""


@pytest.fixture(scope="module")
def script(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The job that the recipe submits for a worker."""
    folder = tmp_path_factory.mktemp("slurm")
    shutil.copy(RECIPE / "jobqueue.yaml", folder)
    environment = {**os.environ, "DASK_CONFIG": str(folder), "HOME": str(folder), "SH_CLIENT_SECRET": "canary"}
    done = subprocess.run(
        [sys.executable, "-c", SUBMIT], cwd=folder, env=environment, capture_output=True, text=True, check=True
    )
    return done.stdout


@pytest.mark.parametrize(
    "words",
    ["#SBATCH --export=NONE", "trap : TERM", "--protocol tls", "--tls-key ", "--lifetime 50m", "#SBATCH -t 01:00:00"],
)
def test_job_says(script, words) -> None:
    """No environment, time to write, TLS, and an end of its own before the walltime's."""
    assert words in script


def test_job_holds_no_secret(script) -> None:
    """Neither the account's nor that of the certificates, which are named by their files."""
    assert "canary" not in script
    assert "PRIVATE KEY" not in script


def test_job_file_is_small() -> None:
    """The cube to try the recipe with costs less than its own cap, which is 10 PU."""
    assert shdask.make_plan(RECIPE / "job.toml").only.cost.pu < 10
