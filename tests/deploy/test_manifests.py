"""What lies in deploy/ is what its readers take: each manifest against its schema, each name against what there is."""

from __future__ import annotations

import json
import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from grafana_foundation_sdk.cog.encoder import JSONEncoder
from grafana_foundation_sdk.models.dashboard import Dashboard

from shdask.cluster.metrics import ACCOUNTS, BUILDS, HEARTBEAT
from shdask.plan.spec import CubeSpec
from tests.deploy.alerts import DASHBOARD, RULES, dashboard_queries, rule_queries
from tests.deploy.compose_here import COMPOSE, read_services

DEPLOY = COMPOSE.parents[1]
METRICS = {measure.name for measure, _ in (*BUILDS, *ACCOUNTS)} | {HEARTBEAT.name}
JOBS = sorted(DEPLOY.rglob("job.toml"))
SECRET = "SH_CLIENT_SECRET"


def unknown_metrics(queries: list[str]) -> set[str]:
    """Names of ours in queries that no page of ours shows."""
    return set(re.findall(r"\bshdask_\w+", " ".join(queries))) - METRICS


def test_compose_file_is_one() -> None:
    """compose.yaml holds against the specification's own schema."""
    command = [sys.executable, "-m", "check_jsonschema", "--builtin-schema", "vendor.compose-spec", str(COMPOSE)]
    told = subprocess.run(command, capture_output=True, text=True, check=False)
    assert told.returncode == 0, told.stdout


def test_compose_tells_the_secret_to_the_scheduler_alone() -> None:
    """No other service has the OAuth client's secret in its environment."""
    knowing = {name for name, service in read_services().items() if SECRET in service.get("environment", {})}
    assert knowing == {"scheduler"}


def test_compose_shows_pages_to_this_machine_alone() -> None:
    """Dashboards have no password: every port is published on loopback."""
    ports = [port for service in read_services().values() for port in service.get("ports", [])]
    assert ports == [f"127.0.0.1:{port}:{port}" for port in (8787, 9090, 3000)]


def test_compose_takes_the_service_of_its_environment() -> None:
    """What .env names replaces the emulator."""
    services = read_services({"SH_BASE_URL": "", "SH_TOKEN_URL": "", "SH_CLIENT_ID": "mine"})
    assert not services["build"]["environment"]["SH_BASE_URL"]
    assert services["scheduler"]["environment"]["SH_CLIENT_ID"] == "mine"


@pytest.mark.parametrize("path", JOBS, ids=lambda path: path.parent.name)
def test_jobs_of_recipes_are_jobs(path: Path) -> None:
    """Every job file of a recipe is read as one."""
    assert CubeSpec.from_file(path).layers


def test_alerts_ask_for_what_there_is() -> None:
    """Every metric of ours in an alert rule is on the scheduler's page."""
    assert unknown_metrics(rule_queries()) == set()


def test_dashboard_asks_for_what_there_is() -> None:
    """Every metric of ours in a panel is on the scheduler's page."""
    assert unknown_metrics(dashboard_queries()) == set()


def test_every_metric_and_alert_is_explained() -> None:
    """docs/metrics.md names each metric of the page, and each alert."""
    told = (DEPLOY.parent / "docs" / "metrics.md").read_text()
    alerts = {rule["alert"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]}
    assert {name for name in METRICS | alerts if not re.search(rf"\b{name}\b", told)} == set()


def test_an_unknown_metric_is_noticed() -> None:
    """The two tests above can fail."""
    assert unknown_metrics(['sum(shdask_tyles{state="x"}) / shdask_tiles']) == {"shdask_tyles"}


def lost(value: Any, kept: Any, path: str = "") -> Iterator[str]:
    """Where ``kept`` lacks what ``value`` has, or differs from it."""
    if isinstance(value, dict) and isinstance(kept, dict):
        for name, inner in value.items():
            yield from lost(inner, kept.get(name), f"{path}/{name}")
    elif isinstance(value, list) and isinstance(kept, list) and len(value) == len(kept):
        for number, (inner, held) in enumerate(zip(value, kept, strict=True)):
            yield from lost(inner, held, f"{path}/{number}")
    elif value != kept:
        yield path


def test_grafana_knows_every_field_of_the_dashboard() -> None:
    """Grafana's own model of a dashboard takes the file and gives it back with nothing lost."""
    told = json.loads(DASHBOARD.read_text())
    assert list(lost(told, json.loads(JSONEncoder().encode(Dashboard.from_json(told))))) == []


def test_panels_do_not_overlap() -> None:
    """No cell of Grafana's grid of 24 columns belongs to two panels, and every panel has its own number."""
    panels = json.loads(DASHBOARD.read_text())["panels"]
    places = [panel["gridPos"] for panel in panels]
    cells = [
        (x, y)
        for place in places
        for x in range(place["x"], place["x"] + place["w"])
        for y in range(place["y"], place["y"] + place["h"])
    ]
    assert len(cells) == len(set(cells))
    assert max(x for x, _ in cells) == 23
    assert len({panel["id"] for panel in panels}) == len(panels)


def test_every_alert_has_its_case() -> None:
    """`promtool test rules` (make alerts) meets every alert at least once."""
    alerts = {rule["alert"] for group in yaml.safe_load(RULES.read_text())["groups"] for rule in group["rules"]}
    cases = RULES.with_name("alerts.test.yml").read_text()
    assert {alert for alert in alerts if alert not in cases} == set()
