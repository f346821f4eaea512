"""A plan by small jobs: nothing of it is ever sent."""

from __future__ import annotations

from dataclasses import replace

import pytest

import shdask
from shdask.plan.group import GroupPlan
from shdask.plan.route import route_again

SQUARE = {
    "type": "Polygon",
    "coordinates": [[[14.40, 46.00], [14.48, 46.00], [14.48, 46.06], [14.40, 46.06], [14.40, 46.00]]],
}


@pytest.fixture(scope="session")
def plan() -> GroupPlan:
    """Tiles of 64 px in jobs of 2 x 2, two parts of the layer."""
    spec = shdask.CubeSpec(
        aoi=SQUARE,
        crs="EPSG:32633",
        resolution=40,
        time=["2024-06-01", "2024-06-30"],
        layers={
            "s2": {"collection": "sentinel-2-l2a", "bands": ["B02", "SCL"], "resampling": "bilinear", "route": "async"}
        },
        store={"chunk_px": 64, "tile_px": 64},
        delivery={"s3_url": "s3://bucket/cubes"},
    )
    found = shdask.make_plan(spec).only
    return route_again(replace(found, deployment=replace(found.deployment, max_async_px=128)))
