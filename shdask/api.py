"""The public functions: read the inputs, plan, choose where to run, build.

Refuses to hold any logic of a room; it only introduces them to each other.
"""

from __future__ import annotations

from collections.abc import Callable
from datetime import UTC, datetime
from pathlib import Path
from typing import TYPE_CHECKING

from shdask.errors import PlanError
from shdask.inputs import read_area, read_reference_grid
from shdask.plan.dates import check_dates
from shdask.plan.cube import CubePlan, make_cube_plan
from shdask.plan.group import make_groups, place_in_time
from shdask.plan.layer_spec import MOSAIC
from shdask.plan.spec import CubeSpec
from shdask.settings import Credentials, make_deployment

if TYPE_CHECKING:
    from distributed import Client

    from shdask.build import Executor
    from shdask.model import TileEvent
    from shdask.report import BuildReport

Plannable = CubePlan | CubeSpec | str | Path
"""Taken wherever a plan is: the plan, a spec, or a job file's path."""


def make_plan(spec: Plannable) -> CubePlan:
    """Plan a cube: which requests, for how many PU, bytes and minutes. No pixels are fetched.

    Reads the area and the reference grid from disk where the spec names files, ``SH_BASE_URL``/``SH_TOKEN_URL`` from
    the environment, and, for layers with a cadence, what was acquired over the area from the service's catalogue,
    for which it needs credentials.
    Raises PlanError with the place and the cure when the job cannot be planned, AuthError as `build_cube`.
    """
    if isinstance(spec, CubePlan):
        return spec
    if not isinstance(spec, CubeSpec | str | Path):
        raise PlanError(f"{type(spec).__name__} is no job; give a CubeSpec, a CubePlan or a job file's path")
    if not isinstance(spec, CubeSpec):
        spec = CubeSpec.from_file(spec)
    check_dates(spec, datetime.now(UTC).date())
    area = None
    if spec.aoi is not None:
        area = read_area(spec.aoi, crs=spec.aoi_crs, layer=spec.aoi_layer, where=spec.aoi_where, folder=spec.folder)
    like = read_reference_grid(spec.like, folder=spec.folder) if spec.like is not None else None
    deployment = make_deployment(
        spec.service.deployment,
        base_url=spec.service.base_url,
        token_url=spec.service.token_url,
        requests_per_minute=spec.service.requests_per_minute,
        pu_per_minute=spec.service.pu_per_minute,
    )
    groups = make_groups(spec, area=area, like=like, deployment=deployment)
    if len(groups) == 1:
        groups = {"": group for group in groups.values()}
    return _place_in_time(make_cube_plan(groups, max_pu=spec.service.max_pu))


def _place_in_time(plan: CubePlan) -> CubePlan:
    """The plan with the acquisitions of the layers that have a cadence; one search for all who ask the same."""
    waiting = {path: group for path, group in plan.groups.items() if group.layer.cadence != MOSAIC}
    if not waiting:
        return plan
    from shdask.account import fetch_timeline, open_service
    from shdask.fetch.client import Spent

    spent, groups = Spent(), dict(plan.groups)
    with open_service(next(iter(waiting.values())).deployment, Credentials.load()) as client:
        for path, group in waiting.items():
            groups[path] = place_in_time(group, fetch_timeline(client, group, spent), trim=True)
    note = f"the catalogue was searched for {spent.pu:.2f} PU in {spent.requests} requests"
    return make_cube_plan(groups, max_pu=plan.max_pu, notes=(*plan.notes, note))


def build_cube(
    plan: Plannable,
    store: str | Path,
    *,
    client: Client | None = None,
    executor: Executor | None = None,
    max_pu: float | None = None,
    update: bool = False,
    on_event: Callable[[TileEvent], None] | None = None,
) -> BuildReport:
    """Fetch the tiles of ``plan`` that ``store`` does not hold yet; returns what happened.

    Runs on ``client``'s cluster, or by ``executor``, or on a LocalCluster made for the call. A store that
    exists is continued; a finished tile is never fetched again. ``store`` is a folder, or ``s3://bucket/prefix``
    with keys and endpoint from the environment of this process and of the workers. Dates later than the cube's are
    appended; with ``update`` also what came late or was reprocessed of dates that it has. ``max_pu`` (default: the
    job's) bounds what this call may spend. ``on_event`` hears of each tile once it is durable.

    Raises:
        PlanError, SettingsError: the job or the environment cannot be used.
        AuthError: no credentials, or the service refuses them.
        BudgetExceeded, QuotaExhausted: what was paid for is kept.
        StoreError: the store belongs to another cube or another process, or cannot be written.

    Failed tiles do not raise: see ``report.raise_for_failures()``.

    """
    from shdask.build import run_cube

    plan = make_plan(plan)
    credentials = Credentials.load()
    if executor is None:
        from shdask.cluster.executor import DaskExecutor, OnDemandExecutor
        from shdask.cluster.local import open_local_client

        executor = OnDemandExecutor(open_local_client) if client is None else DaskExecutor(client)
    return run_cube(plan, store, executor, credentials, max_pu=max_pu, update=update, on_event=on_event)
