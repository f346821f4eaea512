"""What jobs bring, and what of it earlier runs have paid for."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import pytest

from shdask.assemble.job_rows import JobIntent, JobRecord
from shdask.jobs.lots import Lot, make_lots, project_pu
from shdask.jobs.paid import digest_of
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


def open_on(plan: GroupPlan, lot: Lot, part: int, window: Window) -> JobRecord:
    """The same, for other pixels."""
    return open_record(lot, part, window=window, digest=digest_of(plan, part, window, lot.tiles[0]))


def replace_tiles(record: JobRecord, tiles: tuple[int, ...]) -> JobRecord:
    """The same, ordered for other tiles."""
    return replace(record, intent=replace(record.intent, tiles=tiles))


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


def test_tile_that_sticks_out_is_ordered_by_itself(plan: GroupPlan, tiles: np.ndarray, lots: list[Lot]) -> None:
    """An open job of too few pixels brings the tiles that it holds; the others get jobs that do not supersede it."""
    window = replace(lots[0].window, y1=lots[0].window.y1 - 1)
    records = {each.intent.key: each for each in (open_on(plan, lots[0], part, window) for part in (0, 1))}
    upper, lower = make_lots(plan, np.array(lots[0].tiles), records)
    assert (upper.tiles, upper.window) == (lots[0].tiles[:2], window)
    assert [order.open for order in upper.orders] == list(records.values())
    assert lower.tiles == lots[0].tiles[2:]
    assert [(order.open, order.next_attempt) for order in lower.orders] == [(None, 1), (None, 1)]
    assert [order.job.key for order in lower.orders] == ["t0-r0-c0-p0-n2", "t0-r0-c0-p1-n2"]
    assert sorted(tile for lot in (upper, lower) for tile in lot.tiles) == list(lots[0].tiles)


def test_open_job_brings_tiles_that_it_was_not_ordered_for(plan: GroupPlan, lots: list[Lot]) -> None:
    """What lies in its window is paid for: the middle of three tiles in a corner, whose box holds the fourth."""
    first, *others = lots[0].tiles
    records = [replace_tiles(open_record(lots[0], part), (first, others[-1])) for part in (0, 1)]
    (lot,) = make_lots(plan, np.array(others[:2]), {each.intent.key: each for each in records})
    assert (lot.tiles, lot.pu) == (tuple(others[:2]), 0.0)


def test_delivered_window_comes_before_a_smaller_one_that_may_not_come(plan: GroupPlan, lots: list[Lot]) -> None:
    """Both hold the tile, and one part of each is ordered: nobody knows whether the smaller was accepted."""
    small = replace(lots[0].window, y1=64)
    whole = replace(open_record(lots[0], 0), end="done")
    other = open_on(plan, lots[0], 0, small)
    other = replace(other, intent=replace(other.intent, key="t0-r0-c0-p0-n2"), id=None)
    (found,) = make_lots(plan, np.array(lots[0].tiles[:1]), {each.intent.key: each for each in (other, whole)})
    assert found.orders[0].open == whole


def test_each_tile_is_made_of_one_window(plan: GroupPlan, tiles: np.ndarray, lots: list[Lot]) -> None:
    """Of two open jobs that hold a tile the one is taken that more parts are paid for of."""
    small = replace(lots[0].window, y1=64)
    whole = [open_record(lots[0], part) for part in (0, 1)]
    other = open_on(plan, lots[0], 0, small)
    other = replace(other, intent=replace(other.intent, key="t0-r0-c0-p0-n2"))
    found = make_lots(plan, tiles, {each.intent.key: each for each in (other, *whole)})
    assert [order.open for order in found[0].orders] == whole
    assert sorted(tile for lot in found for tile in lot.tiles) == tiles.tolist()


def test_stale_tile_is_bought_anew(plan: GroupPlan, lots: list[Lot]) -> None:
    """The others of its job are collected; it is not ordered under the same key."""
    records = [open_record(lots[0], part).without({lots[0].tiles[1]}) for part in (0, 1)]
    found = make_lots(plan, np.array(lots[0].tiles), {each.intent.key: each for each in records})
    first, _, *others = lots[0].tiles
    assert [lot.tiles for lot in found] == [(first, *others), lots[0].tiles[1:2]]
    assert [order.job.key for order in found[1].orders] == ["t0-r0-c0-p0-n2", "t0-r0-c0-p1-n2"]


def test_job_without_an_id_is_not_free(plan: GroupPlan, tiles: np.ndarray, lots: list[Lot]) -> None:
    """Nobody knows whether a lost order was charged: it counts as to be paid, once."""
    lost = replace(open_record(lots[0], 0), id=None)
    assert make_lots(plan, tiles, {lost.intent.key: lost})[0].pu == 20.0
    assert project_pu(plan, tiles, {lost.intent.key: lost}) == pytest.approx(project_pu(plan, tiles, {}))


@pytest.mark.parametrize("change", [{"digest": "another"}, {"url": "s3://elsewhere/t0"}])
def test_job_of_something_else_is_no_use(
    plan: GroupPlan, tiles: np.ndarray, lots: list[Lot], change: dict[str, object]
) -> None:
    """Another script, time or bucket is another job, and stays as it is known."""
    record = open_record(lots[0], 0, **change)
    order = make_lots(plan, tiles, {record.intent.key: record})[0].orders[0]
    assert (order.open, order.job.key) == (None, "t0-r0-c0-p0-n2")


def test_closed_job_is_no_use(plan: GroupPlan, tiles: np.ndarray, lots: list[Lot]) -> None:
    """What has failed is ordered anew."""
    record = replace(open_record(lots[0], 0), end="failed")
    order = make_lots(plan, tiles, {record.intent.key: record})[0].orders[0]
    assert (order.open, order.next_attempt, order.job.key) == (None, 4, record.intent.key)


def test_part_that_is_not_paid_for_goes_the_plan_s_way(plan: GroupPlan, tiles: np.ndarray, lots: list[Lot]) -> None:
    """By Process only what is paid for is a job, and the other part's price is that of its requests."""
    by_process = replace(plan, routing=replace(plan.routing, route="process"))
    record = open_record(lots[0], 0)
    (lot,) = make_lots(by_process, tiles, {record.intent.key: record})
    assert [order.open for order in lot.orders] == [record]
    assert 0.0 < lot.pu == lot.rest_pu < 10.0


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
