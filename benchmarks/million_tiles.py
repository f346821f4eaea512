"""How long and how much memory does it take to plan a million tiles?"""

from __future__ import annotations

import json
import subprocess
import sys
from typing import Any

CODE = """
import json, math, resource, time
import shdask
from shdask.plan import cube
import odc.geo.geobox
base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
side = 1000 * 2048 * 10.0
ring = []
for i in range({vertices}):
    angle = 2 * math.pi * i / {vertices}
    radius = side * {radius} * (1 + 0.05 * math.sin(37 * angle) + 0.01 * math.sin(911 * angle))
    ring.append((radius * math.cos(angle), radius * math.sin(angle)))
ring.append(ring[0])
spec = shdask.CubeSpec(
    aoi={{"type": "Polygon", "coordinates": [ring]}}, aoi_crs="EPSG:3857", crs="EPSG:3857", resolution=10,
    time=["2024-06-01", "2024-06-30"],
    layers={{"s2": {{"collection": "sentinel-2-l2a", "bands": ["B02", "B03", "B04"]}}}},
)
started = time.perf_counter()
plan = shdask.make_plan(spec).only
cost = plan.cost
planned = time.perf_counter() - started
peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
started = time.perf_counter()
total = math.fsum(plan.window_pu(window) for tile in plan.tiles() for window in tile.windows)
print(json.dumps({{
    "tiles": plan.tile_count, "border_vertices": {vertices}, "seconds": round(planned, 2),
    "peak_rss_mb": round(peak / 1024), "rss_before_mb": round(base / 1024),
    "pu_by_formula": cost.pu, "pu_by_enumeration": total,
    "enumeration_seconds": round(time.perf_counter() - started, 1),
}}))
"""


def run() -> dict[str, Any]:
    """A ragged disc of about a million tiles of 2048 px at 10 m, planned in a fresh interpreter."""
    code = CODE.format(vertices=10_000, radius=0.5643)
    out = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout
    found: dict[str, Any] = json.loads(out)
    return found
