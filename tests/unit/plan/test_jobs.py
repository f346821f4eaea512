"""Which jobs bring a plan's tiles: each tile in one of every part, rectangles within the limit, keys that stay."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import shapely
from hypothesis import given
from hypothesis import strategies as st

from shdask.model import Window
from shdask.plan.group import GroupPlan
from shdask.plan.jobs import count_jobs, lay_blocks, make_jobs, price_by_jobs
from shdask.settings import Prices

LEFT, BOTTOM = 300_000.0, 5_000_000.0
SMALL = {"store": {"tile_px": 64, "chunk_px": 64}}
TWO_PARTS = {"layers": {"s2": {"collection": "sentinel-2-l2a", "bands": ["B02", "SCL"], "resampling": "bilinear"}}}
POINTS = st.tuples(st.integers(0, 1200), st.integers(0, 900))

PlanOf = Callable[..., GroupPlan]


def box(columns: int, rows: int) -> tuple[float, float, float, float]:
    """An area of so many pixels of 10 m from the grid's own corner."""
    return LEFT, BOTTOM, LEFT + 10.0 * columns, BOTTOM + 10.0 * rows


def limited(plan: GroupPlan, max_px: int, **prices: float) -> GroupPlan:
    """The plan at a deployment with another limit of pixels, and other prices."""
    account = replace(plan.deployment, max_async_px=max_px, prices=Prices(**prices))
    return replace(plan, deployment=account, layer=replace(plan.layer, prices=account.prices))


def test_a_job_is_a_rectangle_of_as_many_tiles_as_fit(plan_of: PlanOf) -> None:
    """10,000 px hold four tiles of 2048 px; the last blocks end with the array."""
    plan = plan_of(box(10_000, 9000))
    assert [(job.key, job.tiles, job.window, job.part) for job in make_jobs(plan, plan.tile_set.indices())] == [
        (
            "t0-r0-c0-p0",
            (0, 1, 2, 3, 5, 6, 7, 8, 10, 11, 12, 13, 15, 16, 17, 18),
            Window(y0=0, y1=8192, x0=0, x1=8192),
            0,
        ),
        ("t0-r0-c1-p0", (4, 9, 14, 19), Window(y0=0, y1=8192, x0=8192, x1=10_000), 0),
        ("t0-r1-c0-p0", (20, 21, 22, 23), Window(y0=8192, y1=9000, x0=0, x1=8192), 0),
        ("t0-r1-c1-p0", (24,), Window(y0=8192, y1=9000, x0=8192, x1=10_000), 0),
    ]


def test_every_part_has_jobs_of_its_own(plan_of: PlanOf) -> None:
    """Side by side, of the same tiles and window."""
    plan = plan_of(box(100, 50), **SMALL, **TWO_PARTS)
    first, second = make_jobs(plan, plan.tile_set.indices())
    assert (first.key, second.key) == ("t0-r0-c0-p0", "t0-r0-c0-p1")
    assert (first.tiles, first.window) == (second.tiles, second.window)


def test_windows_are_trimmed_to_what_is_bought(plan_of: PlanOf) -> None:
    """A triangle's two lower tiles, of whose block a quarter is empty."""
    plan = plan_of(shapely.Polygon([(LEFT, BOTTOM), (LEFT + 1000, BOTTOM), (LEFT + 1000, BOTTOM + 400)]), **SMALL)
    (job,) = make_jobs(plan, plan.tile_set.indices())
    windows = [window for tile in plan.tiles() for window in tile.windows]
    assert job.window == Window(
        y0=min(each.y0 for each in windows),
        y1=max(each.y1 for each in windows),
        x0=min(each.x0 for each in windows),
        x1=max(each.x1 for each in windows),
    )
    assert job.window.pixel_count < 100 * 40


def test_a_job_of_fewer_tiles_keeps_its_key(plan_of: PlanOf) -> None:
    """What is left of it after a kill: a smaller window, the same name."""
    plan = limited(plan_of(box(256, 256), **SMALL), 128)
    (whole, *_) = make_jobs(plan, plan.tile_set.indices())
    (rest,) = make_jobs(plan, [5, 1])
    assert (rest.key, rest.tiles, rest.window) == (whole.key, (1, 5), Window(y0=0, y1=128, x0=64, x1=128))


def test_no_tiles_need_no_jobs(plan_of: PlanOf) -> None:
    """Nothing is left of a build that is done."""
    assert make_jobs(plan_of(box(100, 100)), []) == []


