"""The containers of deploy/kubernetes as plain processes on 127.0.0.1: their own commands and variables, over TLS.

Refuses to know what they are; not run are Kubernetes, the operator, and what they do with probes, grace and policies.
"""

from __future__ import annotations

import contextlib
import json
import os
import signal
import subprocess
import sys
import tempfile
import time
import urllib.request
from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

import yaml

from shdask.emulator.launch import start_emulator
from shdask.testing.seaweed import free_ports

FOLDER = Path(__file__).parents[2] / "deploy" / "kubernetes"
CERTIFICATE = (
    "openssl", "req", "-x509", "-newkey", "ec", "-pkeyopt", "ec_paramgen_curve:P-256", "-nodes", "-days", "365",
    "-subj", "/CN=shdask", "-addext", "subjectAltName=DNS:cubes-scheduler", "-keyout", "tls.key", "-out", "tls.crt",
)  # fmt: skip  # the command of the recipe's README
PORTS = ("8786", "8787", "8788")
WELL_WITHIN_S = 60.0


def read_containers() -> dict[str, dict[str, Any]]:
    """The one container of each pod, by its name."""
    found = [one for path in sorted(FOLDER.glob("*.yaml")) for one in yaml.safe_load_all(path.read_text())]
    kinds = {one["kind"]: one["spec"] for one in found}
    cluster = kinds["DaskCluster"]
    pods = [cluster["scheduler"]["spec"], cluster["worker"]["spec"], kinds["Job"]["template"]["spec"]]
    return {box["name"]: box for pod in pods for box in pod["containers"]}


@dataclass(kw_only=True)
class Pods:
    """The processes, in a folder of their own."""

    folder: Path
    secrets: Mapping[str, Mapping[str, str]]
    containers: Mapping[str, Any] = field(default_factory=read_containers)
    ports: Mapping[str, str] = field(default_factory=lambda: dict(zip(PORTS, map(str, free_ports(3)), strict=True)))
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)

    def word(self, value: str) -> str:
        """A word of a command or variable as it is here."""
        places = {
            "/tls/": f"{self.folder}/",
            "/job/": f"{FOLDER}/",
            "/scratch": f"{self.folder}/scratch",
            "s3://cubes/": f"{self.folder}/",
            "cubes-scheduler": "127.0.0.1",
            "$(DASK_WORKER_NAME)": "worker-0",
            **{f":{port}": f":{here}" for port, here in self.ports.items()},
        }
        for there, here in places.items():
            value = value.replace(there, here)
        return self.ports.get(value, f"127.0.0.1{value}" if value.startswith(":") else value)

    def command(self, name: str) -> list[str]:
        """What the container runs."""
        return [self.word(word) for word in self.containers[name]["args"]]

    def environ(self, name: str) -> dict[str, str]:
        """What the container is given, and nothing of ours that it should get from there."""
        box = self.containers[name]
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("SH_", "AWS_", "DASK_"))}
        given = {entry["name"]: self.word(entry["value"]) for entry in box["env"]}
        shared = [self.secrets[source["secretRef"]["name"]] for source in box["envFrom"]]
        home = {"HOME": str(self.folder), "PATH": f"{Path(sys.executable).parent}:{clean['PATH']}"}
        return {**clean, **home, **given, **{key: value for secret in shared for key, value in secret.items()}}

    def start(self, name: str) -> None:
        """Start a container that stays."""
        host = ["--host", "tls://127.0.0.1" if name == "worker" else "127.0.0.1"]
        with (self.folder / f"{name}.log").open("wb") as log:
            words = [*self.command(name), *host]
            process = subprocess.Popen(
                words, env=self.environ(name), stdout=log, stderr=log, cwd=self.folder, start_new_session=True
            )
        self.started.append(process)
        port = next(box["containerPort"] for box in self.containers[name]["ports"] if box["name"] == "http-dashboard")
        deadline = time.monotonic() + WELL_WITHIN_S
        while time.monotonic() < deadline:
            with contextlib.suppress(OSError):
                self.read(f"{port}/health")
                return
            time.sleep(0.3)
        raise RuntimeError(f"the {name} is not well: {(self.folder / f'{name}.log').read_text()[-2000:]}")

    def read(self, page: str) -> str:
        """What a page says, by the port that the recipe has it on."""
        port, _, path = page.partition("/")
        opener = urllib.request.build_opener(urllib.request.ProxyHandler({}))
        with opener.open(f"http://127.0.0.1:{self.ports[port]}/{path}", timeout=10) as answer:
            return str(answer.read().decode())

    def end(self) -> None:
        """As Kubernetes: SIGTERM, and SIGKILL for what has not ended within its grace."""
        for process in reversed(self.started):
            process.terminate()
            with contextlib.suppress(subprocess.TimeoutExpired):
                process.wait(40)
            with contextlib.suppress(ProcessLookupError):
                os.killpg(process.pid, signal.SIGKILL)
            process.wait(10)


@contextlib.contextmanager
def start_pods(folder: Path) -> Iterator[Pods]:
    """Scheduler and worker, well, and an emulator whose account the scheduler alone has."""
    subprocess.run(CERTIFICATE, cwd=folder, check=True, capture_output=True)
    with start_emulator(plan="trial") as service:
        known = service.environment()
        url = {"SH_BASE_URL": known["SH_BASE_URL"], "SH_TOKEN_URL": known["SH_TOKEN_URL"]}
        account = {**known, "SH_BASE_URL": ""}
        pods = Pods(folder=folder, secrets={"shdask-account": account, "shdask-bucket": url})
        try:
            pods.start("scheduler")
            pods.start("worker")
            yield pods
        finally:
            pods.end()


def run_pods() -> dict[str, Any]:
    """Build the recipe's cube as its pods would: what the owner said, and what was seen on the scheduler's pages."""
    with tempfile.TemporaryDirectory(prefix="pods-") as name, start_pods(Path(name)) as pods:
        idle = json.loads(pods.read("8787/api/v1/adaptive_target"))
        owner = subprocess.run(
            pods.command("owner"), env=pods.environ("owner"), capture_output=True, text=True, check=False, timeout=300
        )
        metrics = pods.read("8787/metrics")
    return {
        "exit_code": owner.returncode,
        "owner": owner.stdout.splitlines()[:3],
        "errors": owner.stderr.splitlines()[-5:] if owner.returncode else [],
        "workers_wanted_when_idle": idle["workers"],
        "metrics": len({line.split("{")[0] for line in metrics.splitlines() if line.startswith("shdask_")}),
    }


if __name__ == "__main__":
    found = run_pods()
    sys.stdout.write(json.dumps(found, indent=1) + "\n")
    sys.exit(found["exit_code"])
