"""Do the services of deploy/compose and the pods of deploy/kubernetes build a cube, as plain processes here?"""

from __future__ import annotations

import subprocess
from typing import Any

from tests.deploy.compose_here import run_check
from tests.deploy.kubernetes_here import run_pods


def run() -> dict[str, Any]:
    """What each recipe's own commands came to; not run are images, Docker, Kubernetes, the operator and Grafana."""
    code, said = run_check()
    checked = [line for line in said.splitlines() if line.startswith(("ok ", "failed ", "not run "))]
    version = subprocess.run(["prometheus", "--version"], capture_output=True, text=True, check=True)
    prometheus = (version.stdout or version.stderr).splitlines()[0]
    return {"compose": {"exit_code": code, "check": checked, "prometheus": prometheus}, "kubernetes": run_pods()}
