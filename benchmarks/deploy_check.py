"""Do the services of deploy/compose build a cube and tell of it, as plain processes on this machine?"""

from __future__ import annotations

import subprocess
from typing import Any

from tests.deploy.compose_here import run_check


def run() -> dict[str, Any]:
    """What check.py of the recipe found; not run are the image, Grafana, and what Docker itself does."""
    code, said = run_check()
    checked = [line for line in said.splitlines() if line.startswith(("ok ", "failed ", "not run "))]
    version = subprocess.run(["prometheus", "--version"], capture_output=True, text=True, check=True)
    return {"exit_code": code, "check": checked, "prometheus": (version.stdout or version.stderr).splitlines()[0]}
