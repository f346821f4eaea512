"""What do eight faults at 2 % each cost 2,000 tiles: wrong pixels, PU paid over PU needed, requests, time?"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import numpy as np
import xarray as xr

import shdask
from shdask.cluster.executor import DaskExecutor
from shdask.cluster.local import open_local_client
from shdask.cluster.patience import Patience
from shdask.emulator.launch import start_emulator
from shdask.fetch.transport import Timeouts
from shdask.report import BuildReport

TILE_PX = 64
COLUMNS, ROWS = 50, 40
KINDS = ("503", "502=html", "429", "reset", "cut", "cut-chunked", "html", "revoke")
SHARE = 0.02
PATIENCE = Patience(timeouts=Timeouts(connect_s=5, read_s=10, total_s=20))


def make_spec(tile_px: int = TILE_PX) -> shdask.CubeSpec:
    """50 x 40 tiles of 64 px and one band, or the same pixels in larger tiles."""
    step = TILE_PX * 10
    return shdask.CubeSpec(
        aoi=[500_000, 5_000_000, 500_000 + COLUMNS * step, 5_000_000 + ROWS * step],
        aoi_crs="EPSG:32633",
        crs="EPSG:32633",
        resolution=10,
        time=["2024-06-01", "2024-06-30"],
        layers={"s2": {"collection": "sentinel-2-l2a", "bands": ["B04"]}},
        store={"chunk_px": tile_px, "tile_px": tile_px},
        service={"requests_per_minute": 60_000, "pu_per_minute": 60_000},
    )


def wrong_pixels(found: Path, expected: Path) -> int:
    """Pixels of data and mask that differ."""
    one, other = shdask.open_cube(found).load(), shdask.open_cube(expected).load()
    return sum(_unequal(one[name], other[name]) for name in other.data_vars)


def _unequal(one: xr.DataArray, other: xr.DataArray) -> int:
    return int(np.count_nonzero(one.to_numpy() != other.to_numpy()))


def run() -> dict[str, Any]:
    """Builds under faults until the cube is complete, beside the same pixels bought in large undisturbed tiles."""
    with tempfile.TemporaryDirectory() as folder, start_emulator() as service, open_local_client(2) as client:
        os.environ.update(service.environment())
        plan = shdask.make_plan(make_spec())
        shdask.build_cube(make_spec(1024), Path(folder) / "undisturbed", client=client).raise_for_failures()
        service.reset()
        service.set_faults(",".join(f"{kind}:{SHARE}" for kind in KINDS))
        reports: list[BuildReport] = []
        while not reports or not reports[-1].complete:
            executor = DaskExecutor(client, PATIENCE)
            reports.append(shdask.build_cube(plan, Path(folder) / "cube", executor=executor))
        stats = service.stats()
        wrong = wrong_pixels(Path(folder) / "cube", Path(folder) / "undisturbed")
    return {
        "tiles": plan.tile_count,
        "faults": dict.fromkeys(KINDS, SHARE),
        "struck": stats["faults"],
        "wrong_pixels": wrong,
        "runs": len(reports),
        "failed_tiles_of_the_first_run": reports[0].failed,
        "pu_needed": round(plan.cost.pu, 2),
        "pu_charged_by_the_service": round(stats["pu_charged"], 2),
        "pu_told_by_the_reports": round(sum(report.pu_spent for report in reports), 2),
        "pu_unknown_told_by_the_reports": round(sum(report.pu_unknown for report in reports), 2),
        "charged_over_needed": round(stats["pu_charged"] / plan.cost.pu, 3),
        "requests": sum(report.requests for report in reports),
        "seconds": round(sum(report.seconds for report in reports), 1),
    }
