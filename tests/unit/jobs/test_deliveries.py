"""Which delivered tiles are read together."""

from __future__ import annotations

import pickle

import numpy as np
import pytest

from shdask.fetch.bucket import Bucket
from shdask.jobs.deliveries import Deliveries, Delivery
from shdask.jobs.lots import make_lots
from shdask.plan.group import GroupPlan


@pytest.fixture
def deliveries(plan: GroupPlan) -> Deliveries:
    """Of all lots but the last."""
    bucket = Bucket.from_url("s3://bucket/cubes")
    lots = make_lots(plan, plan.tile_set.indices(), {})[:-1]
    made = [Delivery(bucket=bucket, window=lot.window, files=({}, {}), first_tile=lot.tiles[0]) for lot in lots]
    by_tile = {tile: one for lot, one in zip(lots, made, strict=True) for tile in lot.tiles}
    return Deliveries(by_tile=by_tile)


def test_rows_of_a_lot_are_read_together(plan: GroupPlan, deliveries: Deliveries) -> None:
    """Tiles of one lot and one row are a bundle; others are bought, each by itself."""
    tiles = deliveries.in_order(plan, plan.tile_set.indices())
    columns = plan.tile_set.grid_shape[1]
    bundles = list(deliveries.bundle(plan, tiles.tolist()))
    assert [tile for bundle in bundles for tile in bundle] == tiles.tolist()
    assert sorted(tiles.tolist()) == plan.tile_set.indices().tolist()
    assert bundles[:2] == [[0, 1], [columns, columns + 1]]
    assert {len(bundle) for bundle in bundles if bundle[0] not in deliveries.by_tile} == {1}


def test_bundles_have_numbers(plan: GroupPlan, deliveries: Deliveries) -> None:
    """Neighbours share a number where they share a bundle."""
    tiles = deliveries.in_order(plan, plan.tile_set.indices())
    numbers = deliveries.bundle_numbers(plan, tiles)
    lengths = [len(bundle) for bundle in deliveries.bundle(plan, tiles.tolist())]
    assert np.unique(numbers, return_counts=True)[1].tolist() == lengths


def test_nothing_delivered_is_as_the_plan_has_it(plan: GroupPlan) -> None:
    """Without deliveries tiles are bundled as requests are."""
    tiles = plan.tile_set.indices()
    none = Deliveries()
    assert none.in_order(plan, tiles).tolist() == tiles.tolist()
    assert list(none.bundle(plan, tiles.tolist())) == list(plan.tile_set.bundle(tiles.tolist()))
    assert none.of(0) is None


def test_deliveries_travel(deliveries: Deliveries) -> None:
    """They pickle, the lots of tiles staying shared."""
    again = pickle.loads(pickle.dumps(deliveries))  # noqa: S301  # our own
    assert again.by_tile[0] is again.by_tile[1]
    assert again.by_tile[0].window == deliveries.by_tile[0].window
