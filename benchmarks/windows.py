"""What do windows trimmed to the area cost beside whole boxes, and how long does it take to cut them?"""

from __future__ import annotations

import json
import math
import subprocess
import sys
import time
from collections.abc import Iterable
from pathlib import Path
from typing import Any

import numpy as np
import sentinelhub
import shapely

import shdask
from shdask.plan.cuts import Cutter
from shdask.plan.group import GroupPlan
from shdask.plan.windows import cut_windows

SLOVENIA = Path(__file__).parents[1].parent / "shared" / "data" / "slovenia.geojson"
RESOLUTION_M = 10
BOX_PX = 2500
"""Of a peer's box: the longest side of one request."""
BANDS = ["B02", "B03", "B04"]
RATES = {"requests_per_minute": 600, "pu_per_minute": 1000}
NO_QUOTAS = {"requests_per_month": 1e12, "pu_per_month": 1e12}
WORTH_PU = 0.5
"""What a request is taken to be worth where plans are compared by one number: PU + 0.5 x requests."""
XCUBE_TILE_PX = 1000
"""DEFAULT_TILE_SIZE of xcube-sh; a tile of the default has as many pixels as a square of this side."""
BORDER_CODE = """
import json, resource, time
import numpy as np, shapely
import shdask
from shdask.plan import placing, windows
from benchmarks.windows import BANDS
rng, side, count = np.random.default_rng(0), 2048 * 10.0, {rows}
x = np.linspace(0, count * side, 6 * count)
def edge(y):
    return np.stack((x, y + rng.uniform(-0.15, 0.15, x.size) * side), axis=1)
ribbons = [
    np.concatenate((edge((row + 0.25) * side), edge((row + 0.75) * side)[::-1])) for row in range(count)
]
land = shapely.MultiPolygon([shapely.Polygon(ribbon) for ribbon in ribbons])
spec = shdask.CubeSpec(
    aoi=land, aoi_crs="EPSG:3857", crs="EPSG:3857", resolution=10, time=["2024-06-01", "2024-06-30"],
    layers={{"s2": {{"collection": "sentinel-2-l2a", "bands": BANDS}}}},
)
base = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
started, cpu = time.perf_counter(), time.process_time()
plan = shdask.make_plan(spec).only
cost = plan.cost
print(json.dumps({{
    "border_tiles": plan.ground.border().count, "border_vertices": 12 * count * count,
    "windows": int(plan.windows.by_cell.boxes.shape[0]), "seconds": round(time.perf_counter() - started, 1),
    "cpu_seconds": round(time.process_time() - cpu, 1),
    "peak_rss_mb": round(resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024),
    "rss_before_mb": round(base / 1024),
}}))
"""


def ragged(x: float, y: float, radius: float, seed: int) -> shapely.Geometry:
    """A coast whose radius wanders, with bays down to a hundredth of it; metres."""
    rng = np.random.default_rng(seed)
    angle = np.linspace(0, 2 * np.pi, 1500, endpoint=False)
    waves = sum(np.sin(k * angle + rng.uniform(0, 2 * np.pi)) / k for k in range(2, 150))
    length = radius * (1 + 0.15 * waves)
    ring = shapely.Polygon(np.stack((x + length * np.cos(angle), y + length * np.sin(angle)), axis=1))
    return shapely.buffer(ring, 0)


def archipelago() -> shapely.Geometry:
    """80 islands of 1 to 20 km across 400 x 300 km."""
    rng = np.random.default_rng(1)
    places = zip(rng.uniform(-2e5, 2e5, 80), rng.uniform(-1.5e5, 1.5e5, 80), 1e3 * 20 ** rng.random(80), strict=True)
    return shapely.union_all([ragged(5e5 + x, 5.1e6 + y, size, seed) for seed, (x, y, size) in enumerate(places)])


def thin_country() -> shapely.Geometry:
    """800 km long and 20 to 50 km wide, between a coast and a range that wander."""
    rng = np.random.default_rng(2)
    y = np.linspace(-4e5, 4e5, 3000)
    wander = sum(6e4 / k * np.sin(k * y / 2e5 + rng.uniform(0, 6)) for k in range(1, 60))
    width = 3.5e4 + sum(8e3 / k * np.sin(k * y / 6e4 + rng.uniform(0, 6)) for k in range(1, 60))
    west, east = np.stack((wander, y), axis=1), np.stack((wander + width, y), axis=1)
    return shapely.affinity.translate(
        shapely.buffer(shapely.Polygon(np.concatenate((west, east[::-1]))), 0), 5e5, 5.1e6
    )


def ring() -> shapely.Geometry:
    """A rim of some 15 km around a hole of 220 km."""
    return shapely.difference(ragged(5e5, 5.1e6, 1.25e5, 3), shapely.buffer(ragged(5e5, 5.1e6, 1.25e5, 3), -1.5e4))


def slovenia() -> shapely.Geometry:
    """The real border; its file is in EPSG:32633, too."""
    return shapely.geometry.shape(json.loads(SLOVENIA.read_text())["features"][0]["geometry"])


def plan_of(area: shapely.Geometry, prefer: str) -> GroupPlan:
    """At 10 m, in tiles of 2048 px."""
    spec = shdask.CubeSpec(
        aoi=area,
        aoi_crs="EPSG:32633",
        crs="EPSG:32633",
        resolution=RESOLUTION_M,
        time=["2024-06-01", "2024-06-30"],
        layers={"s2": {"collection": "sentinel-2-l2a", "bands": BANDS}},
        service={"prefer": prefer, **RATES, **NO_QUOTAS},
    )
    return shdask.make_plan(spec).only


