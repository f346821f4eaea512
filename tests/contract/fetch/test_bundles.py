"""Dates bought together and one by one: the same pixels for the same price, with fewer requests."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest

from shdask.account import fetch_timeline
from shdask.fetch.client import Spent
from shdask.fetch.process import fetch_tile, fetch_tiles
from shdask.plan.placing import place_in_time

SMALL: dict[str, Any] = {
    "aoi": (500000.0, 5100000.0, 505120.0, 5105120.0),
    "time": ("2024-05-01", "2024-07-31"),
    "store": {"chunk_px": 128, "tile_px": 256},
}


@pytest.fixture(autouse=True)
def _zeroed(emulator: Any) -> None:
    emulator.reset()


@pytest.mark.parametrize(
    "layer",
    [
        {"collection": "sentinel-2-l2a", "bands": ["B04", "SCL"], "resampling": "bilinear", "cadence": "acquisition"},
        {"collection": "sentinel-2-l2a", "bands": ["B04"], "max_cloud_cover": 0.6, "cadence": "day"},
        {
            "collection": "sentinel-1-grd",
            "bands": ["VV", "VH"],
            "encode": {"scale": 0.01, "db": True},
            "orbit_direction": "ascending",  # in both directions there are days of two passes
            "cadence": "acquisition",
        },
    ],
    ids=["parts", "cloudless-days", "radar"],
)
def test_dates_bought_together_are_those_bought_alone(
    emulator: Any, open_room: Any, plan_of: Any, layer: dict[str, Any]
) -> None:
    """Bit for bit, mask included, and the service charges the same; a request brings several."""
    # so few requests a minute that as many dates go into one as its limits allow
    room = open_room(emulator, requests_per_minute=60.0, pu_per_minute=600.0)
    group = plan_of(room, **SMALL, layers={"layer": layer})
    plan = place_in_time(group, fetch_timeline(room.client, group, Spent()))
    tiles = plan.tile_set
    together, alone = Spent(), Spent()
    patient = open_room(emulator).client
    bundles = [
        [plan.tile(index) for index in bundle] for bundle in tiles.bundle(tiles.in_order(tiles.indices()).tolist())
    ]
    bought = [data for bundle in bundles for data in fetch_tiles(plan, bundle, patient, spent=together)]
    single = [fetch_tile(plan, tile, patient, spent=alone) for bundle in bundles for tile in bundle]
    np.testing.assert_array_equal([data.values for data in bought], [data.values for data in single])
    np.testing.assert_array_equal([data.data_mask for data in bought], [data.data_mask for data in single])
    assert any(data.data_mask.any() for data in bought)
    assert together.pu == pytest.approx(alone.pu, rel=1e-6)
    assert together.pu == pytest.approx(plan.cost.pu, rel=1e-6)
    assert together.requests == plan.cost.requests <= alone.requests / 3
