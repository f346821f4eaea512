"""Very many tiles through a LocalCluster in a process of its own, whose service answers at once.

Everything is the product's own but the transport, one of its seams, which asks nobody. Where the engine alone is asked
for, the fetch returns at once, without a request and its decoding.
"""

from __future__ import annotations

import io
import json
import os
import subprocess
import sys
import time
import warnings
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path

import numpy as np
import psutil
import rasterio
from distributed import Client, Scheduler, Worker
from distributed.diagnostics.plugin import SchedulerPlugin, WorkerPlugin

import shdask
from shdask import run_tiles
from shdask.cluster import scheduler_plugin, worker_plugin
from shdask.fetch.client import Spent
from shdask.fetch.transport import HttpAnswer, Timeouts
from shdask.model import Tile, TileData, TileEvent
from shdask.plan.group import GroupPlan

TILE_PX = 8
COLUMNS = 1000
PU = 0.001
ENVIRONMENT = {
    "SH_CLIENT_ID": "scale",
    "SH_CLIENT_SECRET": "scale",
    "SH_BASE_URL": "https://nothing.example",
    "SH_TOKEN_URL": "https://nothing.example/token",
    "SHDASK_LEARN": "0",
}
CLUSTER = """
import sys
from shdask.cluster.local import open_local_client
if __name__ == "__main__":
    with open_local_client({workers}) as client:
        print(client.scheduler.address, flush=True)
        sys.stdin.read()
"""


class InstantService:
    """A Transport that sends nothing, and answers each request for a picture with the same one."""

    picture = b""

    def __init__(self, pool_size: int) -> None:
        """As `RequestsTransport`."""

    def post(self, url: str, *, headers: Mapping[str, str], body: bytes, timeouts: Timeouts) -> HttpAnswer:
        """As `send`."""
        return self.send("POST", url, headers=headers, body=body, timeouts=timeouts)

    def send(
        self, method: str, url: str, *, headers: Mapping[str, str], body: bytes | None, timeouts: Timeouts
    ) -> HttpAnswer:
        """A token where a token is asked for, else the picture, in memory of its own."""
        del method, headers, body, timeouts
        if url.endswith("/token"):
            token = json.dumps({"access_token": "scale", "expires_in": 3600}).encode()
            return HttpAnswer(status=200, headers={"content-type": "application/json"}, body=token)
        heads = {"content-type": "image/tiff", "x-processingunits-spent": str(PU)}
        return HttpAnswer(status=200, headers=heads, body=bytes(bytearray(self.picture)))

    def close(self) -> None:
        """Holds nothing."""


@cache
def make_picture(bands: int, side_px: int, value: int) -> bytes:
    """A TIFF of ``side_px`` x ``side_px`` pixels that all hold ``value``, not compressed; the last band is the mask."""
    with warnings.catch_warnings(), io.BytesIO() as file:
        warnings.simplefilter("ignore", rasterio.errors.NotGeoreferencedWarning)
        profile = {"driver": "GTiff", "count": bands, "dtype": "uint16", "height": side_px, "width": side_px}
        with rasterio.open(file, "w", **profile) as target:
            target.write(np.full((bands, side_px, side_px), value, np.uint16))
        return file.getvalue()


def fetch_nothing(plan: GroupPlan, tiles: Sequence[Tile], *_: object, spent: Spent, **__: object) -> list[TileData]:
    """Stands for ``fetch_tiles``: returns at once, with no valid pixel."""
    spent.requests += 1
    spent.pu += PU
    shape = tiles[0].extent.shape
    values = np.zeros((len(plan.layer.bands), *shape), np.uint16)
    return [TileData(values=values, data_mask=np.zeros(shape, np.bool_)) for _ in tiles]


class AnswerOnScheduler(SchedulerPlugin):
    """Puts the instant service in the place of HTTP on the scheduler."""

    def start(self, scheduler: Scheduler) -> None:
        """As Dask calls it."""
        del scheduler
        scheduler_plugin.RequestsTransport = InstantService


class AnswerOnWorkers(WorkerPlugin):
    """Puts the instant service in the place of HTTP on each worker, or a fetch that asks nobody."""

    def __init__(self, *, engine_alone: bool) -> None:
        self._engine_alone = engine_alone

    def setup(self, worker: Worker) -> None:
        """As Dask calls it."""
        del worker
        worker_plugin.RequestsTransport = InstantService
        InstantService.picture = make_picture(2, TILE_PX, 0)
        if self._engine_alone:
            run_tiles.fetch_tiles = fetch_nothing


