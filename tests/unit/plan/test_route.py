"""By which route a group is bought, and why."""

from __future__ import annotations

import json
import pickle
from collections.abc import Callable
from dataclasses import replace
from datetime import date
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shdask.errors import PlanError
from shdask.plan.cube import make_cube_plan
from shdask.plan.delivery_spec import DeliveryOptions
from shdask.plan.group import GroupPlan
from shdask.plan.learning import job_kind_of
from shdask.plan.measured import Measured
from shdask.plan.route import Routing, check_delivery, choose_route, route_again, route_groups, with_route
from shdask.plan.spec import CubeSpec, Layer, Prefer
from shdask.settings import DEPLOYMENTS, Prices

LEFT, BOTTOM = 300_000.0, 5_000_000.0
LARGE = (LEFT, BOTTOM, LEFT + 409_600, BOTTOM + 245_760)
SMALL = (LEFT, BOTTOM, LEFT + 1000, BOTTOM + 1000)
BUCKET = DeliveryOptions(s3_url="s3://bucket/jobs")
DISCOUNT = Prices(async_factor=2 / 3)

PlanOf = Callable[..., GroupPlan]


def at_prices(plan: GroupPlan, prices: Prices) -> GroupPlan:
    return replace(plan, deployment=replace(plan.deployment, prices=prices), layer=replace(plan.layer, prices=prices))


def choose(plan: GroupPlan, *, prefer: Prefer = "auto", minutes: float = 5.0, at_once: int = 5, **more: Any) -> Routing:
    words: dict[str, Any] = {"layer_route": "auto", "delivery": BUCKET} | more
    return choose_route(plan, prefer=prefer, job_minutes=minutes, concurrency=at_once, **words)


def test_jobs_at_full_price_are_not_worth_it(plan_of: PlanOf) -> None:
    """At factor 1 Process, trimmed, is as cheap at least."""
    found = choose(plan_of(LARGE))
    assert (found.route, found.jobs, found.why) == ("process", 15, "both are alike")


def test_a_large_interior_goes_by_jobs_at_a_discount(plan_of: PlanOf) -> None:
    """A third cheaper, and not much slower: 15 jobs in place of 240 requests, 2/3 of 2560 PU."""
    found = choose(at_prices(plan_of(LARGE), DISCOUNT))
    assert (found.route, found.jobs, found.process.requests, found.why) == ("async", 15, 240, "cheaper")
    assert found.by_jobs is not None
    assert [found.by_jobs.pu, found.process.pu] == pytest.approx([1706.6667, 2560.0])


def test_a_small_area_stays_with_process(plan_of: PlanOf) -> None:
    """A job has a least price, discount or not."""
    found = choose(at_prices(plan_of(SMALL), DISCOUNT), prefer="pu")
    assert found.by_jobs is not None
    assert (found.route, found.by_jobs.pu, found.why) == ("process", 10.0, "cheaper")


@pytest.mark.parametrize(
    ("prefer", "minutes", "route", "why"),
    [
        ("auto", 6.0, "process", "the cheaper takes 2.1 times the time"),
        ("auto", 5.0, "async", "cheaper"),
        ("pu", 5.0, "async", "cheaper"),
        ("time", 5.0, "process", "faster"),
        ("time", 1.0, "async", "faster"),
        ("requests", 99.0, "async", "fewer requests"),
    ],
)
def test_what_is_preferred_decides(plan_of: PlanOf, prefer: Prefer, minutes: float, route: str, why: str) -> None:
    """15 jobs, five at once, are three rounds; Process takes 8.5 minutes for its units."""
    found = choose(at_prices(plan_of(LARGE), DISCOUNT), prefer=prefer, minutes=minutes)
    assert (found.route, found.why) == (route, why)


