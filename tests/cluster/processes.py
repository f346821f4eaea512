"""A cluster whose scheduler and workers are processes of their own, to be frozen, ended and killed."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

from distributed import Client


@dataclass
class Processes:
    """Everything that was started; killed at the end."""

    folder: Path
    started: list[subprocess.Popen[bytes]] = field(default_factory=list)
    address: str = ""

    def start_scheduler(self) -> subprocess.Popen[bytes]:
        """A scheduler on a free port of 127.0.0.1; ``address`` is where it listens."""
        place = self.folder / f"scheduler-{len(self.started)}.json"
        process = self._start("scheduler", "--port", "0", "--no-dashboard", "--scheduler-file", place)
        wait_until(place.exists)
        with Client(scheduler_file=str(place)) as client:
            self.address = client.scheduler_info()["address"]
        return process

    def start_worker(self, name: str, *, nanny: bool = False) -> subprocess.Popen[bytes]:
        """A worker of two threads, which has joined the scheduler."""
        kind = "--nanny" if nanny else "--no-nanny"
        words = [self.address, kind, "--nthreads", "2", "--name", name, "--no-dashboard", "--memory-limit", "0"]
        process = self._start("worker", *words, "--local-directory", self.folder)
        with Client(self.address) as client:
            wait_until(lambda: name in {worker["name"] for worker in client.scheduler_info(-1)["workers"].values()})
        return process

    def _start(self, kind: str, *words: object) -> subprocess.Popen[bytes]:
        command = [sys.executable, "-m", "dask", kind, "--host", "127.0.0.1", *map(str, words)]
        log = (self.folder / f"{kind}-{len(self.started)}.log").open("wb")
        with log:
            process = subprocess.Popen(command, stdout=log, stderr=log, start_new_session=True)
        self.started.append(process)
        return process

    def kill_all(self) -> None:
        """Kill each process with its children."""
        for process in self.started:
            kill_group(process)
            process.wait(10)


def kill_group(process: subprocess.Popen[bytes]) -> None:
    """Kill a process of a session of its own, and what it has started."""
    try:
        os.killpg(process.pid, signal.SIGKILL)
    except ProcessLookupError:
        return


def wait_until(holds: Callable[[], bool], timeout_s: float = 40.0) -> float:
    """Wait until something holds; the seconds it took. Raises AssertionError when it does not."""
    started = time.monotonic()
    while not holds():
        assert time.monotonic() - started < timeout_s, "it did not happen in time"
        time.sleep(0.05)
    return time.monotonic() - started


@contextmanager
def start_processes(folder: Path) -> Iterator[Processes]:
    """A scheduler, and whatever is started later; all are gone afterwards."""
    processes = Processes(folder=folder)
    try:
        processes.start_scheduler()
        yield processes
    finally:
        processes.kill_all()
