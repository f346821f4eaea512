"""What do composites by the service cost beside all dates composited here in a month and a year, and do they agree?"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

import shdask
from shdask.emulator.launch import EmulatorProcess, start_emulator
from shdask.plan.group import GroupPlan
from shdask.request.composite import CompositeMethod
from shdask.serve.composite import make_composite

BANDS = ["B02", "B03", "B04", "B08"]
SIDE_PX = 128
CLEAREST = 0.3
"""A look at the classification leaves out tile-dates that are less clear than this."""
RATES = {"requests_per_minute": 600, "pu_per_minute": 1000}
MEMORY_CODE = """
import json, sys
from pathlib import Path
import dask, dask.array as da, numpy as np, xarray as xr
from shdask.serve.composite import make_composite
side, dates, method = int(sys.argv[1]), int(sys.argv[2]), sys.argv[3]
chunks = (1, 512, 512)
def values(top, dtype):
    made = da.random.default_rng(0).integers(0, top, (dates, side, side), chunks=chunks)
    return (("time", "y", "x"), made.astype(dtype))
bands = {name: values(4000, "uint16") for name in ("B02", "B03", "B04", "B08")}
cube = xr.Dataset(
    {**bands, "SCL": values(12, "uint8"), "data_mask": values(2, "uint8")},
    coords={"time": (np.datetime64("2024-06-01") + np.arange(dates)).astype("M8[ns]")},
    attrs={"source": "sentinel-2-l2a"},
)
made = make_composite(cube, method)
def resident_kb(name):
    return int(Path("/proc/self/status").read_text().split(name + ":")[1].split()[0])
Path("/proc/self/clear_refs").write_text("5")  # the peak counts from here
base = resident_kb("VmRSS")
with dask.config.set(scheduler="threads", num_workers=2):
    total = int(made["clear_count"].sum() + made["B04"].sum())
peak = resident_kb("VmHWM")
input_mb = round(dates * side * side * 10 / 1e6)
print(json.dumps({"side_px": side, "input_mb": input_mb, "peak_mb_above_imports": (peak - base) // 1024}))
"""


def run() -> dict[str, Any]:
    """128 x 128 px of 20 m, four bands, by months; the emulator charges by the published formula."""
    spans = {"month": ("2024-06-01", "2024-06-30"), "year": ("2024-01-01", "2024-12-31")}
    methods: dict[str, tuple[CompositeMethod, ...]] = {"month": ("median", "medoid", "max-ndvi"), "year": ("median",)}
    with tempfile.TemporaryDirectory() as folder, start_emulator(script_timeout_s=120) as service:
        os.environ.update(service.environment())
        both = {name: _compare(Path(folder, name), service, days, methods[name]) for name, days in spans.items()}
    return {**both, "memory": [_measure_memory(side) for side in (1024, 2048)]}


def _compare(
    folder: Path, service: EmulatorProcess, days: tuple[str, str], methods: Sequence[CompositeMethod]
) -> dict[str, Any]:
    composites = {
        method: _buy(folder / method, service, days, {"cadence": "month", "composite": method}) for method in methods
    }
    dates = _buy(folder / "dates", service, days, {"cadence": "day", "bands": [*BANDS, "SCL"]})
    some = _buy(
        folder / "clear", service, days, {"cadence": "day", "bands": [*BANDS, "SCL"], "clear": {"min": CLEAREST}}
    )
    cube = shdask.open_cube(folder / "dates")
    started = time.perf_counter()
    ours = {method: make_composite(cube, method, freq="month").compute() for method in methods}
    seconds = time.perf_counter() - started
    theirs = {method: shdask.open_cube(folder / method).load() for method in methods}
    equal = {
        method: all(
            np.array_equal(ours[method][name], theirs[method][name]) for name in (*BANDS, "clear_count", "data_mask")
        )
        for method in methods
    }
    return {
        "dates": int(cube.sizes["time"]),
        "months": int(theirs["median"].sizes["time"]),
        "composites": composites,
        "all_dates": dates,
        "dates_at_least_30_percent_clear": some,
        "every_pixel_equal": equal,
        "seconds_to_composite_here": round(seconds / len(methods), 2),
    }


def _buy(store: Path, service: EmulatorProcess, days: tuple[str, str], layer: dict[str, Any]) -> dict[str, Any]:
    side = SIDE_PX * 20
    plan = shdask.make_plan(
        shdask.CubeSpec(
            aoi=[500_000, 5_100_000, 500_000 + side, 5_100_000 + side],
            aoi_crs="EPSG:32633",
            crs="EPSG:32633",
            resolution=20,
            time=days,
            layers={"s2": {"collection": "sentinel-2-l2a", "bands": BANDS, **layer}},
            store={"chunk_px": SIDE_PX, "tile_px": SIDE_PX},
            service=RATES,
        )
    )
    before, started = service.stats()["pu_charged"], time.perf_counter()
    report = shdask.build_cube(plan, store, executor=shdask.SerialExecutor())
    report.raise_for_failures()
    group: GroupPlan = plan.groups[""]
    said = {} if group.all_dates is None else {"plan_says_all_dates_cost_pu": round(group.all_dates.pu, 3)}
    return {
        "requests": report.requests,
        "pu_projected": round(plan.cost.pu, 3),
        "pu_charged": round(service.stats()["pu_charged"] - before, 3),
        "mb_before_compression": round(plan.cost.nbytes_down / 1e6, 2),
        "seconds_on_the_emulator": round(time.perf_counter() - started, 1),
        **said,
    }


def _measure_memory(side: int) -> dict[str, Any]:
    command = [sys.executable, "-c", MEMORY_CODE, str(side), "12", "medoid"]
    done = subprocess.run(command, capture_output=True, text=True, check=True)
    found: dict[str, Any] = json.loads(done.stdout)
    return found
