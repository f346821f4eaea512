"""What do 500 labelled patches of Slovenia cost beside the whole country, all dates and the dates of their labels?

Prices by formula, nothing is bought: 73 dates of three bands at 10 m, patches of 256 px at random places inside the
border, each with a date of its own where patches are dated.
"""

from __future__ import annotations

import time
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from typing import Any

import numpy as np
import shapely

import shdask
from benchmarks.windows import BANDS, NO_QUOTAS, RATES, slovenia
from shdask.patches.buying import plan_patches
from shdask.patches.table import Patches
from shdask.plan.acquisition import Acquisition
from shdask.plan.cube import CubePlan, make_cube_plan
from shdask.plan.group import GroupPlan
from shdask.plan.placing import place_in_time
from shdask.plan.timeline import make_timeline
from shdask.planning import plan_before_search
from tests.unit.patches.rows import make_patches

COUNT = 500
PATCH_PX = 256
EVERY_DAYS = 5
DAYS_AROUND = 10
TILES_PX = (2048, 512, 256)
FIRST = datetime(2024, 1, 2, 10, tzinfo=UTC)
DATES = 73


def run() -> dict[str, Any]:
    """One row for each size of tiles: the country, the patches at all dates, and at the dates of their labels."""
    return {
        "patches": COUNT,
        "patch_px": PATCH_PX,
        "dates": DATES,
        "days_around": DAYS_AROUND,
        "tiles": [compare(tile_px) for tile_px in TILES_PX],
    }


def compare(tile_px: int) -> dict[str, Any]:
    """Price and requests of the three, and how long planning the narrow ones took."""
    whole = plan_country(tile_px)
    patches = choose(whole.only)
    started = time.perf_counter()
    plans = {
        "country": whole,
        "patches": plan_patches(whole, patches),
        "dated_patches": plan_patches(whole, with_dates(patches), days_around=DAYS_AROUND),
    }
    seconds = time.perf_counter() - started
    costs = {name: plan.cost for name, plan in plans.items()}
    prices = {name: {"pu": round(cost.pu, 1), "requests": cost.requests} for name, cost in costs.items()}
    own = DATES * patches_px(plans["patches"].only) * whole.only.layer.price((tile_px, tile_px)) / tile_px**2
    return {
        "tile_px": tile_px,
        **prices,
        "patches_own_pixels_pu": round(own, 1),
        "planning_s": round(seconds, 1),
    }


def plan_country(tile_px: int) -> CubePlan:
    """Every date reaches all of it."""
    spec = shdask.CubeSpec(
        aoi=slovenia(),
        aoi_crs="EPSG:32633",
        crs="EPSG:32633",
        resolution=10,
        time=["2024-01-01", "2024-12-31"],
        layers={"s2": {"collection": "sentinel-2-l2a", "bands": BANDS, "cadence": "day"}},
        store={"tile_px": tile_px, "chunk_px": 256},
        service={**RATES, **NO_QUOTAS},
    )
    interval = spec.interval
    assert interval is not None
    times = [FIRST + day * timedelta(days=EVERY_DAYS) for day in range(DATES)]
    scenes = [
        Acquisition(id=f"{moment:%Y%m%d}", time=moment, footprint=shapely.box(10, 40, 20, 50)) for moment in times
    ]
    timeline = make_timeline(scenes, "day", interval)
    return make_cube_plan({"": place_in_time(plan_before_search(spec).only, timeline)})


def choose(group: GroupPlan) -> Patches:
    """Wholly inside the border."""
    rng = np.random.default_rng(0)
    rows, columns = group.grid.shape
    inside = group.area_mask(group.grid.window)
    corners: list[tuple[int, int]] = []
    while len(corners) < COUNT:
        y0, x0 = int(rng.integers(rows - PATCH_PX)), int(rng.integers(columns - PATCH_PX))
        if inside[y0 : y0 + PATCH_PX, x0 : x0 + PATCH_PX].all():
            corners.append((y0, x0))
    return make_patches(group.grid, corners, size_px=PATCH_PX)


def with_dates(patches: Patches) -> Patches:
    """A day of the year each."""
    days = np.datetime64("2024-01-01", "s") + np.random.default_rng(1).integers(0, 366, len(patches)).astype(
        "timedelta64[D]"
    )
    return replace(patches, date=days)


def patches_px(group: GroupPlan) -> int:
    """Pixels that patches show, each once."""
    return int(group.area_mask(group.grid.window).sum())