def make_spec(tiles: int) -> shdask.CubeSpec:
    """``tiles`` tiles of 8 px and one band, a thousand to a row at most, and no limit that binds."""
    columns = min(tiles, COLUMNS)
    step = TILE_PX * 10
    return shdask.CubeSpec(
        aoi=[500_000, 4_000_000, 500_000 + columns * step, 4_000_000 + tiles // columns * step],
        aoi_crs="EPSG:32633",
        crs="EPSG:32633",
        resolution=10,
        time=["2024-06-01", "2024-06-30"],
        layers={"s2": {"collection": "sentinel-2-l2a", "bands": ["B04"]}},
        store={"chunk_px": TILE_PX, "tile_px": TILE_PX, "sharded": False},
        service={"requests_per_minute": 60e6, "pu_per_minute": 60e6},
    )


@contextmanager
def start_cluster(workers: int = 2) -> Iterator[tuple[str, dict[str, psutil.Process]]]:
    """The address of a LocalCluster in a process of its own, and the processes of its scheduler and workers."""
    root = str(Path(__file__).parents[2])
    child = subprocess.Popen(
        [sys.executable, "-c", CLUSTER.format(workers=workers)],
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        env={**os.environ, "PYTHONPATH": root},
    )
    assert child.stdin is not None
    assert child.stdout is not None
    try:
        address = child.stdout.readline().strip()
        scheduler = psutil.Process(child.pid)
        found = [each for each in scheduler.children() if "spawn_main" in " ".join(each.cmdline())]
        yield address, {"scheduler": scheduler, **{f"worker-{number}": each for number, each in enumerate(found)}}
    finally:
        child.stdin.close()
        child.wait(60)
        child.stdout.close()


@dataclass(kw_only=True)
class Watch:
    """What each process holds and has worked when so many tiles were recorded."""

    processes: dict[str, psutil.Process]
    at: Sequence[int]
    told: bytearray
    """How often each tile was told of."""
    begun: float = field(default_factory=time.monotonic)
    seen: int = 0
    first_s: float = 0.0
    """From the call of ``build_cube`` until the first tile was recorded."""
    samples: dict[int, dict[str, dict[str, float]]] = field(default_factory=dict)
    seconds: dict[int, float] = field(default_factory=dict)

    def look(self, event: TileEvent) -> None:
        """Hears of a tile."""
        self.seen += 1
        self.told[event.tile] += 1
        if self.seen == 1:
            self.first_s = time.monotonic() - self.begun
        if self.seen in self.at:
            self.seconds[self.seen] = round(time.monotonic() - self.begun, 2)
            self.samples[self.seen] = {name: _held(process) for name, process in self.processes.items()}

    def slopes(self) -> dict[str, dict[str, float]]:
        """What a tile has cost each process from the first look to the last."""
        (first, before), *_, (last, after) = self.samples.items()
        return {
            name: {
                "cpu_us": round((after[name]["cpu_s"] - before[name]["cpu_s"]) / (last - first) * 1e6, 1),
                "rss_bytes": round((after[name]["rss_mb"] - before[name]["rss_mb"]) / (last - first) * 1e6, 1),
            }
            for name in self.processes
        }

    def tiles_per_s(self) -> float:
        """From the first look to the last."""
        (first, begun), *_, (last, ended) = self.seconds.items()
        return round((last - first) / (ended - begun), 1)


def _held(process: psutil.Process) -> dict[str, float]:
    times = process.cpu_times()
    return {"rss_mb": round(process.memory_info().rss / 1e6, 2), "cpu_s": round(times.user + times.system, 2)}


def build(folder: Path, tiles: int, *, shares: Sequence[float], engine_alone: bool) -> Watch:
    """Build ``tiles`` tiles below ``folder``, and look at each process when these ``shares`` of them were recorded.

    The environment must hold what `ENVIRONMENT` says.
    """
    with start_cluster() as (address, processes), Client(address) as client:
        client.register_plugin(AnswerOnScheduler())
        client.register_plugin(AnswerOnWorkers(engine_alone=engine_alone))
        plan = shdask.make_plan(make_spec(tiles))
        watched = {"client": psutil.Process(), **processes}
        watch = Watch(processes=watched, at=[int(tiles * share) for share in shares], told=bytearray(tiles))
        shdask.build_cube(plan, folder / "cube", client=client, on_event=watch.look).raise_for_failures()
    return watch
