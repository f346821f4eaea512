"""What does the engine cost beside the same loop without one: tiles/s, Mpx/s, CPU seconds per tile?"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import psutil
import requests
import zarr
from rasterio.io import MemoryFile
from zarr.codecs import BloscCodec

import shdask
from shdask.cluster.local import open_local_client
from shdask.emulator.launch import start_emulator
from shdask.fetch.process import window_body

TILE_PX = 1024
TILES_PER_SIDE = 6
BANDS = ("B02", "B03", "B04")
FETCH_THREADS = 16
REPEATS = 3


def make_spec(tiles_per_side: int = TILES_PER_SIDE) -> shdask.CubeSpec:
    """36 tiles of 1024 px and three bands."""
    side = tiles_per_side * TILE_PX * 20
    return shdask.CubeSpec(
        aoi=[400_000, 5_000_000, 400_000 + side, 5_000_000 + side],
        aoi_crs="EPSG:32633",
        crs="EPSG:32633",
        resolution=20,
        time=["2024-06-01", "2024-06-30"],
        layers={"s2": {"collection": "sentinel-2-l2a", "bands": BANDS}},
        store={"chunk_px": 512, "tile_px": TILE_PX},
        service={"requests_per_minute": 1e6, "pu_per_minute": 1e6},
    )


def cpu_s() -> float:
    """CPU seconds of this process and its living children."""
    me = psutil.Process()
    times = [process.cpu_times() for process in [me, *me.children(recursive=True)]]
    return sum(spent.user + spent.system for spent in times)


def measure(work: Callable[[], None], plan: shdask.GroupPlan) -> dict[str, float]:
    """Wall and CPU of ``work``, per tile and per pixel."""
    cpu, started = cpu_s(), time.perf_counter()
    work()
    wall, cpu = time.perf_counter() - started, cpu_s() - cpu
    pixels = sum(tile.extent.pixel_count for tile in plan.tiles())
    return {
        "seconds": wall,
        "tiles_per_s": plan.tile_count / wall,
        "mpx_per_s": pixels / wall / 1e6,
        "cpu_s_per_tile": cpu / plan.tile_count,
    }


def run_engine(folder: Path) -> dict[str, float]:
    """The engine on two worker processes; starting them, and their first imports, are not counted."""
    plan = shdask.make_plan(make_spec()).only
    with open_local_client(2) as client:
        shdask.build_cube(make_spec(2), folder / "warm", client=client).raise_for_failures()
        return measure(lambda: shdask.build_cube(plan, folder / "cube", client=client).raise_for_failures(), plan)


def run_serial(folder: Path) -> dict[str, float]:
    """The engine without a cluster, one tile after the other."""
    plan = shdask.make_plan(make_spec()).only
    shdask.build_cube(make_spec(2), folder / "warm", executor=shdask.SerialExecutor()).raise_for_failures()
    work = partial(shdask.build_cube, plan, folder / "cube", executor=shdask.SerialExecutor())
    return measure(lambda: work().raise_for_failures(), plan)


def run_loop(folder: Path) -> dict[str, float]:
    """16 threads that post, two that decode and write the same shards; no plan, limits, checks, mask or ledger."""
    plan = shdask.make_plan(make_spec()).only
    rows, columns = plan.grid.shape
    token = requests.post(
        os.environ["SH_TOKEN_URL"],
        data={
            "grant_type": "client_credentials",
            "client_id": os.environ["SH_CLIENT_ID"],
            "client_secret": os.environ["SH_CLIENT_SECRET"],
        },
        timeout=10,
    ).json()["access_token"]
    arrays = [
        zarr.create_array(
            str(folder / "cube" / name),
            shape=(rows, columns),
            dtype="uint16" if name != "data_mask" else "uint8",
            chunks=(512, 512),
            shards=(TILE_PX, TILE_PX),
            compressors=BloscCodec(cname="zstd", clevel=1, shuffle="shuffle"),
            fill_value=0,
        ).with_config({"write_empty_chunks": True})
        for name in (*BANDS, "data_mask")
    ]
    session = requests.Session()
    session.mount("http://", requests.adapters.HTTPAdapter(pool_maxsize=FETCH_THREADS))
    session.headers.update({"Authorization": f"Bearer {token}", "Accept": "image/tiff"})

    def store(body: bytes, place: tuple[slice, slice]) -> None:
        with MemoryFile(body) as file, file.open() as source:
            picture = source.read()
        for array, band in zip(arrays, picture, strict=True):
            array[place] = band.astype(array.dtype, copy=False)

    def fetch(tile: shdask.model.Tile) -> None:  # type: ignore[name-defined]
        body = window_body(plan, tile.extent)
        url = os.environ["SH_BASE_URL"] + "/api/v1/process"
        with session.post(url, json=body, stream=True, timeout=120) as answer:
            answer.raise_for_status()
            received = answer.raw.read(decode_content=True)
        decoders.submit(store, received, tile.extent.slices).result()

    with ThreadPoolExecutor(FETCH_THREADS) as fetchers, ThreadPoolExecutor(2) as decoders:
        list(fetchers.map(fetch, [plan.tile(index) for index in range(4)]))
        return measure(lambda: [*fetchers.map(fetch, plan.tiles())] and None, plan)


VARIANTS = {"engine": run_engine, "loop": run_loop, "serial": run_serial}


def run() -> dict[str, Any]:
    """Each variant in a process of its own against one emulator without limits, in turn, three times over."""
    runs: dict[str, list[dict[str, float]]] = {name: [] for name in VARIANTS}
    with start_emulator() as service:
        environment = {**os.environ, **service.environment()}
        for name in [*VARIANTS] * REPEATS:
            command = [sys.executable, "-m", "benchmarks.engine_overhead", name]
            out = subprocess.run(command, env=environment, capture_output=True, text=True, check=True).stdout
            runs[name].append(json.loads(out.splitlines()[-1]))
    median = {
        name: {figure: round(float(np.median([one[figure] for one in measured])), 3) for figure in measured[0]}
        for name, measured in runs.items()
    }
    return {
        "tile_px": TILE_PX,
        "bands": len(BANDS),
        "tiles": TILES_PER_SIDE**2,
        "median_of": REPEATS,
        **median,
        "engine_over_loop_throughput": round(median["engine"]["tiles_per_s"] / median["loop"]["tiles_per_s"], 2),
        "engine_over_loop_cpu": round(median["engine"]["cpu_s_per_tile"] / median["loop"]["cpu_s_per_tile"], 2),
    }


if __name__ == "__main__":
    with tempfile.TemporaryDirectory() as folder:
        print(json.dumps(VARIANTS[sys.argv[1]](Path(folder))))
