"""What a run measures beside what its plan foresaw."""

from __future__ import annotations

from dataclasses import replace

import pytest

import shdask
from shdask.meter import RunMeter, project_s
from shdask.model import TileEvent, TileState
from shdask.plan.group import GroupPlan
from tests.cluster.specs import earth_spec


@pytest.fixture(scope="module")
def plan() -> GroupPlan:
    """Two bands of seven tiles."""
    return shdask.make_plan(earth_spec()).only


def bought(plan: GroupPlan, tile: int) -> tuple[float, int]:
    """What a tile is projected to cost, and its bytes: two bands of two, and a mask in the same type."""
    windows = plan.tile(tile).windows
    return sum(map(plan.window_pu, windows)), 6 * sum(window.pixel_count for window in windows)


def test_what_came_is_held_against_its_own_projection(plan) -> None:
    """Of the tiles that came, and no others."""
    meter = RunMeter(plan)
    meter.add(TileEvent(tile=0, state=TileState.WRITTEN, requests=3, answers=2, answers_s=1.5, pu_spent=0.7, nbytes=50))
    meter.add(TileEvent(tile=3, state=TileState.EMPTY, requests=1, answers=1, answers_s=0.5, pu_spent=0.1, nbytes=7))
    found, first, second = meter.figures(9.0), bought(plan, 0), bought(plan, 3)
    assert (found.pu_spent, found.nbytes) == (pytest.approx(0.8), 57)
    assert (found.pu_projected, found.nbytes_projected) == (pytest.approx(first[0] + second[0]), first[1] + second[1])
    assert (found.requests, found.answers, found.answers_s, found.seconds) == (4, 3, 2.0, 9.0)


@pytest.mark.parametrize(
    "event",
    [
        TileEvent(tile=0, state=TileState.FAILED, requests=4, pu_spent=0.2, error="cut"),
        TileEvent(tile=0, state=TileState.WRITTEN, skipped=True),
        TileEvent(tile=0, state=TileState.WRITTEN),
    ],
    ids=["failed", "found done", "from the spool"],
)
def test_what_did_not_come_whole_says_nothing_of_the_price(plan, event: TileEvent) -> None:
    """Its requests are counted all the same."""
    meter = RunMeter(plan)
    meter.add(event)
    found = meter.figures(1.0)
    assert (found.pu_spent, found.pu_projected, found.nbytes_projected) == (0.0, 0.0, 0)
    assert found.requests == event.requests


def test_what_the_plan_had_learned_is_taken_off_the_formula(plan) -> None:
    """Projected is with it; the formula without."""
    dearer = tuple(replace(each, learned_ratio=1.5) for each in plan.layer.inputs)
    meter = RunMeter(replace(plan, layer=replace(plan.layer, inputs=dearer)))
    meter.add(TileEvent(tile=0, state=TileState.WRITTEN, pu_spent=1.0))
    found = meter.figures(1.0)
    assert found.pu_projected == pytest.approx(1.5 * found.pu_formula)


def test_time_is_projected_in_proportion_to_the_price(plan) -> None:
    """All of it takes the plan's minutes, half of it half of them."""
    assert project_s(plan, plan.cost.pu / 2) == pytest.approx(30 * plan.cost.minutes)
