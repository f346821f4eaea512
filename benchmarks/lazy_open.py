"""How long and how much memory does it take to open a million tiles that are not built, and to look at one?"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

CODE = """
import gc, json, resource, time
import shdask
from shdask.serve.open import open_cube
import shdask.demand.tiles as tiles
import dask.array, rioxarray, odc.geo.geobox, zarr
from shdask.plan.cube import make_cube_plan

class Fill:
    bought = 0
    def get(self, tile):
        Fill.bought += 1
        return None

def plan(columns, rows, days):
    side = 2048 * 10.0
    spec = shdask.CubeSpec(
        aoi=(0, 0, columns * side, rows * side), aoi_crs="EPSG:3857", crs="EPSG:3857", resolution=10,
        time=["2020-01-01", "2024-06-30"],
        layers={"s2": {"collection": "sentinel-2-l2a", "bands": ["B02", "B03", "B04", "B08"]}},
    )
    made = shdask.make_plan(spec)
    return place(made.only, days) if days else made

def place(group, days):
    from datetime import UTC, datetime, timedelta
    import shapely
    from dataclasses import replace
    from shdask.model import TimeInterval
    from shdask.plan.acquisition import Acquisition
    from shdask.plan.placing import place_in_time
    from shdask.plan.timeline import make_timeline
    start = datetime(2020, 1, 1, tzinfo=UTC)
    scenes = [
        Acquisition(
            id=f"scene-{day}", time=start + timedelta(days=day, hours=10), footprint=shapely.box(-20, -20, 20, 20),
            platform="sentinel-2a", relative_orbit=22, orbit_direction="descending", cloud_cover=0.5, baseline="05.10",
        )
        for day in range(days)
    ]
    whole = TimeInterval(start=start, end=start + timedelta(days=days))
    group = replace(group, layer=replace(group.layer, cadence="day"))
    return make_cube_plan({"": place_in_time(group, make_timeline(scenes, "day", whole))})

def rss():
    gc.collect()
    with open("/proc/self/statm") as file:
        return int(file.read().split()[1]) * resource.getpagesize() / 2**20

shape = json.loads(%r)
small = open_cube(plan(2, 2, 3 if shape["days"] else 0))["B04"][..., :1, :1]  # imports and first calls
whole = plan(**shape)
before = rss()
peak_before = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
started = time.perf_counter()
cube = open_cube(whole)
opened = time.perf_counter() - started
growth = rss() - before
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
(behind,) = (each for each in tiles.OPEN._all if each.plan is whole.only)
behind._source = Fill()
bbox = [float(value) for value in (0, 0, 40000, 40000)]
started = time.perf_counter()
corner = open_cube(whole, bbox=bbox, **({"time": ("2020-01-01", "2020-01-03")} if shape["days"] else {}))
narrowed = time.perf_counter() - started
started = time.perf_counter()
one = cube.isel(y=slice(0, 1), x=slice(0, 1), **({"time": slice(0, 1)} if shape["days"] else {}))
one.compute()
touched = time.perf_counter() - started
print(json.dumps({
    "tiles": whole.only.tile_count, "open_seconds": round(opened, 3), "rss_growth_mb": round(growth, 1),
    "peak_growth_mb": round(max(0.0, peak - max(before, peak_before)), 1),
    "open_four_tiles_by_bbox_seconds": round(narrowed, 3),
    "tiles_asked_for_by_one_pixel_of_four_bands": Fill.bought,
    "one_pixel_by_isel_seconds": round(touched, 2),
}))
"""


def run() -> dict[str, Any]:
    """A million tiles as one picture, and as a time series, each in a fresh interpreter; no service is there."""
    shapes = {
        "one_picture": {"columns": 1000, "rows": 1000, "days": 0},
        "time_series": {"columns": 32, "rows": 32, "days": 980},
    }
    return {name: _measure(shape) for name, shape in shapes.items()}


def _measure(shape: dict[str, int]) -> dict[str, Any]:
    out = subprocess.run([sys.executable, "-c", CODE % json.dumps(shape)], capture_output=True, text=True, check=False)
    assert out.returncode == 0, out.stderr
    found: dict[str, Any] = json.loads(out.stdout)
    return found
