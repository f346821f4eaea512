"""What do workers cost that are replaced every few seconds, the owner's among them, under a detached build?"""

from __future__ import annotations

import os
import signal
import subprocess
import tempfile
import time
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr
from distributed import Client

import shdask
from shdask.assemble.status import CubeStatus
from shdask.assemble.tree_status import read_whole_status
from shdask.cluster.detached import start_build
from shdask.emulator.launch import EmulatorProcess, start_emulator
from shdask.settings import Credentials
from tests.cluster.processes import Processes, start_processes

TILE_PX = 64
SIDE = 20
"""Tiles."""
RESOLUTION = 10
REQUESTS_PER_MINUTE = 400
LATENCY_S = 0.5
WORKERS = 3
EVERY_S = 5.0
OWNERS_TURN = 2
"""The replacement that hits the owner's worker; the others go round."""
END_S = 600.0


def make_spec() -> shdask.CubeSpec:
    """400 tiles of 64 px and one band."""
    side = SIDE * TILE_PX * RESOLUTION
    return shdask.CubeSpec(
        aoi=[500_000, 5_000_000, 500_000 + side, 5_000_000 + side],
        aoi_crs="EPSG:32633",
        crs="EPSG:32633",
        resolution=RESOLUTION,
        time=["2024-06-01", "2024-06-30"],
        layers={"s2": {"collection": "sentinel-2-l2a", "bands": ["B04"]}},
        store={"chunk_px": TILE_PX, "tile_px": TILE_PX},
        service={"requests_per_minute": REQUESTS_PER_MINUTE, "pu_per_minute": 60_000},
    )


def run() -> dict[str, Any]:
    """The same build thrice: left alone, under SIGTERM, under SIGKILL."""
    with start_emulator(latency_s=LATENCY_S) as service:
        os.environ.update(service.environment())
        told = {name: _build(service, number) for name, number in _SIGNALS.items()}
    return {
        "tiles": SIDE * SIDE,
        "workers": WORKERS,
        "a worker replaced every (s)": EVERY_S,
        "latency_s": LATENCY_S,
        "requests_per_minute": REQUESTS_PER_MINUTE,
        "runs": {name: answer for name, (answer, _) in told.items()},
        "wrong_pixels": {name: _wrong_pixels(cube, told["left alone"][1]) for name, (_, cube) in told.items()},
    }


_SIGNALS = {"left alone": None, "SIGTERM": signal.SIGTERM, "SIGKILL": signal.SIGKILL}


def _build(service: EmulatorProcess, number: signal.Signals | None) -> tuple[dict[str, Any], xr.Dataset]:
    service.reset()
    plan = shdask.make_plan(make_spec())
    with tempfile.TemporaryDirectory() as folder, start_processes(Path(folder)) as processes:
        workers = [processes.start_worker(f"w{count}") for count in range(WORKERS)]
        store, started = Path(folder, "cube"), time.monotonic()
        with Client(processes.address) as client:
            start_build(plan, store, client, credentials=Credentials.load(), max_pu=2 * plan.only.cost.pu)
        replaced, owners = 0, set()
        while not _has_ended(store):
            if time.monotonic() - started > END_S:
                raise RuntimeError(f"the build does not end: {read_whole_status(store)}")
            time.sleep(EVERY_S)
            owners.add(_look(store).owner)
            if number is not None and not _has_ended(store):
                _replace(processes, workers, replaced, number, _look(store).owner)
                replaced += 1
        seconds, found = time.monotonic() - started, _look(store)
        sent, charged = _sent(service), service.stats()["pu_charged"]
        cube = shdask.open_cube(store).load()
    again = sent - plan.tile_count
    answer = {
        "replaced": replaced,
        "owners": len(owners - {None}),
        "complete": found.complete,
        "failed": found.failed,
        "requests": sent,
        "bought_again": again,
        "bought_again_per_worker": round(again / replaced, 2) if replaced else 0.0,
        "pu_paid_over_needed": round(charged / plan.only.cost.pu, 4),
        "seconds": round(seconds, 1),
    }
    print(answer, flush=True)
    return answer, cube


def _look(store: Path) -> CubeStatus:
    return read_whole_status(store).whole


def _has_ended(store: Path) -> bool:
    found = _look(store)
    return not found.running and (found.complete or found.failed > 0)


def _replace(
    processes: Processes,
    workers: list[subprocess.Popen[bytes]],
    count: int,
    number: signal.Signals,
    owner: str | None,
) -> None:
    """End a worker, and have another one join as soon as it can."""
    position = count % WORKERS
    if count == OWNERS_TURN and owner is not None:
        owners = [place for place, worker in enumerate(workers) if worker.pid == int(owner.rpartition(":")[2])]
        position = owners[0] if owners else position
    workers[position].send_signal(number)
    workers[position] = processes.start_worker(f"w{WORKERS + count}")


def _sent(service: EmulatorProcess) -> int:
    return sum(count for call, count in service.stats()["calls"].items() if "/process" in call)


def _wrong_pixels(one: xr.Dataset, other: xr.Dataset) -> int:
    return sum(int(np.count_nonzero(one[name].to_numpy() != other[name].to_numpy())) for name in other.data_vars)
