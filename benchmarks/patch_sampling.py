"""How long do a cube's index and 100,000 patches of it take, apart by set and balanced by class; and what leaks?

A synthetic store of 20,480 x 20,480 px of Sentinel-2's scene classification at 50 dates, 42 GB of pixels, in which 16
different tiles of clouds lie again and again; classes are a raster of six, from 40 to 4 %.
"""

from __future__ import annotations

import json
import os
import resource
import subprocess
import sys
import tempfile
import time
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

import numpy as np
import rasterio
import shapely
from affine import Affine
from numpy.typing import NDArray

import shdask
from shdask.assemble.layout import object_key
from shdask.assemble.ledger import Ledger
from shdask.assemble.store import CubeStore, create_or_open
from shdask.model import TileData, TileEvent, TileState
from shdask.patches.choosing.index import open_index
from shdask.patches.choosing.sample import sample_patches
from shdask.patches.summary import count_leakage, count_splits
from shdask.patches.table import SPLITS
from shdask.plan.acquisition import Acquisition
from shdask.plan.group import GroupPlan
from shdask.plan.placing import place_in_time
from shdask.plan.timeline import make_timeline
from shdask.planning import plan_before_search

TILE_PX = 2048
TILES = 10
DATES = 50
KINDS = 16
COUNT = 100_000
PATCH_PX = 64
BLOCK_M, GUARD_M = 5000.0, 640.0
MIN_CLEAR = 0.5
CLEAR, CLOUD = 4, 9
"""Of the scene classification: vegetation, and clouds of high probability."""
LEFT, TOP, METRES = 400_000, 5_300_000, 10
WEIGHTS = (0.4, 0.25, 0.15, 0.1, 0.06, 0.04)
"""Of classes."""


def run(tiles: int = TILES, dates: int = DATES, count: int = COUNT) -> dict[str, Any]:
    """What the index and the patches took, each in a process of its own."""
    with tempfile.TemporaryDirectory() as folder:
        started = time.perf_counter()
        cube = make_store(Path(folder) / "cube.zarr", tiles, dates)
        write_classes(Path(folder) / "classes.tif", tiles)
        made_s = time.perf_counter() - started
        steps = {name: _measure(name, folder, count) for name in ("indexed", "opened_again", "sampled")}
        kept = sum(each.stat().st_size for each in (Path(folder) / "cube.zarr/.shdask/index").iterdir())
        return {
            "shape": [dates, *cube.plan.grid.shape],
            "tiles": dates * tiles**2,
            "store_made_s": round(made_s, 1),
            "index_nbytes": kept,
            **steps,
        }


