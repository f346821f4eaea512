"""Does the recipe of Docker Compose work: image, services, a build, the same again, and every part that is asked?

By the commands of deploy/compose/README.md, with a worker killed before the second build. ``make docker``; parts whose
images cannot be had are named, ``make docker WITHOUT=grafana``.
"""

from __future__ import annotations

import os
import re
import subprocess
from pathlib import Path
from typing import Any

COMMAND = "make docker"
RECIPE = Path(__file__).parents[1] / "deploy" / "compose"
SERVICES = ("emulator", "store", "bucket", "scheduler", "worker", "prometheus", "grafana")
TOLD = re.compile(r"tiles +(\d+): (\d+) written.*?(\d+) done before, (\d+) failed\s+requests +(\d+)", re.DOTALL)


def run() -> dict[str, Any]:
    """What each part says; ends with an error where one does not do its work."""
    without = os.environ.get("WITHOUT", "").split()
    try:
        docker("compose", "build", "net")
        docker("compose", "up", "--detach", *(name for name in SERVICES if name not in without))
        first = build()
        docker("compose", "kill", "--signal", "KILL", "worker")
        docker("compose", "up", "--detach", "worker")
        again = build()
        told = docker("compose", "run", "--rm", "-T", "check", *check_words(without))
        is_told = "SH_CLIENT_SECRET" in docker("compose", "exec", "-T", "worker", "env")
    finally:
        docker("compose", "--profile", "build", "down", "--volumes", "--timeout", "40")
    assert (first["failed"], again["requests"], again["done before"]) == (0, 0, first["tiles"])
    assert not is_told
    return {
        "docker": docker("version", "--format", "{{.Server.Version}}").strip(),
        "compose": docker("compose", "version", "--short").strip(),
        "build": first,
        "the same again, after all workers were killed": again,
        "check": [" ".join(line.split()) for line in told.splitlines() if line.startswith(("ok", "not run"))],
        "workers know the OAuth secret": is_told,
    }


def check_words(without: list[str]) -> list[str]:
    """The recipe's command, and which parts are not asked; nothing where it is the recipe's as it stands."""
    if not without:
        return []
    return ["python", "/check.py", "--cube", "s3://cubes/compose", *(f"--without={name}" for name in without)]


def build() -> dict[str, int]:
    """What the report of a build says."""
    told = TOLD.search(docker("compose", "run", "--rm", "-T", "build"))
    assert told is not None
    return dict(zip(("tiles", "written", "done before", "failed", "requests"), map(int, told.groups()), strict=True))


def docker(*words: str) -> str:
    """What a command prints; ends with its error."""
    ended = subprocess.run(["docker", *words], cwd=RECIPE, capture_output=True, text=True, check=False)
    if ended.returncode:
        raise SystemExit(f"docker {' '.join(words)} ended with {ended.returncode}:\n{ended.stdout}{ended.stderr}")
    return ended.stdout + (ended.stderr if words[:2] == ("compose", "run") else "")
