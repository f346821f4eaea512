"""From a job to its plan: read the inputs, search the catalogue where the job has a cadence, cut it into tiles.

Refuses to know builds, stores and clusters.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import AbstractContextManager
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from shdask.errors import PlanError
from shdask.inputs import read_area, read_reference_grid
from shdask.learned import Learned
from shdask.plan.all_dates import weigh_composites
from shdask.plan.cube import CubePlan, make_cube_plan
from shdask.plan.dates import check_dates
from shdask.plan.layer import LayerPlan
from shdask.plan.layer_spec import MOSAIC
from shdask.plan.learning import learn_from
from shdask.plan.placing import make_groups, place_in_time
from shdask.plan.route import check_delivery, route_groups
from shdask.plan.scout import add_scouts
from shdask.plan.spec import CubeSpec
from shdask.plan.wording import counted
from shdask.request.declared import check_declared, read_declared
from shdask.settings import Credentials, Deployment, make_deployment

if TYPE_CHECKING:
    from shdask.fetch.client import ServiceClient

Plannable = CubePlan | CubeSpec | str | Path
"""Taken wherever a plan is: the plan, a spec, or a job file's path."""
OpenAccount = Callable[[Deployment], "AbstractContextManager[ServiceClient]"]
"""Opens an account at a deployment, for the length of a block."""


def make_plan(spec: Plannable, *, open_account: OpenAccount | None = None) -> CubePlan:
    """Plan a cube: which requests, for how many PU, bytes and minutes. No pixels are fetched.

    Reads the area and the reference grid from disk where the spec names files, ``SH_BASE_URL``/``SH_TOKEN_URL`` from
    the environment, runs ``setup()`` of users' scripts where V8 is installed, and reads, for layers with a cadence,
    what was acquired over the area from the service's catalogue,
    for which it needs credentials, or an account that ``open_account`` opens. What earlier runs of this user have cost
    and taken is counted in, or told.
    Raises PlanError with the place and the cure when the job cannot be planned, AuthError as `build_cube`.
    """
    if isinstance(spec, CubePlan):
        return spec
    if not isinstance(spec, CubeSpec | str | Path):
        raise PlanError(f"{type(spec).__name__} is no job; give a CubeSpec, a CubePlan or a job file's path")
    if not isinstance(spec, CubeSpec):
        spec = CubeSpec.from_file(spec)
    spec = spec.with_scripts()
    placed = _place_in_time(plan_before_search(spec), open_account or _open_here)
    groups = weigh_composites(placed.groups, spec)
    planned = make_cube_plan(add_scouts(groups, spec), max_pu=placed.max_pu, notes=placed.notes)
    known = Learned.of_this_user().read()
    return route_groups(learn_from(planned, known), spec, known)


def plan_before_search(spec: CubeSpec) -> CubePlan:
    """What `make_plan` makes of a job before it asks the service: layers with a cadence have no time axis yet.

    ``spec`` holds the texts of its scripts. Reads the rest from disk and the environment as `make_plan` does, and
    raises PlanError as it does.
    """
    check_dates(spec, datetime.now(UTC).date())
    account = deployment_of(spec)
    check_delivery(spec.delivery, account)
    area = None
    if spec.aoi is not None:
        area = read_area(spec.aoi, crs=spec.aoi_crs, layer=spec.aoi_layer, where=spec.aoi_where, folder=spec.folder)
    like = read_reference_grid(spec.like, folder=spec.folder) if spec.like is not None else None
    groups = make_groups(spec, area=area, like=like, deployment=account)
    for group in groups.values():
        try:
            _check_scripts(group.layer)
        except PlanError as error:
            place = f"layers.{group.layer.name}."
            raise PlanError("\n".join(place + line for line in str(error).splitlines())) from error
    return make_cube_plan(groups, max_pu=spec.service.max_pu)


def deployment_of(spec: CubeSpec) -> Deployment:
    """The deployment that a job names, as the environment changes it. Raises SettingsError."""
    return make_deployment(
        spec.service.deployment,
        base_url=spec.service.base_url,
        token_url=spec.service.token_url,
        requests_per_minute=spec.service.requests_per_minute,
        pu_per_minute=spec.service.pu_per_minute,
        requests_per_month=spec.service.requests_per_month,
        pu_per_month=spec.service.pu_per_month,
        bucket_s=spec.service.bucket_s,
    )


def _check_scripts(layer: LayerPlan) -> None:
    """Hold what users' scripts declare against the job, where V8 is installed. Raises PlanError."""
    for part in layer.parts:
        declared = None if part.script is None else read_declared(part.script)
        if declared is not None:
            check_declared(
                declared,
                input_bands=layer.named_inputs(),
                mosaicking=layer.mosaicking,
                outputs=layer.named_outputs(part),
            )


def _open_here(deployment: Deployment) -> AbstractContextManager[ServiceClient]:
    from shdask.account import open_service

    return open_service(deployment, Credentials.load())


def _place_in_time(plan: CubePlan, open_account: OpenAccount) -> CubePlan:
    """The plan with the acquisitions of the layers that have a cadence; one search for all who ask the same."""
    waiting = {path: group for path, group in plan.groups.items() if group.layer.cadence != MOSAIC}
    if not waiting:
        return plan
    from shdask.account import fetch_timeline
    from shdask.fetch.client import Spent

    spent, groups = Spent(), dict(plan.groups)
    with open_account(next(iter(waiting.values())).deployment) as client:
        for path, group in waiting.items():
            groups[path] = place_in_time(group, fetch_timeline(client, group, spent), trim=True)
    note = f"the catalogue was searched for {spent.pu:.2f} PU in {counted(spent.requests, 'request')}"
    return make_cube_plan(groups, max_pu=plan.max_pu, notes=(*plan.notes, note))