@given(minutes=st.floats(0.01, 1000), at_once=st.integers(1, 50), factor=st.floats(0.3, 1.5))
def test_auto_never_takes_more_than_twice_the_time(
    plan_of: PlanOf, minutes: float, at_once: int, factor: float
) -> None:
    """Whatever jobs cost and take; within that, it takes the cheaper."""
    found = choose(at_prices(plan_of(LARGE), Prices(async_factor=factor)), minutes=minutes, at_once=at_once)
    assert found.by_jobs is not None
    costs = {"process": found.process, "async": found.by_jobs}
    chosen, other = costs.pop(found.route), next(iter(costs.values()))
    assert chosen.minutes_in_all <= 2 * other.minutes_in_all
    assert chosen.pu <= other.pu * (1 + 1e-6) or other.minutes_in_all > 2 * chosen.minutes_in_all


def test_months_of_waiting_for_quota_are_time(plan_of: PlanOf) -> None:
    """240 requests at 10 a month are two years; 15 jobs end in the middle of the second month."""
    plan = plan_of(LARGE)
    plan = replace(plan, deployment=replace(plan.deployment, requests_per_month=10.0, pu_per_month=None))
    found = choose(plan, prefer="time")
    assert found.route == "async"
    assert found.by_jobs is not None
    assert found.by_jobs.minutes_in_all == pytest.approx(0.5 * 31 * 24 * 60)


def test_without_delivery_there_are_no_jobs(plan_of: PlanOf) -> None:
    """Large work is split instead, and the plan says what would make jobs possible."""
    found = choose(at_prices(plan_of(LARGE), DISCOUNT), delivery=None)
    assert (found.route, found.by_jobs, found.jobs) == ("process", None, 0)
    assert found.why == "jobs are possible where the job file has [delivery]"


def test_a_layer_may_refuse_jobs(plan_of: PlanOf) -> None:
    """However cheap."""
    found = choose(at_prices(plan_of(LARGE), DISCOUNT), layer_route="process", prefer="pu")
    assert (found.route, found.by_jobs, found.why) == ("process", None, 'route = "process"')


def test_a_layer_may_insist_on_jobs(plan_of: PlanOf) -> None:
    """However dear."""
    found = choose(plan_of(SMALL), layer_route="async", prefer="pu")
    assert (found.route, found.jobs, found.why) == ("async", 1, 'route = "async"')


def test_insisting_on_jobs_without_delivery_is_refused_with_the_cure(plan_of: PlanOf) -> None:
    """As the job file's own check does."""
    with pytest.raises(PlanError, match=r'layers\.s2\.route: "async" needs a bucket to deliver to; give \[delivery\]'):
        choose(plan_of(SMALL), layer_route="async", delivery=None)


def test_a_plan_by_jobs_costs_what_its_jobs_do(plan_of: PlanOf) -> None:
    """In all and tile by tile; a tile that is bought alone, as on demand, is bought by Process."""
    plan = with_route(plan_of(SMALL), "async", BUCKET)
    assert (plan.cost.pu, plan.cost.requests, plan.cost.jobs, plan.cost.limit) == (10.0, 1, 1, "jobs_at_once")
    assert plan.prices(np.array([0])).tolist() == [10.0]
    assert plan.tile_pu(0) == pytest.approx(0.0254, abs=1e-4)


def test_the_route_is_no_part_of_a_cubes_identity(plan_of: PlanOf) -> None:
    """A cube may be continued by the other route, from another bucket."""
    plan = plan_of(SMALL)
    assert with_route(plan, "async", BUCKET).identity() == plan.identity()


def test_a_route_survives_pickling(plan_of: PlanOf) -> None:
    """Plans travel to workers."""
    plan = with_route(plan_of(SMALL), "async", BUCKET)
    copy = pickle.loads(pickle.dumps(plan))  # noqa: S301  # our own bytes
    assert (copy.routing, copy.delivery) == (plan.routing, BUCKET)


def test_a_route_is_chosen_anew_for_what_has_changed(plan_of: PlanOf) -> None:
    """Jobs that cost no less are not worth waiting for."""
    plan = with_route(at_prices(plan_of(LARGE), DISCOUNT), "auto", BUCKET)
    assert (plan.is_by_jobs, route_again(at_prices(plan, Prices())).is_by_jobs) == (True, False)


def test_a_plan_without_a_route_keeps_none(plan_of: PlanOf) -> None:
    """Looks at clear ground are never compared."""
    plan = plan_of(SMALL)
    assert route_again(plan) is plan


