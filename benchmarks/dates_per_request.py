"""What do several dates a request save, with tiles of 256 px and 60 dates at 600 requests a minute?"""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import replace
from datetime import date
from pathlib import Path
from typing import Any

import numpy as np

import shdask
from shdask.cluster.local import open_local_client
from shdask.emulator.launch import EmulatorProcess, start_emulator
from shdask.plan.cube import CubePlan, make_cube_plan

RATE = 600
PU_RATE = 1000
TILE_PX = 256
SIDE_TILES = 4


def run() -> dict[str, Any]:
    """16 cells x 60 dates x 3 bands, 0.3 s latency, both buckets full at the start of each build."""
    with tempfile.TemporaryDirectory() as folder:
        bundled = _build(Path(folder, "bundled"), alone=False)
        alone = _build(Path(folder, "alone"), alone=True)
        cubes = [shdask.open_cube(Path(folder, name)).load() for name in ("bundled", "alone")]
    equal = all(np.array_equal(cubes[0][name], cubes[1][name]) for name in cubes[0].data_vars)
    return {
        "dates": int(cubes[0].sizes["time"]),
        "bundled": bundled,
        "alone": alone,
        "every_pixel_equal": equal,
        "times_fewer_requests": round(alone["requests"] / bundled["requests"], 1),
        "times_faster": round(alone["seconds"] / bundled["seconds"], 2),
    }


def _build(store: Path, *, alone: bool) -> dict[str, Any]:
    with _service() as service, open_local_client(2) as client:
        os.environ.update(service.environment())
        plan = shdask.make_plan(_spec())
        if alone:
            plan = _alone(plan)
        report = shdask.build_cube(plan, store, client=client)
        charged = service.stats()["pu_charged"]
    return {
        "requests": report.requests,
        "answered_429": report.rejected,
        "pu": round(report.pu_spent, 3),
        "pu_charged_with_the_catalogue": round(charged, 3),
        "seconds": round(report.seconds, 1),
        "projected_minutes": round(plan.cost.minutes, 2),
    }


@contextmanager
def _service() -> Iterator[EmulatorProcess]:
    with start_emulator(requests_per_minute=RATE, pu_per_minute=PU_RATE, latency_s=0.3) as service:
        yield service


def _spec() -> shdask.CubeSpec:
    side = SIDE_TILES * TILE_PX * 10
    return shdask.CubeSpec(
        aoi=[500_000, 5_100_000, 500_000 + side, 5_100_000 + side],
        aoi_crs="EPSG:32633",
        crs="EPSG:32633",
        resolution=10,
        time=[date(2024, 3, 1), date(2024, 7, 28)],
        layers={"s2": {"collection": "sentinel-2-l2a", "bands": ["B02", "B04", "B08"], "cadence": "acquisition"}},
        store={"chunk_px": TILE_PX, "tile_px": TILE_PX},
        service={"requests_per_minute": RATE, "pu_per_minute": PU_RATE},
    )


def _alone(plan: CubePlan) -> CubePlan:
    """The same plan with one date a request."""
    group = plan.only
    return make_cube_plan({"": replace(group, tile_set=replace(group.tile_set, bundles=()))}, notes=plan.notes)
