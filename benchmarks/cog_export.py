"""How long and how much memory does exporting a picture of 50,000 x 50,000 px take, and one that is full of pixels?"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

CODE = """
import json, os, resource, sys, tempfile, threading, time
from pathlib import Path
import numpy as np
import shdask
from shdask.assemble.store import create_or_open
from shdask.model import TileData

side, share = json.loads(%r)
spec = shdask.CubeSpec(
    aoi=(400000, 5000000, 400000 + side * 10, 5000000 + side * 10), aoi_crs="EPSG:32633", crs="EPSG:32633",
    resolution=10, time=["2024-06-01", "2024-06-30"],
    layers={"s2": {"collection": "sentinel-2-l2a", "bands": ["B02", "B03", "B04", "B08"]}},
)
group = shdask.make_plan(spec).only

def rss():
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20

peak, over = 0.0, threading.Event()

def watch():
    global peak
    while not over.wait(0.02):
        peak = max(peak, rss())

with tempfile.TemporaryDirectory() as folder:
    cube = create_or_open(group, Path(folder, "cube.zarr"))
    rng = np.random.default_rng(1)
    tiles = list(group.tiles())
    written = tiles[:: max(1, round(1 / share))]
    y, x = np.mgrid[0:2048, 0:2048]
    ground = (2000 + 800 * np.sin(x / 90) * np.cos(y / 70)).astype(np.uint16)
    for tile in written:
        rows, columns = tile.extent.shape
        values = np.stack([ground + rng.integers(0, 64, ground.shape, np.uint16)] * 4)[:, :rows, :columns]
        cube.write_tile(tile, TileData(values=values, data_mask=np.ones((rows, columns), np.bool_)))
    cube.mark_complete(pu_spent=1.0)
    shdask.export_cog(Path(folder, "cube.zarr"), Path(folder, "warm.tif"), bbox=(400000, 5000000, 400640, 5000640))
    before, peak = rss(), 0.0
    watcher = threading.Thread(target=watch)
    watcher.start()
    started = time.perf_counter()
    (made,) = shdask.export_cog(Path(folder, "cube.zarr"), Path(folder, "out.tif"))
    seconds = time.perf_counter() - started
    over.set()
    watcher.join()
    from rio_cogeo.cogeo import cog_validate
    valid, errors, warnings = cog_validate(made.path)
    print(json.dumps({
        "px": [side, side], "tiles": len(tiles), "tiles_with_pixels": len(written), "bands": 4,
        "pixels_gb": round(sum(t.extent.pixel_count for t in written) * 8 / 1e9, 2),
        "file_gb": round(made.nbytes / 1e9, 3), "seconds": round(seconds, 1),
        "rss_before_mb": round(before), "rss_peak_mb": round(peak),
        "cog_valid": valid, "errors": errors, "warnings": warnings,
    }))
"""


def run() -> dict[str, Any]:
    """50,000 x 50,000 px with pixels in one tile of fifty, and 4,096 x 4,096 px that are full."""
    return {
        "sparse_50000": _measure(50_000, 0.02),
        "full_4096": _measure(4_096, 1.0),
    }


def _measure(side: int, share: float) -> dict[str, Any]:
    code = CODE % json.dumps([side, share])
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    assert out.returncode == 0, out.stderr
    found: dict[str, Any] = json.loads(out.stdout.splitlines()[-1])
    print(json.dumps(found), flush=True)
    return found