def test_no_job_is_cheaper_than_the_least_price(plan_of: PlanOf) -> None:
    """10 PU, whatever it holds."""
    plan = plan_of(box(10, 10), **TWO_PARTS)
    assert [job.pu for job in make_jobs(plan, plan.tile_set.indices())] == [10.0, 10.0]


def test_large_jobs_cost_what_process_does(plan_of: PlanOf) -> None:
    """The documentation's formula: 4096 x 4096 px of two bands at 16 bit are 64 x 2 / 3 PU."""
    plan = plan_of(box(4096, 4096))
    assert [job.pu for job in make_jobs(plan, plan.tile_set.indices())] == [pytest.approx(64 * 2 / 3)]


def test_a_discount_is_the_deployments(plan_of: PlanOf) -> None:
    """Two thirds where its data say so, and the least price after it."""
    plan = limited(plan_of(box(4096, 4096)), 10_000, async_factor=2 / 3, async_min_pu=30.0)
    assert [job.pu for job in make_jobs(plan, plan.tile_set.indices())] == [30.0]
    cheaper = limited(plan, 10_000, async_factor=2 / 3)
    assert [job.pu for job in make_jobs(cheaper, cheaper.tile_set.indices())] == [pytest.approx(64 * 4 / 9)]


@given(corners=st.lists(POINTS, min_size=3, max_size=6), max_px=st.sampled_from([64, 128, 200, 10_000]), data=st.data())
def test_jobs_bring_every_pixel_that_is_bought_once(
    plan_of: PlanOf, corners: list[tuple[int, int]], max_px: int, data: st.DataObject
) -> None:
    """Every tile in one job of each part, windows disjoint, within the limit, and around all windows of their tiles."""
    area = shapely.MultiPoint([(LEFT + 10 * x, BOTTOM + 10 * y) for x, y in corners]).convex_hull.buffer(60)
    plan = limited(plan_of(area, **SMALL, **TWO_PARTS), max_px)
    tiles = data.draw(st.lists(st.sampled_from(plan.tile_set.indices().tolist()), unique=True))
    jobs = make_jobs(plan, tiles)
    wanted, bought = np.zeros(plan.grid.shape, np.int64), np.zeros((2, *plan.grid.shape), np.int64)
    windows = [window for tile in tiles for window in plan.tile(tile).windows]
    wanted[tuple(np.concatenate(each) for each in _pixels(windows))] = 1
    np.add.at(bought, tuple(np.concatenate(each) for each in _pixels_by_part([(j.part, j.window) for j in jobs])), 1)
    assert bought.max(initial=0) <= 1
    assert (bought >= wanted).all()
    assert max((max(job.window.shape) for job in jobs), default=0) <= max_px
    assert len({job.key for job in jobs}) == len(jobs)
    assert sorted(tile for job in jobs for tile in job.tiles) == sorted(tiles * 2)
    assert jobs == make_jobs(plan, reversed(tiles))


def _pixels(windows: list[Window]) -> tuple[list[np.ndarray], list[np.ndarray]]:
    places = [np.mgrid[each.slices].reshape(2, -1) for each in windows] or [np.empty((2, 0), np.intp)]
    return [each[0] for each in places], [each[1] for each in places]


def _pixels_by_part(windows: list[tuple[int, Window]]) -> tuple[list[np.ndarray], ...]:
    rows, columns = _pixels([window for _, window in windows])
    return [np.full(window.pixel_count, part) for part, window in windows] or [np.empty(0, np.intp)], rows, columns


def test_shares_of_tiles_add_up_to_their_jobs(plan_of: PlanOf) -> None:
    """In whatever order tiles are named; a job counts with the first tile that it brings."""
    plan = limited(plan_of(box(256, 256), **SMALL, **TWO_PARTS), 128)
    tiles = np.array([15, 0, 1, 4])
    assert price_by_jobs(plan, tiles).tolist() == [
        20.0,
        pytest.approx(20 / 3),
        pytest.approx(20 / 3),
        pytest.approx(20 / 3),
    ]
    assert count_jobs(plan, tiles).tolist() == [2, 2, 0, 0]


def test_blocks_are_laid_fast_over_a_million_tiles(plan_of: PlanOf) -> None:
    """By arrays: one block for every 156 x 156 tiles of 64 px."""
    plan = plan_of(box(64_000, 64_000), **SMALL)
    blocks = lay_blocks(plan, plan.tile_set.indices())
    assert (blocks.tiles.size, len(blocks.places), blocks.counts.max()) == (1_000_000, 49, 156 * 156)
