"""Many small tiles through a cluster of processes, and what each process holds on the way."""

from __future__ import annotations

import os
import sys
import tempfile
from pathlib import Path
from typing import Any

import psutil
from distributed import Client

import shdask
from shdask.emulator.launch import start_emulator
from shdask.model import TileEvent
from tests.cluster.processes import start_processes

TILE_PX = 32
COLUMNS = 200
WORKERS = 2


def make_spec(tiles: int) -> shdask.CubeSpec:
    """``tiles`` tiles of 32 px and one band, 200 to a row at most."""
    columns = min(tiles, COLUMNS)
    rows = tiles // columns
    step = TILE_PX * 10
    return shdask.CubeSpec(
        aoi=[500_000, 5_000_000, 500_000 + columns * step, 5_000_000 + rows * step],
        aoi_crs="EPSG:32633",
        crs="EPSG:32633",
        resolution=10,
        time=["2024-06-01", "2024-06-30"],
        layers={"s2": {"collection": "sentinel-2-l2a", "bands": ["B04"]}},
        store={"chunk_px": TILE_PX, "tile_px": TILE_PX, "sharded": False},
        service={"requests_per_minute": 60_000, "pu_per_minute": 60_000},
    )


def sample(processes: dict[str, psutil.Process]) -> dict[str, dict[str, float]]:
    """What each process holds just now."""
    return {
        name: {
            "rss_mb": round(process.memory_info().rss / 1e6, 1),
            "open_files": process.num_fds(),
            "threads": process.num_threads(),
            "connections": len([c for c in process.net_connections("tcp") if c.status == "ESTABLISHED"]),
        }
        for name, process in processes.items()
    }


def soak(tiles: int, sampled: tuple[int, ...]) -> dict[str, Any]:
    """Build ``tiles`` tiles with client, scheduler and workers in processes of their own; samples by tile number."""
    samples: dict[int, dict[str, dict[str, float]]] = {}
    with (
        tempfile.TemporaryDirectory() as folder,
        start_emulator(compression="none", recorded_requests=1) as service,
        start_processes(Path(folder)) as cluster,
    ):
        os.environ.update(service.environment())
        watched = {"client": psutil.Process(), "scheduler": psutil.Process(cluster.started[0].pid)}
        for number in range(WORKERS):
            worker = cluster.start_worker(f"worker-{number}")
            watched[f"worker-{number}"] = psutil.Process(worker.pid)
        seen = 0

        def look(_: TileEvent) -> None:
            nonlocal seen
            seen += 1
            if seen in sampled:
                samples[seen] = sample(watched)
                sys.stderr.write(f"{seen} {samples[seen]}\n")

        with Client(cluster.address) as client:
            report = shdask.build_cube(make_spec(tiles), Path(folder) / "cube", client=client, on_event=look)
    report.raise_for_failures()
    return {
        "tiles": report.tiles,
        "seconds": round(report.seconds, 1),
        "tiles_per_s": round(report.tiles / report.seconds, 1),
        "requests": report.requests,
        "samples": samples,
    }
