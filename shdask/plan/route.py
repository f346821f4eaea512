"""By which API of the service a group is bought: many requests of Process, or few large jobs of Async Process.

Pure. Refuses to know how either is sent; compares what both would cost and take, and says why one was chosen.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from math import isclose
from typing import TYPE_CHECKING, Any, Literal

import numpy as np

from shdask.errors import PlanError
from shdask.plan.cost import Cost
from shdask.plan.cube import CubePlan, make_cube_plan
from shdask.plan.jobs import cost_by_jobs
from shdask.plan.learning import job_kind_of
from shdask.plan.scout import is_scout
from shdask.plan.spec import DELIVERY_CURE
from shdask.plan.wording import counted, duration

if TYPE_CHECKING:
    from collections.abc import Mapping

    from shdask.plan.delivery_spec import DeliveryOptions
    from shdask.plan.group import GroupPlan
    from shdask.plan.layer_spec import LayerRoute
    from shdask.plan.measured import Measured
    from shdask.plan.spec import CubeSpec, Prefer
    from shdask.settings import Deployment

Route = Literal["process", "async"]
ALIKE = 1e-6
"""Sums that differ by less are the same but for rounding."""
MOST_TIMES_LONGER = 2.0
"""What ``prefer = "auto"`` waits for a lower price, in terms of the other route's time."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Routing:
    """The route of a whole group, and what it was chosen from."""

    route: Route
    asked: LayerRoute
    """What the job says of the layer."""
    process: Cost
    """By requests of Process."""
    by_jobs: Cost | None
    """By jobs; None where they are not possible, or not wanted."""
    why: str
    """For people."""
    job_minutes: float
    """What a job was taken to last."""
    concurrency: int
    """How many jobs were taken to run at once."""

    @property
    def jobs(self) -> int:
        """How many jobs there would be; 0 where there is no such choice."""
        return 0 if self.by_jobs is None else self.by_jobs.jobs

    def as_dict(self) -> dict[str, Any]:
        """Both routes and the reason, as JSON types. Pure."""
        return {
            "route": self.route,
            "asked": self.asked,
            "why": self.why,
            "process": _route_json(self.process),
            "by_jobs": self.by_jobs and {"jobs": self.jobs, **_route_json(self.by_jobs)},
        }

    def lines(self) -> list[str]:
        """Both routes and the reason, a line each, the chosen one first. Pure."""
        process = f"Process: {counted(self.process.requests, 'request')}, {_amount(self.process)}"
        if self.by_jobs is None:
            return [f"Process: {self.why}"]
        jobs = f"Async Process: {counted(self.jobs, 'job')}, {_amount(self.by_jobs)} (jobs' times are a guess)"
        chosen, other = (jobs, process) if self.route == "async" else (process, jobs)
        return [f"{chosen}; {self.why}", f"instead of {other}"]


def choose_route(
    group: GroupPlan,
    *,
    layer_route: LayerRoute,
    delivery: DeliveryOptions | None,
    prefer: Prefer,
    job_minutes: float,
    concurrency: int,
) -> Routing:
    """The route by which all tiles of ``group`` are bought. Pure.

    Jobs are possible only where there is a ``delivery``. ``auto`` layers go by ``prefer``: "pu" takes the cheaper
    route, "time" the faster, "requests" that of fewer requests, and "auto" the cheaper unless it takes more than twice
    the other's time; Process where both are equal. A job takes ``job_minutes``, and ``concurrency`` run at once.
    Raises PlanError for a layer that is to go by jobs without a delivery.
    """
    if layer_route == "async" and delivery is None:
        raise PlanError(f'layers.{group.layer.name}.route: "async" needs a bucket to deliver to; {DELIVERY_CURE}')
    some = group.tile_set.indices()
    together = np.zeros(some.size, np.intp)
    process = replace(group, routing=None).cost_by(some, together, 1)[0]
    by_jobs: Cost | None = None
    route: Route = "process"
    why = 'route = "process"'
    if delivery is None:
        why = "jobs are possible where the job file has [delivery]"
    elif layer_route != "process":
        by_jobs = cost_by_jobs(group, some, together, 1, job_minutes=job_minutes, concurrency=concurrency)[0]
        route, why = ("async", 'route = "async"') if layer_route == "async" else _pick(process, by_jobs, prefer)
    return Routing(
        route=route,
        asked=layer_route,
        process=process,
        by_jobs=by_jobs,
        why=why,
        job_minutes=job_minutes,
        concurrency=concurrency,
    )


