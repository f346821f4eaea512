"""How much memory does it take to read a row of tiles from a job's file of 10,000 x 10,000 px in a bucket?"""

from __future__ import annotations

import json
import subprocess
import sys
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import obstore
import rasterio
from obstore.store import S3Store
from rasterio.transform import from_bounds
from rasterio.windows import Window

from benchmarks.seaweed import BUCKET, open_bucket

SIDE_PX, STRIP_ROWS, BANDS = 10_000, 128, 5
BOUNDS = (500_000.0, 5_000_000.0, 600_000.0, 5_100_000.0)
CODE = """
import json, resource, time
import numpy as np
from shdask.fetch.bucket import Bucket
from shdask.fetch.client import Spent
from shdask.fetch.delivery import fetch_delivered
from shdask.inputs import read_area
from shdask.plan.placing import make_group
from shdask.plan.spec import CubeSpec
from shdask.settings import DEPLOYMENTS

def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

spec = CubeSpec(
    aoi={bounds}, aoi_crs="EPSG:32633", crs="EPSG:32633", resolution=10, time=("2024-06-01", "2024-06-30"),
    layers={{"s2": {{"collection": "sentinel-2-l2a", "bands": ["B02", "B03", "B04", "B08"]}}}},
)
area = read_area(spec.aoi, crs=spec.aoi_crs)
plan = make_group(spec, area=area, like=None, deployment=DEPLOYMENTS["services"])
row = [tile for tile in plan.tiles() if tile.row == 1]
bucket = Bucket.from_url("s3://{bucket}")
bucket.preflight()
before, spent, started, cpu = peak_mb(), Spent(), time.perf_counter(), time.process_time()
tiles = fetch_delivered(plan, row, plan.grid.window, [{{"default": "{key}"}}], bucket, spent=spent)
seconds, cpu, peak = time.perf_counter() - started, time.process_time() - cpu, peak_mb()
assert plan.grid.shape == (10_000, 10_000) and len(row) == 5
assert all(tile.data_mask.all() for tile in tiles)
pixels = sum(tile.values.nbytes + 2 * tile.data_mask.nbytes for tile in tiles)
print(json.dumps({{
    "rss_before_mb": round(before), "peak_rss_mb": round(peak), "tiles_mb": round(pixels / 2**20),
    "beyond_tiles_mb": round(peak - before - pixels / 2**20), "received_mb": round(spent.nbytes / 2**20),
    "seconds": round(seconds, 2), "cpu_s": round(cpu, 2),
    "checksum": int(sum(int(tile.values[:, ::64, ::64].astype(np.int64).sum()) for tile in tiles)),
}}))
"""

COLLECT = """
import json, resource, time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from shdask.assemble.store import create_or_open
from shdask.cluster.worker_plugin import ROWS_AT_ONCE
from shdask.fetch.bucket import Bucket
from shdask.fetch.process import run_here
from shdask.inputs import read_area
from shdask.jobs.deliveries import Deliveries, Delivery
from shdask.plan.placing import make_group
from shdask.plan.spec import CubeSpec
from shdask.run_tiles import TileWork, run_tiles
from shdask.settings import DEPLOYMENTS

def peak_mb():
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024

spec = CubeSpec(
    aoi={bounds}, aoi_crs="EPSG:32633", crs="EPSG:32633", resolution=10, time=("2024-06-01", "2024-06-30"),
    layers={{"s2": {{"collection": "sentinel-2-l2a", "bands": ["B02", "B03", "B04", "B08"]}}}},
)
area = read_area(spec.aoi, crs=spec.aoi_crs)
plan = make_group(spec, area=area, like=None, deployment=DEPLOYMENTS["services"])
cube = create_or_open(plan, "{folder}/{key}.zarr")
bucket = Bucket.from_url("s3://{bucket}")
bucket.preflight()
delivery = Delivery(bucket=bucket, window=plan.grid.window, files=({{"default": "{key}"}},), first_tile=0)
tiles = plan.tile_set.indices().tolist()
deliveries = Deliveries(by_tile=dict.fromkeys(tiles, delivery))
work = TileWork(plan=plan, cube=cube, client=None, run_cpu=run_here, deliveries=deliveries)
before, started, cpu = peak_mb(), time.perf_counter(), time.process_time()
with ThreadPoolExecutor(ROWS_AT_ONCE) as pool:
    rows = pool.map(lambda row: run_tiles(work, row), deliveries.bundle(plan, tiles))
    outcomes = [one for row in rows for one in row]
seconds, cpu = time.perf_counter() - started, time.process_time() - cpu
assert [one.event.error for one in outcomes] == [None] * 25, [one.event.error for one in outcomes]
stored = sum(path.stat().st_size for path in Path("{folder}/{key}.zarr").rglob("*") if path.is_file())
print(json.dumps({{
    "rows_at_once": ROWS_AT_ONCE, "tiles": len(outcomes), "cube_mb": round(stored / 2**20),
    "rss_before_mb": round(before), "peak_rss_mb": round(peak_mb()),
    "seconds": round(seconds, 1), "cpu_s": round(cpu, 1),
}}))
"""


def write_file(path: Path, compress: str) -> None:
    """A striped GeoTIFF as a job delivers it: 4 bands of smooth land with noise, and a mask, pixel by pixel."""
    rng = np.random.default_rng(7)
    profile = {
        "driver": "GTiff", "width": SIDE_PX, "height": SIDE_PX, "count": BANDS, "dtype": "uint16",
        "crs": "EPSG:32633", "transform": from_bounds(*BOUNDS, SIDE_PX, SIDE_PX), "interleave": "pixel",
        "blockysize": STRIP_ROWS, "BIGTIFF": "IF_SAFER", "compress": compress,
    }  # fmt: skip  # a line a kind
    noise = rng.integers(0, 256, (BANDS, STRIP_ROWS, SIDE_PX), dtype="uint16")
    with rasterio.open(path, "w", **profile, **({"zlevel": 1} if compress == "deflate" else {})) as target:
        for top in range(0, SIDE_PX, STRIP_ROWS):
            rows = min(STRIP_ROWS, SIDE_PX - top)
            strip = noise[:, :rows] + np.uint16(1000 + top // 8)
            strip[-1] = 1
            target.write(strip, window=Window(0, top, SIDE_PX, rows))


def run() -> dict[str, Any]:
    """The second row of tiles of 2048 px, 10,000 px wide, then all rows into a cube on disk as a worker does it.

    From SeaweedFS, each in a fresh interpreter.
    """
    found: dict[str, Any] = {}
    with tempfile.TemporaryDirectory() as folder, open_bucket(Path(folder)):
        store = S3Store(BUCKET, client_options={"allow_http": True})
        for compress in ("none", "deflate"):
            path = Path(folder) / f"{compress}.tif"
            write_file(path, compress)
            size = path.stat().st_size
            obstore.put(store, path.name, path)
            path.unlink()
            words = {"bounds": BOUNDS, "bucket": BUCKET, "key": path.name, "folder": folder}
            row, whole = (_run_alone(code.format(**words)) for code in (CODE, COLLECT))
            found[compress] = {"file_mb": round(size / 2**20), **row, "whole_file_into_a_cube": whole}
    return found


def _run_alone(code: str) -> dict[str, Any]:
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=False)
    if out.returncode:
        raise RuntimeError(out.stderr)
    return dict(json.loads(out.stdout))
