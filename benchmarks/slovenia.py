"""Does Slovenia at 20 m, bought in tiles, equal big requests bit for bit wherever one fits?"""

from __future__ import annotations

import os
import tempfile
from itertools import product
from pathlib import Path
from typing import Any

import numpy as np

import shdask
from shdask.cluster.local import open_local_client
from shdask.emulator.launch import start_emulator
from shdask.fetch.auth import ClientCredentials
from shdask.fetch.client import RequestsTransport, ServiceClient
from shdask.fetch.limiter import LimiterState, LocalRateGate
from shdask.fetch.process import fetch_tile
from shdask.model import Tile, Window
from shdask.plan.group import GroupPlan
from shdask.serve.preview import preview
from shdask.settings import Credentials

BORDER = Path(__file__).parents[1].parent / "shared" / "data" / "slovenia.geojson"
PICTURE = Path(__file__).parents[1] / "docs" / "slovenia.png"
BANDS = ["B02", "B03", "B04", "B08"]
REQUEST_PX = 2500


def make_spec() -> shdask.CubeSpec:
    """The real border, the synthetic Earth, tiles of 2048 px."""
    return shdask.CubeSpec(
        aoi=str(BORDER),
        crs="EPSG:32633",
        resolution=20,
        time=["2024-07-01", "2024-07-31"],
        layers={
            "s2": {
                "collection": "sentinel-2-l2a",
                "bands": BANDS,
                "mosaicking_order": "leastCC",
                "max_cloud_cover": 0.6,
            }
        },
        service={"requests_per_minute": 1e6, "pu_per_minute": 1e6},
    )


def windows_across_tiles(plan: GroupPlan) -> list[Window]:
    """The largest request around every inner corner of four tiles."""
    rows, columns = plan.grid.shape
    corners = product(
        range(plan.store.tile_px, rows, plan.store.tile_px), range(plan.store.tile_px, columns, plan.store.tile_px)
    )
    half = REQUEST_PX // 2
    return [
        Window(y0=max(0, y - half), y1=min(rows, y + half), x0=max(0, x - half), x1=min(columns, x + half))
        for y, x in corners
    ]


def run() -> dict[str, Any]:
    """Build, then buy 2500 px windows that straddle four tiles each, and compare every pixel; draw the country."""
    with tempfile.TemporaryDirectory() as folder, start_emulator() as service:
        os.environ.update(service.environment())
        whole = shdask.make_plan(make_spec())
        plan = whole.only
        with open_local_client(2) as client:
            report = shdask.build_cube(whole, Path(folder) / "cube", client=client)
        report.raise_for_failures()
        cube = shdask.open_cube(Path(folder) / "cube")
        preview(cube).save(PICTURE)
        transport = RequestsTransport(pool_size=1)
        tokens = ClientCredentials(transport, plan.deployment, Credentials.load())
        bought = ServiceClient(
            plan.deployment, transport, LocalRateGate(LimiterState.for_deployment(plan.deployment)), tokens
        )
        compared = different = 0
        for window in windows_across_tiles(plan):
            tile = Tile(index=0, row=0, column=0, extent=window, windows=(window,))
            picture = fetch_tile(plan, tile, bought)
            mask = picture.data_mask & plan.area_mask(window)
            y, x = window.slices
            part = cube.isel(y=y, x=x)
            values = np.stack([part[band].to_numpy() for band in BANDS])
            wrong = (values != np.where(mask, picture.values, 0)).any(axis=0) | (
                (part["data_mask"].to_numpy() == 1) != mask
            )
            compared += int(plan.area_mask(window).sum())
            different += int(wrong.sum())
        transport.close()
    return {
        "grid_px": list(plan.grid.shape),
        "tiles": report.tiles,
        "pu": round(report.pu_spent, 2),
        "seconds": round(report.seconds, 1),
        "big_requests": len(windows_across_tiles(plan)),
        "pixels_of_the_area_compared": compared,
        "pixels_different": different,
    }
