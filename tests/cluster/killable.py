"""A Dask cluster of processes of their own, to be killed and started again, and the environments of both sides.

Refuses to know what runs on it.
"""

from __future__ import annotations

import contextlib
import os
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from pathlib import Path

import psutil
from distributed import Client

from shdask.emulator.launch import EmulatorProcess

END_S = 120.0


def free_port() -> int:
    """A port that nobody listens on just now."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])


@dataclass(slots=True, kw_only=True)
class DaskProcesses:
    """A scheduler and two workers, each in a process of its own, the second under a nanny; killed and started again."""

    folder: Path
    """Of logs and scratch files."""
    environ: Mapping[str, str]
    """Of the workers; neither they nor the scheduler are told any credentials."""
    scheduler_environ: Mapping[str, str] = field(default_factory=dict)
    """What the scheduler is told besides."""
    port: int = field(default_factory=free_port)
    dashboard: bool = False
    scheduler: subprocess.Popen[bytes] | None = None
    workers: list[subprocess.Popen[bytes] | None] = field(default_factory=lambda: [None, None])

    @property
    def address(self) -> str:
        """Where the scheduler listens."""
        return f"tcp://127.0.0.1:{self.port}"

    def start_missing(self) -> None:
        """Start what does not run; as a supervisor would."""
        if self.scheduler is None or self.scheduler.poll() is not None:
            self.scheduler = self._start("scheduler", "--host", "127.0.0.1", "--port", str(self.port))
        for number, worker in enumerate(self.workers):
            if worker is None or worker.poll() is not None:
                nanny = "--nanny" if number else "--no-nanny"
                words = ["--nthreads", "2", "--host", "127.0.0.1", nanny]
                self.workers[number] = self._start("worker", self.address, *words)

    def wait(self) -> None:
        """Until both workers are there; those that go meanwhile, since their scheduler has gone, are started again."""
        deadline = time.monotonic() + END_S
        while time.monotonic() < deadline:
            self.start_missing()
            with contextlib.suppress(OSError), Client(self.address, timeout=10) as client:
                client.wait_for_workers(2, timeout=5)
                return
        raise RuntimeError("the cluster does not come up")

    def _start(self, *words: str) -> subprocess.Popen[bytes]:
        is_worker = words[0] == "worker"
        more = ["--local-directory", str(self.folder / "scratch")] if is_worker else []
        more += ["--dashboard-address", "127.0.0.1:0"] if self.dashboard else ["--no-dashboard"]
        # the keys of the store are the workers' alone
        environ = {name: value for name, value in self.environ.items() if is_worker or not name.startswith("AWS_")}
        environ |= {} if is_worker else self.scheduler_environ
        with (self.folder / f"{words[0]}.log").open("ab") as log:
            return subprocess.Popen(
                [sys.executable, "-m", "distributed.cli.dask_" + words[0], *words[1:], *more],
                env=environ,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )

    def kill(self, target: str, luck: int) -> None:
        """SIGKILL to what ``target`` names, but for the owner; ``luck`` chooses the one worker."""
        if target in {"everything", "scheduler"}:
            _kill_and_wait(self.scheduler)
        if target in {"everything", "all workers"}:
            for worker in self.workers:
                _kill_and_wait(worker)
        if target == "one worker":
            worker = self.workers[luck % 2]
            inner = _children(worker)
            if inner:  # the nanny lives, and starts another
                inner[0].kill()
            else:
                _kill_and_wait(worker)

    def end(self) -> None:
        """Kill all of them."""
        for process in (*self.workers, self.scheduler):
            _kill_and_wait(process)


def _children(process: subprocess.Popen[bytes] | None) -> list[psutil.Process]:
    try:
        found = psutil.Process(process.pid).children() if process else []
        return [child for child in found if "resource_tracker" not in " ".join(child.cmdline())]
    except psutil.Error:
        return []


def _kill_and_wait(process: subprocess.Popen[bytes] | None) -> None:
    if process is not None:
        kill_tree(process.pid)
        process.wait(10)


def kill_tree(pid: int) -> None:
    """SIGKILL to a process of ours, and to what it started."""
    try:
        family = [psutil.Process(pid), *psutil.Process(pid).children(recursive=True)]
    except psutil.NoSuchProcess:
        return
    for process in family:
        with contextlib.suppress(psutil.NoSuchProcess):
            process.send_signal(signal.SIGKILL)


def owner_environment(service: EmulatorProcess) -> dict[str, str]:
    """The environment here, with credentials for an emulator."""
    return {**worker_environment(), **service.environment()}


def worker_environment() -> dict[str, str]:
    """The environment here, without credentials of any service."""
    clean = {name: value for name, value in os.environ.items() if not name.startswith("SH_")}
    return {**clean, "XDG_CONFIG_HOME": "/nonexistent", "DASK_DISTRIBUTED__ADMIN__SYSTEM_MONITOR__INTERVAL": "5s"}
