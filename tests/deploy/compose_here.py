"""The services of deploy/compose as plain processes on 127.0.0.1: what can be run of them without containers.

Runs each service's own command and health check as compose.yaml has it, but on ports that are free. Refuses to know
what they are; not run are the image, Grafana, and what Docker itself does.
"""

from __future__ import annotations

import contextlib
import os
import re
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from shdask.testing.seaweed import free_ports

ROOT = Path(__file__).parents[2]
COMPOSE = ROOT / "deploy" / "compose" / "compose.yaml"
PORTS = ("8080", "8333", "8340", "8786", "8787", "8888", "9090", "9333")
STARTED = ("emulator", "store", "scheduler", "worker", "prometheus")
"""In this order; Grafana is not among Debian's packages."""
WELL_WITHIN_S = 120.0
END_S = 40.0


def interpolate(text: str, environ: Mapping[str, str]) -> str:
    """``${NAME-default}`` as Compose reads it. Pure."""
    return re.sub(r"\$\{(\w+)-([^}]*)\}", lambda found: environ.get(found[1], found[2]), text)


def read_services(environ: Mapping[str, str] | None = None) -> dict[str, Any]:
    """The services of compose.yaml, with the environment's values."""
    services: dict[str, Any] = yaml.safe_load(interpolate(COMPOSE.read_text(), environ or {}))["services"]
    return services


@dataclass(kw_only=True)
class Here:
    """The services' processes, in a folder of their own."""

    folder: Path
    services: Mapping[str, Any]
    ports: Mapping[str, str]
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def words(self, values: Sequence[str]) -> list[str]:
        """A command as it is run here: on free ports of loopback, with files where they are."""
        places = {
            "0.0.0.0": "127.0.0.1",  # noqa: S104  # replaced
            "-dir=/data": f"-dir={self.folder / 'data'}",
            "/etc/identities.json": str(self.folder / "identities.json"),
            "/job/": f"{COMPOSE.parent / 'job'}/",
            "/check.py": str(COMPOSE.parent / "check.py"),
            "/etc/prometheus/prometheus.yml": str(self.folder / "prometheus.yml"),
            "=/prometheus": f"={self.folder / 'metrics'}",
        }
        found = []
        for value in values:
            text = str(value)
            for there, here in places.items():
                text = text.replace(there, here)
            found.append(self.on_free_ports(text))
        return found

    def on_free_ports(self, text: str) -> str:
        """``text`` with every port of the recipe replaced."""
        return re.sub(rf"(?<![\d.])({'|'.join(PORTS)})\b", lambda port: self.ports[port[1]], text)

    def environ(self, service: Mapping[str, Any]) -> dict[str, str]:
        """The environment here without any keys, and what the service is given."""
        clean = {name: value for name, value in os.environ.items() if not name.startswith(("SH_", "AWS_"))}
        given = {name: self.on_free_ports(str(value)) for name, value in service.get("environment", {}).items()}
        own = {"SHDASK_SPOOL": str(self.folder / "spool"), "XDG_CACHE_HOME": str(self.folder / "cache")}
        return {**clean, **own, "PATH": f"{Path(sys.executable).parent}:{clean['PATH']}", **given}

    def start(self, name: str) -> None:
        """Start as many processes of a service as it has replicas."""
        service = self.services[name]
        command = service["command"] if name != "prometheus" else ["prometheus", *service["command"]]
        for number in range(service.get("deploy", {}).get("replicas", 1)):
            with (self.folder / f"{name}-{number}.log").open("wb") as log:
                self.started.append(
                    subprocess.Popen(
                        self.words(command),
                        env=self.environ(service),
                        stdout=log,
                        stderr=log,
                        cwd=self.folder,
                        start_new_session=True,
                    )
                )

    def wait_until_well(self, name: str) -> None:
        """Until the service's own health check passes. Raises RuntimeError where it does not."""
        check = self.services[name].get("healthcheck", {}).get("test", ["CMD", "true"])[1:]
        deadline = time.monotonic() + WELL_WITHIN_S
        while self.run_command(check, self.services[name]).returncode:
            if time.monotonic() > deadline:
                raise RuntimeError(f"{name} is not well; its last words are in {self.folder}")
            time.sleep(0.5)

    def run_command(self, command: Sequence[str], service: Mapping[str, Any]) -> subprocess.CompletedProcess[str]:
        """What a command of the recipe says, and its exit code."""
        return subprocess.run(
            self.words(command),
            env=self.environ(service),
            capture_output=True,
            text=True,
            check=False,
            timeout=300,
            cwd=self.folder,
        )

    def end(self) -> None:
        """End each process as Docker does: SIGTERM, and SIGKILL for what has not ended in time."""
        for process in reversed(self.started):
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGTERM)
        deadline = time.monotonic() + END_S
        for process in self.started:
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(max(0.1, deadline - time.monotonic()))
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)


@contextlib.contextmanager
def start_here(folder: Path, names: Sequence[str] = STARTED) -> Iterator[Here]:
    """The services of the recipe, well, for the length of a block."""
    here = Here(
        folder=folder, services=read_services(), ports=dict(zip(PORTS, map(str, free_ports(len(PORTS))), strict=True))
    )
    (folder / "data").mkdir()
    identities = yaml.safe_load(interpolate(COMPOSE.read_text(), {}))["configs"]["identities"]["content"]
    (folder / "identities.json").write_text(identities)
    for file in (ROOT / "deploy" / "prometheus").iterdir():
        (folder / file.name).write_text(here.on_free_ports(file.read_text()))
    try:
        for name in names:
            here.start(name)
            here.wait_until_well(name)
        yield here
    finally:
        here.end()


def run_check() -> tuple[int, str]:
    """Start all, build the recipe's cube and check: an exit code, and what was said.

    Raises RuntimeError where Prometheus is not on PATH, or a service does not get well.
    """
    if shutil.which("prometheus") is None:
        raise RuntimeError("prometheus is not on PATH; `make deploy-check` unpacks Debian's package for it")
    with tempfile.TemporaryDirectory(prefix="compose-") as name, start_here(Path(name)) as here:
        here.run_command(here.services["bucket"]["command"], here.services["bucket"]).check_returncode()
        built = here.run_command(here.services["build"]["command"], here.services["build"])
        pages = {"scheduler": "8787", "emulator": "8080", "store": "8333", "prometheus": "9090"}
        where = [word for part, port in pages.items() for word in (f"--{part}", f"http://127.0.0.1:{port}")]
        command = [*here.services["check"]["command"], *where, "--without", "grafana"]
        checked = here.run_command(command, here.services["check"])
    return built.returncode or checked.returncode, f"{built.stderr}{built.stdout}{checked.stdout}{checked.stderr}"


if __name__ == "__main__":
    code, said = run_check()
    sys.stdout.write(said)
    sys.exit(code)
