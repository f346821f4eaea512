"""What do a million tiles cost client, scheduler and workers of a cluster, in memory and CPU, if fetching is free?"""

from __future__ import annotations

import os
import tempfile
import time
from pathlib import Path
from typing import Any

import shdask
from shdask.assemble.status import read_status
from shdask.run_cube import price_left
from tests.cluster import scale

TILES = 1_000_000
BY_TRANSPORT = 50_000
SHARES = (0.05, 0.25, 0.5, 0.75, 1.0)


def run() -> dict[str, Any]:
    """The engine alone with a million tiles, then `status` and the price of the rest; fewer with requests and TIFFs."""
    os.environ.update(scale.ENVIRONMENT)
    with tempfile.TemporaryDirectory() as folder:
        million = _measure(Path(folder), TILES, engine_alone=True)
        million["status_s"] = _time(lambda: str(read_status(Path(folder, "cube"))))
        plan = shdask.make_plan(scale.make_spec(TILES))
        million["price_left_s"] = _time(lambda: price_left(plan, Path(folder, "cube")))
        million["ledger_mb"] = round(Path(folder, "cube/.shdask/ledger.jsonl").stat().st_size / 1e6, 1)
    with tempfile.TemporaryDirectory() as folder:
        requested = _measure(Path(folder), BY_TRANSPORT, engine_alone=False)
    return {"engine_alone": million, "with_requests_and_pictures": requested}


def _measure(folder: Path, tiles: int, *, engine_alone: bool) -> dict[str, Any]:
    watch = scale.build(folder, tiles, shares=SHARES, engine_alone=engine_alone)
    return {
        "tiles": tiles,
        "told_once": watch.told == bytearray([1]) * tiles,
        "first_tile_s": round(watch.first_s, 2),
        "tiles_per_s": watch.tiles_per_s(),
        "per_tile": watch.slopes(),
        "rss_mb": {
            name: [round(sample[name]["rss_mb"], 1) for sample in watch.samples.values()] for name in watch.processes
        },
        "seconds": list(watch.seconds.values()),
    }


def _time(call: Any) -> float:
    started = time.perf_counter()
    call()
    return round(time.perf_counter() - started, 2)
