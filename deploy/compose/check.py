#!/usr/bin/env python3
"""Ask each part of the cluster whether it does its work: ``python check.py``; ends with 1 where one does not.

Refuses to mend anything.
"""

from __future__ import annotations

import argparse
import json
import subprocess
import sys
import time
import urllib.parse
import urllib.request
from collections.abc import Callable, Mapping
from typing import Any

PATIENCE_S = 60.0


def main() -> int:
    """Ask all of them; returns how many do not do their work."""
    parser = argparse.ArgumentParser(description=__doc__)
    parser.add_argument("--scheduler", default="http://127.0.0.1:8787", help="Dask's dashboard")
    parser.add_argument("--emulator", default="http://127.0.0.1:8080")
    parser.add_argument("--store", default="http://127.0.0.1:8333", help="the S3")
    parser.add_argument("--prometheus", default="http://127.0.0.1:9090")
    parser.add_argument("--grafana", default="http://127.0.0.1:3000")
    parser.add_argument("--cube", default="s3://cubes/compose")
    parser.add_argument("--workers", type=int, default=2, help="how many there should be")
    parser.add_argument("--without", action="append", default=[], help="a part that is not there; can be repeated")
    words = parser.parse_args()
    checks: Mapping[str, Callable[[], str]] = {
        "scheduler": lambda: find_workers(words.scheduler, words.workers),
        "metrics": lambda: find_metrics(words.scheduler),
        "emulator": lambda: find_sales(words.emulator),
        "store": lambda: read(f"{words.store}/healthz").decode() or "answers",
        "cube": lambda: find_cube(words.cube),
        "prometheus": lambda: find_scrapes(words.prometheus),
        "alerts": lambda: find_rules(words.prometheus),
        "grafana": lambda: find_dashboard(words.grafana),
    }
    found = {name: wait_for(check) for name, check in checks.items() if name not in words.without}
    for name, (works, text) in found.items():
        sys.stdout.write(f"{'ok' if works else 'failed':<8} {name:<12} {text}\n")
    for name in words.without:
        sys.stdout.write(f"{'not run':<8} {name}\n")
    return sum(not works for works, _ in found.values())


def wait_for(check: Callable[[], str]) -> tuple[bool, str]:
    """Whether a check holds within a minute, and what it says."""
    deadline = time.monotonic() + PATIENCE_S
    while True:
        try:
            return True, check()
        except Exception as error:  # noqa: BLE001  # whatever a part that is not well answers
            if time.monotonic() > deadline:
                return False, f"{type(error).__name__}: {error}"
            time.sleep(1.0)


def read(url: str) -> bytes:
    """What a page of this machine says."""
    opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))  # a proxy knows no loopback of ours
    with opener.open(url, timeout=10) as answer:
        content: bytes = answer.read()
        return content


def find_workers(scheduler: str, wanted: int) -> str:
    """The scheduler lives, and as many workers as there should be have joined."""
    read(f"{scheduler}/health")
    lines = read(f"{scheduler}/metrics").decode().splitlines()
    count = sum(float(line.split()[-1]) for line in lines if line.startswith("dask_scheduler_workers{"))
    if count < wanted:
        raise RuntimeError(f"{count:.0f} of {wanted} workers have joined")
    return f"{count:.0f} workers"


def find_metrics(scheduler: str) -> str:
    """The page of metrics tells of builds."""
    lines = read(f"{scheduler}/metrics").decode().splitlines()
    names = {line.split("{")[0] for line in lines if line.startswith("shdask_")}
    if "shdask_token_age_seconds" not in names:
        raise RuntimeError("no build has logged in since the scheduler started: docker compose run --rm build")
    return f"{len(names)} metrics of shdask"


def find_sales(emulator: str) -> str:
    """The service has sold something."""
    stats = json.loads(read(f"{emulator}/emulator/stats"))
    sold = sum(count for call, count in stats["calls"].items() if call.endswith("/process 200"))
    return f"{sold} requests answered with pixels"


def find_cube(cube: str) -> str:
    """The cube is complete, by its own word."""
    command = [sys.executable, "-m", "shdask", "status", cube, "--json"]
    told = json.loads(subprocess.run(command, capture_output=True, check=True).stdout)  # noqa: S603  # our own
    if not told["complete"]:
        raise RuntimeError(f"{cube} is not complete")
    return f"{told['written']} of {told['tiles']} tiles written"


def find_scrapes(prometheus: str) -> str:
    """Prometheus reads the scheduler's page, and knows tiles."""
    targets, tiles = (ask(prometheus, query) for query in ('up{job="shdask"}', 'sum(shdask_tiles{state="written"})'))
    return f"{targets:.0f} target, {tiles:.0f} tiles written"


def ask(prometheus: str, query: str) -> float:
    """The one value that a query has. Raises IndexError where it has none."""
    page = f"{prometheus}/api/v1/query?{urllib.parse.urlencode({'query': query})}"
    answer: dict[str, Any] = json.loads(read(page))
    return float(answer["data"]["result"][0]["value"][1])


def find_rules(prometheus: str) -> str:
    """The alert rules are loaded, and all can be computed."""
    groups = json.loads(read(f"{prometheus}/api/v1/rules"))["data"]["groups"]
    rules = [rule for group in groups for rule in group["rules"]]
    ill = [rule["name"] for rule in rules if rule["health"] == "err"]
    if ill or not rules:
        raise RuntimeError(f"{len(rules)} rules, of which cannot be computed: {ill}")
    firing = sorted(rule["name"] for rule in rules if rule["state"] == "firing")
    return f"{len(rules)} rules, firing: {', '.join(firing) or 'none'}"


def find_dashboard(grafana: str) -> str:
    """Grafana has taken the dashboard."""
    told = json.loads(read(f"{grafana}/api/dashboards/uid/shdask"))
    return f"dashboard {told['dashboard']['title']}, {len(told['dashboard']['panels'])} panels"


if __name__ == "__main__":
    sys.exit(main())
