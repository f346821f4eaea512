"""Windows of composites, whose many dates could make one dearer than the account's minute."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import shapely

from shdask.model import Window
from shdask.plan.affordable import cut_dear_window
from shdask.plan.group import GroupPlan
from shdask.plan.grown_area import Reopened
from shdask.plan.placing import place_in_time
from shdask.plan.timeline import make_timeline
from tests.unit.plan.scenes import scene, span

PlanOf = Callable[..., GroupPlan]
JUNE = span("2024-06-01", "2024-07-01")
EVERYWHERE = shapely.box(10, 40, 20, 50)
S2: dict[str, Any] = {"collection": "sentinel-2-l2a", "bands": ["B02", "B04"], "cadence": "month"}
CUT_OFF = [(500_000, 5_100_000), (530_000, 5_100_000), (530_000, 5_120_000), (515_000, 5_130_000), (500_000, 5_130_000)]
"""3000 x 3000 px of 10 m without a corner."""


def plan(plan_of: PlanOf, days: int, composite: str | None = "median") -> GroupPlan:
    """In tiles of 2048 px, for an account of 300 units a minute: a date of three bands and a whole tile costs 16."""
    layers = {"s2": {**S2, "composite": composite}}
    made = plan_of(shapely.Polygon(CUT_OFF), layers=layers, service={"prefer": "requests"})
    times = [f"2024-06-{day + 1:02}T10:00:00" for day in range(days)]
    scenes = [scene(time, time, footprint=EVERYWHERE) for time in times]
    return place_in_time(made, make_timeline(scenes, "month", JUNE))


@pytest.fixture(scope="module")
def dear(plan_of: PlanOf) -> GroupPlan:
    """A whole tile of 12 dates would cost 192 units."""
    return plan(plan_of, 12)


def test_no_window_costs_more_than_a_quarter_of_a_minute(dear: GroupPlan) -> None:
    """And there are no more of them than that takes."""
    prices = [[dear.window_pu(window, 0) for window in tile.windows] for tile in dear.tiles()]
    assert dear.deployment.pu_per_minute == 300
    assert max(map(max, prices)) <= 75
    assert [len(tile) for tile in prices] == [3, 1, 2, 1]


def test_windows_are_not_cut_where_that_saves_nothing(dear: GroupPlan) -> None:
    """For an account of hardly any units: up to 51 x 51 px have the price of one, so that 100 x 100 are four."""
    poor = replace(dear, deployment=replace(dear.deployment, pu_per_minute=0.01))
    assert len(cut_dear_window(poor, Window(y0=0, y1=100, x0=0, x1=100), 0)) == 4


@pytest.mark.parametrize("units", [121, 192, 95, 71, 33, 5])
def test_pieces_are_as_few_and_as_equal_as_pixels_let_them_be(dear: GroupPlan, units: float) -> None:
    """A tile of 2048 x 2048 px and 12 dates is 192 units."""
    poor = replace(dear, deployment=replace(dear.deployment, pu_per_minute=units))
    pieces = cut_dear_window(poor, Window(y0=0, y1=2048, x0=0, x1=2048), 0)
    sizes = [window.pixel_count for window in pieces]
    assert len(pieces) - 192 / (units / 4) < 1.5
    assert sum(sizes) == 2048**2
    assert max(sizes) < 1.02 * min(sizes)


def test_a_tile_that_is_reopened_is_cut_by_the_same_rule(dear: GroupPlan) -> None:
    """All that it lacks is all of it but a column: as many windows, and at the price of its pixels."""
    little = replace(
        dear.area, edges=np.array([[0.0, 0.0, 0.0, 2048.0], [1.0, 0.0, 1.0, 2048.0]]), reach=np.full(2, 2048.0)
    )
    again = replace(dear, reopened=Reopened(parts=(little, dear.area), levels={0: 1}))
    windows, tiles = again.tile(0).windows, np.array([0])
    assert [len(windows), int(again.request_counts(tiles)[0])] == [3, 3]
    assert max(again.window_pu(window, 0) for window in windows) <= 75
    assert again.prices(tiles)[0] == pytest.approx(12 * 2048 * 2047 / 512**2)


def test_later_dates_change_no_window(plan_of: PlanOf, dear: GroupPlan) -> None:
    """Of two dates one tile is cheap; beside a dear month it stays whole, and what is dear is cut as without it."""
    july = [f"2024-07-{day:02}T10:00:00" for day in (3, 8)]
    times = [f"2024-06-{day + 1:02}T10:00:00" for day in range(12)] + july
    scenes = [scene(time, time, footprint=EVERYWHERE) for time in times]
    grown = place_in_time(dear, make_timeline(scenes, "month", span("2024-06-01", "2024-08-01")))
    tiles = list(grown.tiles())
    assert [tile.windows for tile in tiles[:4]] == [tile.windows for tile in dear.tiles()]
    assert [len(tile.windows) for tile in tiles[4:]] == [1, 1, 1, 1]


def times_covered(plan: GroupPlan) -> np.ndarray:
    count = np.zeros(plan.grid.shape, np.uint8)
    for tile in plan.tiles():
        for window in tile.windows:
            count[window.slices] += 1
    return count


def test_they_hold_every_pixel_of_the_area_once(dear: GroupPlan) -> None:
    """As they did before."""
    count = times_covered(dear)
    assert (count[dear.area_mask(dear.grid.window)] == 1).all()
    assert count.max() == 1


def test_the_price_is_the_same(dear: GroupPlan) -> None:
    """As that of as many pixels in windows of any size."""
    pixels = sum(window.pixel_count for tile in dear.tiles() for window in tile.windows)
    assert dear.cost.pu == pytest.approx(12 * pixels / 512**2)
    assert dear.cost.requests == 7


def test_cheap_windows_stay_as_they_are(plan_of: PlanOf) -> None:
    """Of two dates, and of a layer that is no composite."""
    cheap, plain = plan(plan_of, 2), plan(plan_of, 12, composite=None)
    assert cheap.tile(0).windows == (cheap.tile(0).extent,)
    assert plain.tile(0).windows == (plain.tile(0).extent,)