def make_store(path: Path, tiles: int, dates: int) -> CubeStore:
    """A whole cube; tiles of one kind are one file under many names."""
    cube = create_or_open(plan_cube(tiles, dates), path)
    events: list[TileEvent] = []
    first: dict[int, list[str]] = {}
    checksums: dict[int, int | None] = {}
    for number, index in enumerate(cube.plan.tile_set.indices().tolist()):
        tile, kind = cube.plan.tile(index), (number * 7 + number // 31) % KINDS
        keys = [object_key(name, cube.layout.mark(tile)) for name in ("SCL", "data_mask")]
        if kind in first:
            for source, target in zip(first[kind], keys, strict=True):
                (path / target).parent.mkdir(parents=True, exist_ok=True)
                (path / target).hardlink_to(path / source)
        else:
            checksums[kind] = cube.write_tile(tile, make_pixels(kind)).checksum
            first[kind] = keys
        events.append(TileEvent(tile=index, state=TileState.WRITTEN, checksum=checksums[kind]))
    with Ledger.open(cube.place) as ledger:
        ledger.append(events)
    cube.mark_complete(pu_spent=0.0)
    return cube


def plan_cube(tiles: int, dates: int) -> GroupPlan:
    """A square of tiles in UTM zone 33, every fifth day."""
    side = tiles * TILE_PX * METRES
    spec = shdask.CubeSpec(
        aoi=shapely.box(LEFT, TOP - side, LEFT + side, TOP),
        aoi_crs="EPSG:32633",
        crs="EPSG:32633",
        resolution=METRES,
        time=["2024-01-01", "2024-12-31"],
        layers={"s2": {"collection": "sentinel-2-l2a", "bands": ["SCL"], "cadence": "day"}},
        store={"tile_px": TILE_PX, "chunk_px": 512},
    )
    assert spec.interval is not None
    times = [datetime(2024, 1, 2, 10, tzinfo=UTC) + timedelta(days=5) * day for day in range(dates)]
    scenes = [Acquisition(id=f"{at:%Y%m%d}", time=at, footprint=shapely.box(0, 30, 30, 60)) for at in times]
    return place_in_time(plan_before_search(spec).only, make_timeline(scenes, "day", spec.interval))


def make_pixels(kind: int) -> TileData:
    """Clouds of some hundred metres to some kilometres, more of them in each further kind; a strip is not valid."""
    noise = smooth(np.random.default_rng(kind), 32)
    values = np.where(noise < np.quantile(noise, kind / KINDS), CLOUD, CLEAR).astype(np.uint16)
    valid = np.ones(values.shape, np.bool_)
    valid[:, : 8 * kind] = False
    return TileData(values=values[None], data_mask=valid)


def smooth(rng: np.random.Generator, cell_px: int) -> NDArray[np.float64]:
    """Noise of a tile, coarser and finer together."""
    parts = []
    for side in (cell_px * 8, cell_px):
        count = TILE_PX // side
        parts.append(rng.random((count, count)).repeat(side, axis=0).repeat(side, axis=1) * side)
    return parts[0] + parts[1]


def write_classes(path: Path, tiles: int) -> None:
    """Fields of 80 px of one class each."""
    side = tiles * TILE_PX
    fields = np.random.default_rng(0).choice(len(WEIGHTS), size=(side // 80 + 1,) * 2, p=WEIGHTS).astype(np.uint8)
    with rasterio.open(
        path, "w", driver="GTiff", width=side, height=side, count=1, dtype="uint8", crs="EPSG:32633", tiled=True,
        compress="deflate", transform=Affine(METRES, 0, LEFT, 0, -METRES, TOP),
    ) as raster:  # fmt: skip  # one call
        raster.write(fields.repeat(80, axis=0).repeat(80, axis=1)[:side, :side], 1)


def _measure(what: str, folder: str, count: int) -> dict[str, Any]:
    command = [sys.executable, "-m", "benchmarks.patch_sampling", what, folder, str(count)]
    told: dict[str, Any] = json.loads(subprocess.run(command, check=True, stdout=subprocess.PIPE).stdout)
    return told


def index(folder: str) -> dict[str, Any]:
    """Ask for the dates of the layer, which counts what is not counted."""
    return {"dates": int(open_index(f"{folder}/cube.zarr").dates("", "s2").size)}


def sample(folder: str, count: int) -> dict[str, Any]:
    """Patches drawn anywhere at their clearest date, and balanced; what leaks is counted."""
    started = time.perf_counter()
    patches = sample_patches(
        f"{folder}/cube.zarr", size_px=PATCH_PX, scheme="random", count=count, labels=f"{folder}/classes.tif",
        dates="clearest", min_valid=0.9, min_clear=MIN_CLEAR, block_m=BLOCK_M, guard_m=GUARD_M, balance="class",
    )  # fmt: skip  # one call
    sampled_s = time.perf_counter() - started
    started = time.perf_counter()
    leakage = count_leakage(patches, GUARD_M)
    classes = {
        name: np.bincount(patches.label[patches.split == number], minlength=len(WEIGHTS)).tolist()
        for number, name in enumerate(SPLITS[:3])
    }
    return {
        "drawn": count,
        "sample_s": round(sampled_s, 1),
        "leakage_s": round(time.perf_counter() - started, 1),
        "guard_m": GUARD_M,
        "leaking_pairs": leakage.pairs,
        "shared_px": leakage.shared_px,
        "sets": count_splits(patches),
        "classes": classes,
        "least_clear_share": round(float(patches.clear_share.min()), 3),
        "notes": list(patches.notes),
    }


def main() -> None:
    """One measurement in a process of its own."""
    what, folder, count = sys.argv[1:]
    before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    started = time.perf_counter()
    found = sample(folder, int(count)) if what == "sampled" else index(folder)
    told = {
        "seconds": round(time.perf_counter() - started, 1),
        "cpu_s": round(sum(os.times()[:2]), 1),
        "peak_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
        "libraries_mb": round(before / 1024),
        **found,
    }
    print(json.dumps(told))


if __name__ == "__main__":
    main()