def test_what_jobs_were_charged_and_took_is_counted_in(plan_of: PlanOf) -> None:
    """By the account's own runs: two thirds of the formula, two minutes a job."""
    shown = Measured(runs=1, pu_spent=200.0, pu_formula=300.0, answers=10, answers_s=1200.0)
    found = with_route(plan_of(LARGE), "auto", BUCKET, measured=shown).routing
    assert found is not None
    assert found.by_jobs is not None
    assert (found.route, found.job_minutes) == ("async", 2.0)
    assert [found.by_jobs.pu, found.by_jobs.minutes] == pytest.approx([1706.6667, 6.0])


def test_groups_learn_from_jobs_alone(plan_of: PlanOf) -> None:
    """What requests of Process have shown says nothing of jobs."""
    group = plan_of(LARGE)
    spec = CubeSpec(
        aoi=LARGE,
        crs="EPSG:32633",
        resolution=10,
        time=(date(2024, 6, 1), date(2024, 6, 30)),
        layers={"s2": Layer(collection="sentinel-2-l2a", bands=("B02", "B03"))},
        delivery=BUCKET,
    )
    known = {job_kind_of(group.layer, group.deployment): Measured(runs=1, answers=1, answers_s=90.0)}
    plan = route_groups(make_cube_plan({"": group, "scout/s2": group}), spec, known)
    assert plan.groups[""].routing is not None
    assert (plan.groups[""].routing.job_minutes, plan.groups[""].delivery) == (1.5, BUCKET)
    assert plan.groups["scout/s2"].routing is None


def test_both_routes_are_told(plan_of: PlanOf) -> None:
    """The chosen one first, with the reason."""
    routing = with_route(at_prices(plan_of(LARGE), DISCOUNT), "auto", BUCKET).routing
    assert routing is not None
    assert routing.lines() == [
        "Async Process: 15 jobs, 1706.67 PU, about 0:15:00 (jobs' times are a guess); cheaper",
        "instead of Process: 240 requests, 2560.00 PU, about 0:08:32",
    ]


def test_routes_are_json(plan_of: PlanOf) -> None:
    """For programs: nothing that JSON lacks."""
    routing = choose(plan_of(SMALL))
    assert json.loads(json.dumps(routing.as_dict())) == {
        "route": "process",
        "asked": "auto",
        "why": "cheaper",
        "process": {
            "requests": 1,
            "pu": routing.process.pu,
            "minutes": routing.process.minutes,
            "months": routing.process.months,
        },
        "by_jobs": {"jobs": 1, "requests": 1, "pu": 10.0, "minutes": 5.0, "months": pytest.approx(10 / 30_000)},
    }


def test_roles_are_refused_where_there_are_none() -> None:
    """The schema of CDSE has keys alone; others have both."""
    role = DeliveryOptions(s3_url="s3://b", iam_role_arn="arn:aws:iam::123456789012:role/name")
    with pytest.raises(PlanError, match=r"delivery\.iam_role_arn: cdse delivers with keys alone; leave it out"):
        check_delivery(role, DEPLOYMENTS["cdse"])
    check_delivery(role, DEPLOYMENTS["services"])


def test_a_plan_tells_both_routes_where_there_is_a_choice(plan_of: PlanOf) -> None:
    """In its text; without a delivery it says nothing of jobs."""
    plan = plan_of(SMALL)
    text = repr(with_route(plan, "async", BUCKET))
    assert "1 request, 10.00 PU, 5.0 min at 5 jobs at once" in text
    assert "instead of Process: 1 request, 0.03 PU" in text
    assert "Async" not in repr(with_route(plan, "auto", None))


def test_a_summary_tells_both_routes(plan_of: PlanOf) -> None:
    """As rows for people and as JSON for programs."""
    summary = make_cube_plan({"": with_route(plan_of(SMALL), "async", BUCKET)}).summary()
    told = [words for label, words in summary.rows() if label == "route"]
    assert told[0].startswith("Async Process: 1 job, 10.00 PU")
    assert summary.as_dict()["routing"]["route"] == "async"