def check_delivery(delivery: DeliveryOptions | None, account: Deployment) -> None:
    """Raise PlanError where a deployment does not deliver as the job says: CDSE's schema has no roles. Pure."""
    if delivery is not None and delivery.iam_role_arn is not None and account.name == "cdse":
        raise PlanError(
            "delivery.iam_role_arn: cdse delivers with keys alone; leave it out, and set AWS_ACCESS_KEY_ID and "
            "AWS_SECRET_ACCESS_KEY in the environment"
        )


def route_groups(plan: CubePlan, spec: CubeSpec, known: Mapping[str, Measured]) -> CubePlan:
    """The plan with every group's route; looks at clear ground go by Process. Pure. Raises as `choose_route`.

    ``known`` are figures of earlier runs, by kind: what jobs were charged, and how long they took.
    """
    groups = {
        path: group
        if is_scout(path)
        else with_route(
            group,
            spec.layers[group.layer.name].route,
            spec.delivery,
            measured=known.get(job_kind_of(group.layer, group.deployment)),
        )
        for path, group in plan.groups.items()
    }
    return make_cube_plan(groups, max_pu=plan.max_pu, notes=plan.notes, measured=plan.measured)


def with_route(
    group: GroupPlan,
    layer_route: LayerRoute,
    delivery: DeliveryOptions | None,
    *,
    measured: Measured | None = None,
) -> GroupPlan:
    """The same plan by the route that suits its job and its account best. Pure. Raises as `choose_route`.

    ``measured`` is what jobs of its kind have shown; without it their price is the deployment's, their time a guess.
    """
    account, minutes = group.deployment, group.deployment.async_job_minutes
    if measured is not None and measured.latency_s is not None:
        minutes = measured.latency_s / 60
    if measured is not None and measured.pu_ratio is not None:
        prices = replace(account.prices, async_factor=account.prices.async_factor * measured.pu_ratio)
        group = replace(group, layer=replace(group.layer, prices=prices))
    routing = choose_route(
        group,
        layer_route=layer_route,
        delivery=delivery,
        prefer=group.prefer,
        job_minutes=minutes,
        concurrency=account.async_concurrency,
    )
    return replace(group, delivery=delivery, routing=routing)


def route_again(group: GroupPlan) -> GroupPlan:
    """The same plan with its route chosen anew, after its tiles or its account have changed. Pure."""
    now = group.routing
    if now is None:
        return group
    routing = choose_route(
        group,
        layer_route=now.asked,
        delivery=group.delivery,
        prefer=group.prefer,
        job_minutes=now.job_minutes,
        concurrency=now.concurrency,
    )
    return replace(group, routing=routing)


def _pick(process: Cost, by_jobs: Cost, prefer: Prefer) -> tuple[Route, str]:
    """The route of two possible ones, and why."""
    process_min, jobs_min = process.minutes_in_all, by_jobs.minutes_in_all
    if prefer == "time":
        return _least("faster", jobs_min, process_min)
    if prefer == "requests":
        return _least("fewer requests", by_jobs.requests, process.requests)
    route, why = _least("cheaper", by_jobs.pu, process.pu)
    here, other = (jobs_min, process_min) if route == "async" else (process_min, jobs_min)
    if prefer == "pu" or here <= MOST_TIMES_LONGER * other:
        return route, why
    dearer: Route = "process" if route == "async" else "async"
    return dearer, f"the cheaper takes {_times(here, other)} the time"


def _least(what: str, by_jobs: float, process: float) -> tuple[Route, str]:
    if isclose(by_jobs, process, rel_tol=ALIKE):
        return "process", "both are alike"
    return ("async" if by_jobs < process else "process"), what


def _times(here: float, other: float) -> str:
    return f"{here / other:.1f} times" if other else "many times"


def _amount(cost: Cost) -> str:
    return f"{cost.pu:.2f} PU, about {duration(cost.minutes_in_all * 60)}"


def _route_json(cost: Cost) -> dict[str, Any]:
    return {"requests": cost.requests, "pu": cost.pu, "minutes": cost.minutes, "months": cost.months}
