"""The certificates of the recipe for several machines."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest

RECIPE = Path(__file__).parents[2] / "deploy" / "hosts"
SPEAK = """
from distributed import Client, LocalCluster
from distributed.security import Security
if __name__ == "__main__":
    with LocalCluster(n_workers=1, processes=False, protocol="tls://", host="127.0.0.1", dashboard_address=None,
                      security=Security()) as cluster, Client(cluster.scheduler_address) as client:
        print(client.submit(sum, [1, 2]).result(), client.scheduler.address.split(":")[0])
"""


@pytest.fixture
def variables(tmp_path: Path) -> dict[str, str]:
    """What a shell would export."""
    command = [sys.executable, RECIPE / "make_certificates.py", tmp_path / "tls"]
    told = subprocess.run(command, capture_output=True, text=True, check=True).stdout
    return dict(line.removeprefix("export ").split("=", 1) for line in told.splitlines())


def test_cluster_speaks_tls_with_them(variables, tmp_path) -> None:
    """Scheduler, worker and client take them from the variables that the script prints."""
    environment = {**os.environ, **variables}
    done = subprocess.run(
        [sys.executable, "-c", SPEAK], cwd=tmp_path, env=environment, capture_output=True, text=True, check=True
    )
    assert done.stdout == "3 tls\n"


def test_nobody_else_reads_them(variables) -> None:
    """Each file is its owner's alone."""
    assert {Path(place).stat().st_mode & 0o777 for place in variables.values()} == {0o600}
