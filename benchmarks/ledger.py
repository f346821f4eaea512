"""How large is the ledger of a million tiles, how long does opening it take, and what does durability cost a tile?"""

from __future__ import annotations

import random
import tempfile
import time
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
from shapely import Polygon

from benchmarks.seaweed import open_bucket
from shdask.assemble.disk import DiskPlace
from shdask.assemble.export import write_ledger_parquet
from shdask.assemble.ledger import Ledger, read_ledger
from shdask.assemble.place import open_place
from shdask.assemble.store import create_or_open
from shdask.inputs import AreaOfInterest
from shdask.model import TileData, TileEvent, TileState
from shdask.plan.placing import make_group
from shdask.plan.spec import CubeSpec
from shdask.settings import DEPLOYMENTS

ROWS = 1_000_000
BATCH = 500
"""Rows of one append: what an owner hears between two looks, when tiles are as many as that."""
TILES = 64
TILE_PX = 1024


def run() -> dict[str, Any]:
    """A million rows on disk and in SeaweedFS on loopback; then tiles written with fsync and without."""
    with tempfile.TemporaryDirectory(prefix="shdask-bench-", dir=Path.cwd()) as folder:
        found = {"rows": ROWS, "disk": _ledger(str(Path(folder, "cube"))), "fsync": _fsync(Path(folder))}
        with open_bucket(Path(folder)):
            found["s3"] = _ledger("s3://bench-cubes/cube")
    return found


def _event(tile: int) -> TileEvent:
    state = (TileState.WRITTEN, TileState.WRITTEN, TileState.WRITTEN, TileState.EMPTY)[tile % 4]
    return TileEvent(
        tile=tile,
        state=state,
        requests=1,
        pu_spent=4.123456,
        nbytes=10_485_760 + tile,
        seconds=1.2345678901,
        finished=1.79e9 + tile / 7,
        worker="tcp://10.0.0.17:43817",
        request=f"{random.getrandbits(128):032x}",
        checksum=random.getrandbits(32) if state is TileState.WRITTEN else None,
    )


def _ledger(store: str) -> dict[str, Any]:
    place = open_place(store)
    started = time.perf_counter()
    with Ledger.open(place) as ledger:
        for first in range(0, ROWS, BATCH):
            ledger.give_out(range(first, first + BATCH), pu_projected=4.0 * BATCH)
            ledger.append([_event(tile) for tile in range(first, first + BATCH)])
    appended = time.perf_counter() - started
    nbytes = sum(map(len, place.read_journal()))
    started = time.perf_counter()
    summary = read_ledger(place)
    opened = time.perf_counter() - started
    assert summary.states.size == ROWS
    assert summary.requests == ROWS
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        write_ledger_parquet(place, Path(folder, "ledger.parquet"))
        exported = time.perf_counter() - started
        parquet = Path(folder, "ledger.parquet").stat().st_size
    return {
        "mb": round(nbytes / 1e6, 1),
        "open_s": round(opened, 2),
        "append_s": round(appended, 1),
        "objects": len(place.names(".shdask/ledger")) or 1,
        "parquet_mb": round(parquet / 1e6, 1),
        "parquet_s": round(exported, 1),
    }


def _fsync(folder: Path) -> dict[str, Any]:
    """Milliseconds a tile of four uint16 bands of 1024 x 1024 pixels takes to store, one after the other."""
    with_it = _store_ms(folder / "with")
    with mock.patch.object(DiskPlace, "settle"):
        without = _store_ms(folder / "without")
    return {"tiles": TILES, "tile_px": TILE_PX, "with_ms": with_it, "without_ms": without}


def _store_ms(path: Path) -> float:
    side = int(TILES**0.5) * TILE_PX * 10
    corners = [(500000, 4000000), (500000 + side, 4000000), (500000 + side, 4000000 + side), (500000, 4000000 + side)]
    spec = CubeSpec(
        aoi=corners,
        crs="EPSG:32633",
        resolution=10,
        time=("2024-06-01", "2024-06-30"),
        layers={"s2": {"collection": "sentinel-2-l2a", "bands": ["B02", "B03", "B04", "B08"]}},
        store={"chunk_px": 512, "tile_px": TILE_PX},
    )
    area = AreaOfInterest(geometry=Polygon(corners), crs="EPSG:32633")
    plan = make_group(spec, area=area, like=None, deployment=DEPLOYMENTS["services"])
    cube = create_or_open(plan, path)
    field = np.add.outer(np.arange(TILE_PX), np.arange(TILE_PX)) + np.random.default_rng(1).integers(0, 64, (4, 1, 1))
    noise = np.random.default_rng(2).integers(0, 64, (4, TILE_PX, TILE_PX))
    data = TileData(values=(field + noise).astype(np.uint16), data_mask=np.ones((TILE_PX, TILE_PX), np.bool_))
    took = []
    for tile in plan.tiles():
        started = time.perf_counter()
        cube.write_tile(tile, data)
        took.append(time.perf_counter() - started)
    return round(float(np.median(took)) * 1e3, 1)
