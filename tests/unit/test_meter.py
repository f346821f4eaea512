"""What a run measures beside what its plan foresaw."""

from __future__ import annotations

from dataclasses import replace

import pytest

import shdask
from shdask.assemble.job_rows import JobAccepted, JobEnd, JobIntent
from shdask.meter import JobMeter, RunMeter, project_s
from shdask.model import TileEvent, TileState, Window
from shdask.plan.group import GroupPlan
from tests.cluster.specs import earth_spec

INTENT = JobIntent(
    key="a", attempt=1, url="s3://b/c", window=Window(y0=0, y1=1, x0=0, x1=1), tiles=(0,), pu=10.0, digest="d", at=99.0
)


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
        TileEvent(tile=0, state=TileState.WRITTEN, resumed=True, requests=1, pu_spent=0.2, nbytes=50),
    ],
    ids=["failed", "found done", "by a job", "the rest"],
)
def test_what_did_not_come_whole_says_nothing_of_the_price(plan, event: TileEvent) -> None:
    """Its requests are counted all the same."""
    meter = RunMeter(plan)
    meter.add(event)
    found = meter.figures(1.0)
    assert (found.pu_spent, found.pu_projected, found.nbytes, found.nbytes_projected) == (0.0, 0.0, 0, 0)
    assert found.requests == event.requests


def test_pixels_that_waited_on_this_machine_are_not_delivered(plan) -> None:
    """Nothing was received of them in this run."""
    meter = RunMeter(plan)
    meter.add(TileEvent(tile=0, state=TileState.WRITTEN, resumed=True))
    assert meter.nbytes_delivered == 0


def test_a_run_that_is_not_timed_foresees_no_time(plan) -> None:
    """Its price is measured all the same."""
    meter = RunMeter(plan)
    meter.is_timed = False
    meter.add(TileEvent(tile=0, state=TileState.WRITTEN, requests=1, pu_spent=0.7))
    found = meter.figures(60.0)
    assert (found.pu_spent, found.seconds, found.seconds_projected) == (0.7, 60.0, 0.0)


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


def test_jobs_are_measured_apart(plan: GroupPlan) -> None:
    """What jobs have cost and how long they took is told by jobs that were ordered and came in this run."""
    meter = JobMeter(plan)
    meter.add(replace(INTENT, pu=30.0))
    meter.add(JobAccepted(key="a", attempt=1, id="x", pu=20.0, at=100.0))
    meter.add(JobEnd(key="a", attempt=1, end="done", at=190.0))
    meter.add(JobAccepted(key="b", attempt=1, id="y", pu=20.0, at=100.0))
    meter.add(JobEnd(key="b", attempt=1, end="done", at=190.0))
    figures = meter.figures(200.0)
    assert (figures.pu_spent, figures.pu_projected, figures.pu_formula) == (20.0, 30.0, 30.0)
    assert (figures.answers, figures.answers_s) == (1, 90.0)
    assert figures.kind.endswith(" jobs")


def test_jobs_of_the_least_price_say_nothing(plan: GroupPlan) -> None:
    """Ten units are charged whatever the factor is."""
    meter = JobMeter(plan)
    meter.add(INTENT)
    meter.add(JobAccepted(key="a", attempt=1, id="x", pu=10.0, at=100.0))
    meter.add(JobEnd(key="a", attempt=1, end="done", at=190.0))
    assert (meter.figures(200.0).pu_spent, meter.figures(200.0).answers) == (0.0, 0)


def test_dearness_is_asked_for_without_pricing_the_plan(plan, monkeypatch) -> None:
    """It is shown every second, and a million tiles take a while to price."""
    meter = RunMeter(plan)
    assert meter.dearness == 1.0
    meter.add(TileEvent(tile=0, state=TileState.WRITTEN, requests=1, pu_spent=3 * bought(plan, 0)[0]))
    monkeypatch.setattr(GroupPlan, "cost", property(lambda _plan: pytest.fail("the plan was priced")))
    assert meter.dearness == pytest.approx(3.0)
