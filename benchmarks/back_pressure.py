"""How many bytes does a worker hold while large tiles come faster than a slow store takes them?"""

from __future__ import annotations

import os
import tempfile
import threading
import time
from pathlib import Path
from typing import Any
from unittest import mock

import psutil
from distributed import Client, Worker
from distributed.diagnostics.plugin import WorkerPlugin
from distributed.system import MEMORY_LIMIT

import shdask
from shdask.assemble.store import CubeStore, StoredTile
from shdask.cluster import worker_plugin
from shdask.model import Tile, TileData
from tests.cluster import scale

TILES = 24
TILE_PX = 2048
BANDS = ("B02", "B03", "B04")
SLOW_S = 0.5
FLIGHT_MB = worker_plugin.COPIES * TILE_PX**2 * 2 * (len(BANDS) + 1) / 1e6
ROOM_MB = 500
LOOK_S = 0.05


class SlowStore(WorkerPlugin):
    """Lets every tile take half a second longer to write, and pixels in flight have so much room."""

    def __init__(self, room_mb: float) -> None:
        self._room_mb = room_mb

    def setup(self, worker: Worker) -> None:
        """As Dask calls it."""
        scale.InstantService.picture = scale.make_picture(len(BANDS) + 1, TILE_PX, 1)
        vars(worker_plugin)["RequestsTransport"] = scale.InstantService
        limit = worker.memory_manager.memory_limit or MEMORY_LIMIT
        worker_plugin.MEMORY_SHARE = self._room_mb * 1e6 / limit
        write = CubeStore.write_tile

        def write_slowly(cube: CubeStore, tile: Tile, data: TileData) -> StoredTile:
            time.sleep(SLOW_S)
            return write(cube, tile, data)

        mock.patch.object(CubeStore, "write_tile", write_slowly).start()


def run() -> dict[str, Any]:
    """One worker with room for some of its 32 fetches, and one with room for all."""
    os.environ.update(scale.ENVIRONMENT)
    bounded, free = _measure(ROOM_MB), _measure(1e6)
    return {
        "tiles": TILES,
        "tile_px": TILE_PX,
        "mb_of_a_flight": round(FLIGHT_MB, 1),
        "slow_write_s": SLOW_S,
        "room_of_500_mb": bounded,
        "room_for_all": free,
    }


def _spec() -> shdask.CubeSpec:
    side = TILE_PX * 10
    return shdask.CubeSpec(
        aoi=[500_000, 4_000_000, 500_000 + 8 * side, 4_000_000 + TILES // 8 * side],
        aoi_crs="EPSG:32633",
        crs="EPSG:32633",
        resolution=10,
        time=["2024-06-01", "2024-06-30"],
        layers={"s2": {"collection": "sentinel-2-l2a", "bands": list(BANDS)}},
        store={"chunk_px": 512, "tile_px": TILE_PX},
        service={"requests_per_minute": 60e6, "pu_per_minute": 60e6},
    )


def _measure(room_mb: float) -> dict[str, Any]:
    plan, held, over = shdask.make_plan(_spec()), [0.0], threading.Event()
    with (
        tempfile.TemporaryDirectory() as folder,
        scale.start_cluster(1) as (address, processes),
        Client(address) as client,
    ):
        client.register_plugin(scale.AnswerOnScheduler())
        client.register_plugin(SlowStore(room_mb))
        before = processes["worker-0"].memory_info().rss
        looking = threading.Thread(target=_look, args=(processes["worker-0"], held, over))
        looking.start()
        report = shdask.build_cube(plan, Path(folder, "cube"), client=client)
        over.set()
        looking.join()
    report.raise_for_failures()
    return {"peak_mb_above_idle": round((max(held) - before) / 1e6), "seconds": round(report.seconds, 1)}


def _look(process: psutil.Process, held: list[float], over: threading.Event) -> None:
    while not over.wait(LOOK_S):
        held.append(process.memory_info().rss)
