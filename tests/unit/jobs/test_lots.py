"""What jobs bring, and what of it earlier runs have paid for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from shdask.assemble.job_rows import JobIntent, JobRecord
from shdask.jobs.lots import Lot, make_lots, project_pu
from shdask.model import Window
from shdask.plan.group import GroupPlan


def open_record(lot: Lot, part: int, *, window: Window | None = None, **changes: object) -> JobRecord:
    """An earlier run's job of a lot, accepted and not collected."""
    order = lot.orders[part]
    intent = JobIntent(
        key=order.job.key,
        attempt=3,
        url=f"s3://bucket/cubes/abc/{order.job.key}-3-ff",
        window=window or lot.window,
        tiles=lot.tiles,
        pu=10.0,
        digest=order.digest,
        at=0.0,
    )
    return JobRecord(intent=replace(intent, **changes), id="x", pu=10.0)


@pytest.fixture
def tiles(plan: GroupPlan) -> np.ndarray:
    """All of them."""
    return plan.tile_set.indices()


@pytest.fixture
def lots(plan: GroupPlan, tiles: np.ndarray) -> list[Lot]:
    """Of a cube that nothing was bought of."""
    return make_lots(plan, tiles, {})


def test_lots_hold_every_tile_once(lots: list[Lot], tiles: np.ndarray) -> None:
    """Each has a job for each part of the layer."""
    assert sorted(tile for lot in lots for tile in lot.tiles) == tiles.tolist()
    assert {tuple(order.job.part for order in lot.orders) for lot in lots} == {(0, 1)}
    assert {order.next_attempt for lot in lots for order in lot.orders} == {1}


def test_open_job_is_taken_up(plan: GroupPlan, tiles: np.ndarray, lots: list[Lot]) -> None:
    """What is paid for costs nothing more; the other part of its lot is ordered."""
    record = open_record(lots[0], 0)
    found = make_lots(plan, tiles, {record.intent.key: record})
    assert [order.open for order in found[0].orders] == [record, None]
    assert found[0].pu == lots[0].orders[1].job.pu == 10.0


def test_smaller_rest_is_brought_by_the_open_job(plan: GroupPlan, lots: list[Lot]) -> None:
    """Of a lot that is half written the rest comes from the file that was ordered for all of it."""
    record = open_record(lots[0], 0)
    found = make_lots(plan, np.array(lots[0].tiles[:1]), {record.intent.key: record})
    assert found[0].tiles == lots[0].tiles[:1]
    assert found[0].window == lots[0].window
    assert [order.job.window for order in found[0].orders] == [lots[0].window, lots[0].window]


def test_job_that_lacks_pixels_is_no_use(plan: GroupPlan, tiles: np.ndarray, lots: list[Lot]) -> None:
    """A file of fewer pixels than are needed is left, and the next attempt has another number."""
    window = replace(lots[0].window, y1=lots[0].window.y1 - 1)
    record = open_record(lots[0], 0, window=window)
    order = make_lots(plan, tiles, {record.intent.key: record})[0].orders[0]
    assert (order.open, order.next_attempt) == (None, 4)


@pytest.mark.parametrize("change", [{"digest": "another"}, {"url": "s3://elsewhere/t0"}])
def test_job_of_something_else_is_no_use(
    plan: GroupPlan, tiles: np.ndarray, lots: list[Lot], change: dict[str, object]
) -> None:
    """Another script, time or bucket is another job."""
    record = open_record(lots[0], 0, **change)
    assert make_lots(plan, tiles, {record.intent.key: record})[0].orders[0].open is None


def test_closed_job_is_no_use(plan: GroupPlan, tiles: np.ndarray, lots: list[Lot]) -> None:
    """What has failed is ordered anew."""
    record = replace(open_record(lots[0], 0), end="failed")
    order = make_lots(plan, tiles, {record.intent.key: record})[0].orders[0]
    assert (order.open, order.next_attempt) == (None, 4)


def test_plan_by_process_has_the_lots_that_are_paid_for(plan: GroupPlan, tiles: np.ndarray, lots: list[Lot]) -> None:
    """Nothing is ordered that was not, and nothing left that was."""
    by_process = replace(plan, routing=replace(plan.routing, route="process"))
    record = open_record(lots[1], 0)
    assert make_lots(by_process, tiles, {}) == []
    assert [lot.tiles for lot in make_lots(by_process, tiles, {record.intent.key: record})] == [lots[1].tiles]


def test_plan_without_a_bucket_has_no_lots(plan: GroupPlan, tiles: np.ndarray, lots: list[Lot]) -> None:
    """Where deliveries lie is not known without the job's table."""
    record = open_record(lots[0], 0)
    bare = replace(plan, delivery=None, routing=None)
    assert make_lots(bare, tiles, {record.intent.key: record}) == []


def test_open_jobs_cost_nothing_more(plan: GroupPlan, tiles: np.ndarray, lots: list[Lot]) -> None:
    """What is left to pay are the jobs that are not ordered."""
    records = {record.intent.key: record for record in (open_record(lots[0], 0), open_record(lots[0], 1))}
    whole = 10.0 * 2 * len(lots)
    assert project_pu(plan, tiles, {}) == pytest.approx(whole)
    assert project_pu(plan, tiles, records) == pytest.approx(whole - 20.0)
