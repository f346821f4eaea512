"""Costs by month: of the data, and of the account's quota."""

from __future__ import annotations

from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shdask.plan.cost import Cost, estimate_cost
from shdask.plan.months import QuotaMonths, cost_by_month, spread_over_months
from shdask.plan.placing import place_in_time
from shdask.plan.timeline import make_timeline
from shdask.settings import Deployment
from tests.unit.plan.scenes import scene, span

SPRING = span("2024-03-01", "2024-06-01")
TIMES = ["2024-03-10T10:00:00", "2024-03-30T10:00:00", "2024-05-02T10:00:00", "2024-05-20T10:00:00"]


def account(requests: float | None = 100.0, pu: float | None = 50.0) -> Deployment:
    return Deployment(name="a", base_url="b", token_url="t", requests_per_month=requests, pu_per_month=pu)


def cost_of(requests: int, pu: float) -> Cost:
    return estimate_cost(
        requests=requests,
        pu=pu,
        pixels_down=0,
        pixels_stored=0,
        sent_nbytes_per_px=1,
        stored_nbytes_per_px=1,
        deployment=account(),
    )


def rows(*months: QuotaMonths) -> list[tuple[int, int, int, float, tuple[str, ...]]]:
    return [(each.first, each.last, each.requests, round(each.pu, 6), each.groups) for each in months]


@pytest.mark.parametrize(
    ("costs", "expected"),
    [
        ({"": (40, 20.0)}, [(1, 1, 40, 20.0, ("",))]),
        ({"": (100, 50.0)}, [(1, 1, 100, 50.0, ("",))]),
        ({"a": (50, 5.0), "b": (50, 5.0)}, [(1, 1, 100, 10.0, ("a", "b"))]),
        ({"a": (60, 20.0), "b": (80, 20.0)}, [(1, 1, 100, 30.0, ("a", "b")), (2, 2, 40, 10.0, ("b",))]),
        (
            {"a": (10, 175.0)},
            [(1, 1, 3, 50.0, ("a",)), (2, 3, 6, 100.0, ("a",)), (4, 4, 1, 25.0, ("a",))],
        ),
        ({"a": (0, 0.0), "b": (1, 1.0)}, [(1, 1, 1, 1.0, ("b",))]),
        ({"a": (0, 0.0)}, []),
    ],
)
def test_a_month_ends_where_either_quota_is_used_up(costs: Any, expected: Any) -> None:
    """100 requests and 50 PU; months alike are one row."""
    found = spread_over_months({path: cost_of(*each) for path, each in costs.items()}, account())
    assert rows(*found) == expected


def test_without_quotas_all_is_paid_at_once() -> None:
    """A month holds any amount."""
    found = spread_over_months({"a": cost_of(10**9, 1e9)}, account(None, None))
    assert rows(*found) == [(1, 1, 10**9, 1e9, ("a",))]


@given(
    st.lists(st.tuples(st.integers(1, 10**7), st.floats(0.005, 1e8)), min_size=1, max_size=5),
    st.floats(1, 1e5) | st.none(),
    st.floats(1, 1e5) | st.none(),
)
def test_months_follow_each_other_and_hold_all(
    amounts: list[tuple[int, float]], requests: float | None, pu: float | None
) -> None:
    """No month more than its quota, and the sums are the costs'."""
    costs = {str(number): cost_of(*each) for number, each in enumerate(amounts)}
    found = spread_over_months(costs, account(requests, pu))
    counts = np.array([each.last - each.first + 1 for each in found])
    assert [each.first for each in found] == [1, *(np.cumsum(counts)[:-1] + 1).tolist()]
    assert sum(each.requests for each in found) == sum(count for count, _ in amounts)
    assert sum(each.pu for each in found) == pytest.approx(sum(price for _, price in amounts))
    assert (np.array([each.pu for each in found]) <= counts * (pu or np.inf) * (1 + 1e-6)).all()
    assert (np.array([each.requests for each in found]) <= counts * (requests or np.inf) + 1).all()
    assert len(found) <= 3 * len(costs) + 1


@pytest.fixture
def timed(plan_of) -> Any:
    """Two dates in March and two in May of 128 x 128 px in tiles of 16, one band."""
    layers = {"s2": {"collection": "sentinel-2-l2a", "bands": ["B04"], "cadence": "acquisition"}}
    store = {"chunk_px": 8, "tile_px": 16}
    plan = plan_of((4.8e5, 51.2e5, 4.8e5 + 1280, 51.2e5 + 1280), layers=layers, store=store)
    scenes = [scene(f"scene {time}", time) for time in TIMES]
    return place_in_time(plan, make_timeline(scenes, "acquisition", SPRING))


def test_costs_by_month_are_those_of_its_dates(timed: Any) -> None:
    """64 tiles at two dates of each month, and none in April; they add up to the whole."""
    found = cost_by_month(timed)
    assert list(found) == ["2024-03", "2024-05"]
    assert found["2024-05"].nbytes_stored == 2 * 128 * 128 * 3
    assert sum(each.pu for each in found.values()) == pytest.approx(timed.cost.pu)
    assert sum(each.requests for each in found.values()) == timed.cost.requests
    assert sum(each.nbytes_down for each in found.values()) == timed.cost.nbytes_down


def test_a_request_for_dates_of_two_months_counts_in_the_first(timed: Any) -> None:
    """So small are the tiles that all four dates come with one request."""
    found = cost_by_month(timed)
    assert timed.tile_set.bundles == (0, 0, 0, 0)
    assert (found["2024-03"].requests, found["2024-05"].requests) == (64, 0)
    assert found["2024-05"].pu == pytest.approx(found["2024-03"].pu)


def test_without_a_time_axis_there_are_no_months(plan_of) -> None:
    """A mosaic is of all its time."""
    assert cost_by_month(plan_of((4.8e5, 51.2e5, 4.8e5 + 1280, 51.2e5 + 1280))) == {}
