"""Holds alert rules and dashboard against Prometheus's own tool: ``python -m tests.deploy.alerts`` (make alerts)."""

from __future__ import annotations

import json
import re
import shutil
import subprocess
import sys
import tempfile
from pathlib import Path

import yaml

DEPLOY = Path(__file__).parents[2] / "deploy"
DASHBOARD = DEPLOY / "grafana" / "shdask.json"
RULES = DEPLOY / "prometheus" / "alerts.yml"


def dashboard_queries() -> list[str]:
    """Every query of the dashboard, with its variables as Grafana fills them in."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    found = [target["expr"] for panel in panels for target in panel.get("targets", [])]
    return [re.sub(r"\$\w+", ".*", query) for query in found]


def rule_queries() -> list[str]:
    """Every query of the alert rules."""
    return [rule["expr"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]]


def main() -> int:
    """Check configuration, rules, their cases, and the dashboard's queries; the number of complaints."""
    if shutil.which("promtool") is None:
        sys.stderr.write("promtool is not on PATH; `make alerts` unpacks Debian's package for it\n")
        return 1
    with tempfile.TemporaryDirectory() as folder:
        records = [{"record": f"panel:{number}", "expr": query} for number, query in enumerate(dashboard_queries())]
        queries = Path(folder) / "dashboard.yml"
        queries.write_text(yaml.safe_dump({"groups": [{"name": "dashboard", "rules": records}]}))
        checks = (
            ["check", "config", "prometheus.yml"],
            ["check", "rules", "alerts.yml"],
            ["test", "rules", "alerts.test.yml"],
            ["check", "rules", str(queries)],
        )
        return sum(subprocess.run(["promtool", *check], cwd=RULES.parent, check=False).returncode for check in checks)


if __name__ == "__main__":
    sys.exit(main())
