"""What does an open page of builds cost the scheduler while 200,000 tiles come in?

A scheduler process hears of 100 tiles a second of a build of 400 x 500 tiles, some time with nobody looking and some
with chromium on the page, in turn. CPU seconds of the scheduler's process, as a share of the time.
"""

from __future__ import annotations

import asyncio
import statistics
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import asdict
from pathlib import Path
from tempfile import TemporaryDirectory
from typing import Any

import numpy as np
import psutil
from distributed import Client

from shdask.cluster.build_view import Note, Opening, pack_states
from shdask.cluster.telling import pack_events
from shdask.cluster.watch import BuildWatch
from shdask.model import TileEvent, TileState
from tests.browser.chromium import open_browser

GRID = (400, 500)
TILES_PER_S = 100
BEAT_S = 0.2
MEASURED_S = 20.0
SETTLED_S = 3.0
"""Opening a page costs once."""
TURNS = 3


class Owner:
    """Tells of tiles as workers do, and of progress as an owner does."""

    def __init__(self, client: Client) -> None:
        self._client = client
        self._told = 0

    def begin(self) -> None:
        """Let the scheduler watch a build."""
        self._client.register_plugin(BuildWatch())
        opening = Opening(
            key="bench",
            store="/bench.zarr",
            layer="sentinel-2-l2a: B02, B03, B04",
            account="none",
            grid_shape=GRID,
            steps=(),
            states=pack_states(np.zeros(GRID[0] * GRID[1], np.uint8)),
            max_pu=None,
        )
        words: dict[str, Any] = {"opening": asdict(opening), "client": self._client.id, "build": "bench"}
        self._client.sync(self._client.scheduler.shdask_watch_open, **words)

    def tell_for(self, seconds: float) -> None:
        """Tiles in five messages a second, and a note every second."""
        self._client.sync(self._tell_for, seconds)

    async def _tell_for(self, seconds: float) -> None:
        ask, until = self._client.scheduler, time.monotonic() + seconds
        beat = 0
        while time.monotonic() < until:
            events = [self._event() for _ in range(int(TILES_PER_S * BEAT_S))]
            await ask.log_event(topic="shdask-bench", msg=pack_events(events))
            if beat % 5 == 0:
                note = Note(requests=self._told, pu_spent=self._told / 10, pu_projected=2e4, waiting_for="answers")
                await ask.shdask_watch_note(key="bench", note=asdict(note), told=pack_events([]))
            beat += 1
            await asyncio.sleep(BEAT_S)

    def _event(self) -> TileEvent:
        self._told += 1
        place = self._told * 7919 % (GRID[0] * GRID[1])  # all over the map
        return TileEvent(tile=place, state=TileState.WRITTEN, seconds=place % 13 / 7, worker="tcp://w", finished=1.0)


def measure(owner: Owner, scheduler: psutil.Process) -> float:
    """The scheduler's CPU time as a share of the wall time."""
    before, started = sum(scheduler.cpu_times()[:2]), time.monotonic()
    owner.tell_for(MEASURED_S)
    return (sum(scheduler.cpu_times()[:2]) - before) / (time.monotonic() - started)


@contextmanager
def start_scheduler() -> Iterator[tuple[Client, psutil.Process]]:
    """A scheduler in a process of its own."""
    with TemporaryDirectory() as folder:
        file = Path(folder, "scheduler.json")
        words = ["--host", "127.0.0.1", "--port", "0", "--dashboard-address", "127.0.0.1:0", "--scheduler-file", file]
        process = subprocess.Popen(
            [sys.executable, "-m", "dask", "scheduler", *map(str, words)], stderr=subprocess.DEVNULL
        )
        try:
            while not file.exists():
                time.sleep(0.1)
            with Client(scheduler_file=str(file)) as client:
                yield client, psutil.Process(process.pid)
        finally:
            process.terminate()
            process.wait(20)


def page_of(client: Client) -> str:
    """The page's address; a client of a scheduler that it did not start knows the dashboard's port alone."""
    port = client.scheduler_info()["services"]["dashboard"]
    return f"http://127.0.0.1:{port}/shdask"


def run() -> dict[str, Any]:
    """In turn, so that a busy machine disturbs both alike."""
    closed, opened = [], []
    with start_scheduler() as (client, scheduler):
        owner = Owner(client)
        owner.begin()
        owner.tell_for(SETTLED_S)
        for _ in range(TURNS):
            closed.append(measure(owner, scheduler))
            with open_browser() as browser:
                browser.open(page_of(client))
                owner.tell_for(SETTLED_S)
                opened.append(measure(owner, scheduler))
            owner.tell_for(SETTLED_S)
    shares = {"without_a_page": statistics.median(closed), "with_an_open_page": statistics.median(opened)}
    return {
        "tiles": GRID[0] * GRID[1],
        "tiles_told_per_s": TILES_PER_S,
        "cpu_share": {**shares, "of_the_page": shares["with_an_open_page"] - shares["without_a_page"]},
        "turns": {"without_a_page": closed, "with_an_open_page": opened},
    }
