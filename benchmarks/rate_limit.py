"""How many of 1000 requests at 600 a minute are answered 429, and how much of the rate is used?"""

from __future__ import annotations

import os
import tempfile
from pathlib import Path
from typing import Any

import shdask
from shdask.cluster.local import open_local_client
from shdask.emulator.launch import start_emulator

RATE = 600
TILE_PX = 64


def run() -> dict[str, Any]:
    """1024 small tiles by two worker processes against a bucket of 600 that refills at 600 a minute."""
    side = 32 * TILE_PX * 10
    spec = shdask.CubeSpec(
        aoi=[500_000, 5_100_000, 500_000 + side, 5_100_000 + side],
        aoi_crs="EPSG:32633",
        crs="EPSG:32633",
        resolution=10,
        time=["2024-06-01", "2024-06-30"],
        layers={"s2": {"collection": "sentinel-2-l2a", "bands": ["B04"]}},
        store={"chunk_px": TILE_PX, "tile_px": TILE_PX},
        service={"requests_per_minute": RATE, "pu_per_minute": 1000},
    )
    with (
        tempfile.TemporaryDirectory() as folder,
        start_emulator(requests_per_minute=RATE, latency_s=0.3) as service,
        open_local_client(2) as client,
    ):
        os.environ.update(service.environment())
        report = shdask.build_cube(spec, Path(folder) / "cube", client=client)
    sent = report.requests
    return {
        "requests": sent,
        "answered_429": report.rejected,
        "answered_429_per_1000": round(1000 * report.rejected / sent, 2),
        "seconds": round(report.seconds, 1),
        "least_seconds_with_our_burst": round((sent - RATE / 2) / RATE * 60, 1),
        "least_seconds_with_the_whole_bucket": round((sent - RATE) / RATE * 60, 1),
    }