def row(plan: GroupPlan, own_pu: float, boxes: Iterable[tuple[int, int]]) -> dict[str, Any]:
    """What boxes of so many pixels cost."""
    prices = [plan.layer.price(box) for box in boxes]
    return _row(len(prices), math.fsum(prices), own_pu)


def _row(requests: int, pu: float, own_pu: float) -> dict[str, Any]:
    minutes = max(requests / RATES["requests_per_minute"], pu / RATES["pu_per_minute"])
    return {"pu": round(pu, 1), "ratio": round(pu / own_pu, 4), "requests": requests, "minutes": round(minutes, 3)}


def split(kind: str, area: shapely.Geometry) -> list[tuple[int, int]]:
    """Sizes of the boxes of the peer's own splitter, in pixels."""
    size, crs = BOX_PX * RESOLUTION_M, sentinelhub.CRS("32633")
    areas: list[Any] = [area]
    if kind == "UtmGridSplitter":
        splitter: Any = sentinelhub.UtmGridSplitter(areas, crs, bbox_size=size)
    else:
        splitter = sentinelhub.BBoxSplitter(areas, crs, split_size=size, reduce_bbox_sizes="reduced" in kind)
    boxes = splitter.get_bbox_list()
    return [sentinelhub.bbox_to_dimensions(box, RESOLUTION_M) for box in boxes]


def pad_as_xcube(width: int, height: int) -> list[tuple[int, int]]:
    """The boxes of xcube-sh 0.11 for a bounding box, computed from the rule in its CubeConfig.

    The default tile has a million pixels in the shape of the box, at most 2500 a side; each side is padded up to whole
    tiles, and every tile of the box is bought.
    """
    tile_width = math.ceil(math.sqrt(width * XCUBE_TILE_PX**2 / height))
    tile_height = min(-(-(XCUBE_TILE_PX**2) // tile_width), BOX_PX)
    tile_width = min(tile_width, BOX_PX)
    columns, tile_width = (1, width) if width < 1.5 * tile_width else (-(-width // tile_width), tile_width)
    rows, tile_height = (1, height) if height < 1.5 * tile_height else (-(-height // tile_height), tile_height)
    return [(tile_height, tile_width)] * (rows * columns)


def compare(area: shapely.Geometry) -> dict[str, Any]:
    """One shape, by us and by its peers."""
    started = time.process_time()
    plan = plan_of(area, "auto")
    cpu = time.process_time() - started
    _, starts, stops = plan.area.spans(0, plan.grid.shape[0])
    own_pu = float(plan.layer.price_pixels(np.array([float((stops - starts).sum())]))[0])
    rows = {
        f"shdask, prefer {prefer}": _row(cost.requests, cost.pu, own_pu)
        for prefer, cost in {
            "auto": plan.cost,
            "pu": plan_of(area, "pu").cost,
            "requests": plan_of(area, "requests").cost,
        }.items()
    }
    whole = [tile.extent.shape for tile in plan.tiles()]
    rows["whole tiles of 2048 px"] = row(plan, own_pu, whole)
    for kind in ("BBoxSplitter", "BBoxSplitter, boxes reduced", "UtmGridSplitter"):
        rows[f"sentinelhub-py {kind}"] = row(plan, own_pu, split(kind, area))
    height, width = plan.grid.shape
    rows["xcube-sh, computed from its rule"] = row(plan, own_pu, pad_as_xcube(width, height))
    return {
        "grid_px": [height, width],
        "km2": round(own_pu * 512**2 * RESOLUTION_M**2 / 1e6),
        "own_pu": round(own_pu, 2),
        "tiles": plan.tile_count,
        "border_tiles": plan.ground.border().count,
        "planning_cpu_seconds": round(cpu, 2),
        "plans": rows,
    }


def at_one_worth(area: shapely.Geometry) -> dict[str, Any]:
    """The least PU + 0.5 x requests that our cuts reach."""
    plan = plan_of(area, "requests")
    border = plan.ground.border()
    table = cut_windows(border, Cutter(price=plan.layer.price_pixels, per_box=WORTH_PU))
    full = plan.tile_count - border.count
    pu = float(plan.layer.price_pixels(table.pixels).sum()) + full * plan.layer.price((2048, 2048))
    requests = full + table.boxes.shape[0]
    return {"worth_pu": WORTH_PU, "pu": round(pu, 2), "requests": requests, "sum": round(pu + WORTH_PU * requests, 2)}


def run() -> dict[str, Any]:
    """Slovenia where its border is at hand, three shapes, and a shape with more than 100,000 border tiles."""
    shapes = {"archipelago": archipelago(), "thin country": thin_country(), "ring": ring()}
    found: dict[str, Any] = {"resolution_m": RESOLUTION_M, "bands": len(BANDS), "box_px": BOX_PX, "rates": RATES}
    if SLOVENIA.exists():
        shapes = {"slovenia": slovenia(), **shapes}
        found["slovenia_at_one_worth"] = at_one_worth(shapes["slovenia"])
    else:
        found["slovenia"] = f"not run: {SLOVENIA.name} is not beside this checkout"
    found["shapes"] = {name: compare(area) for name, area in shapes.items()}
    code = [sys.executable, "-c", BORDER_CODE.format(rows=320)]
    out = subprocess.run(code, capture_output=True, text=True, check=True, cwd=Path(__file__).parents[1]).stdout
    found["many_border_tiles"] = json.loads(out)
    return found
