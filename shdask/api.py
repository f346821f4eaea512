"""The public functions: read the inputs, plan, choose where to run, build.

Refuses to hold any logic of a room; it only introduces them to each other.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING

from shdask.planning import OpenAccount, Plannable, make_plan
from shdask.settings import Credentials

if TYPE_CHECKING:
    from distributed import Client

    from shdask.build import Executor
    from shdask.model import TileEvent
    from shdask.report import BuildReport


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
        AuthError: no credentials, or the service refuses them. ``client``'s scheduler may have some of its own: this
            process then needs none.
        BudgetExceeded, QuotaExhausted: what was paid for is kept.
        StoreError: the store belongs to another cube or another process, or cannot be written.

    Failed tiles do not raise: see ``report.raise_for_failures()``.

    """
    from shdask.run_cube import run_cube

    credentials = Credentials.find() if client is not None and executor is None else Credentials.load()
    plan = make_plan(plan, open_account=None if credentials is not None else _account_of(client))
    with ExitStack() as stack:
        if executor is None:
            from shdask.cluster.executor import DaskExecutor, OnDemandExecutor
            from shdask.cluster.local import open_local_client, share_client
            from shdask.doctor.preflight import CarefulExecutor

            local = OnDemandExecutor(stack.enter_context(share_client(open_local_client)))
            executor = CarefulExecutor(local if client is None else DaskExecutor(client), plan)
        report = run_cube(plan, store, executor, credentials, max_pu=max_pu, update=update, on_event=on_event)
    return replace(report, drawing=partial(_draw, store))


def _draw(store: str | Path) -> str:
    from shdask.serve.card import draw_store

    return draw_store(store)


def _account_of(client: Client | None) -> OpenAccount | None:
    """The account whose credentials the scheduler of ``client`` has itself."""
    if client is None:
        return None
    from shdask.cluster.executor import open_service_on

    return partial(open_service_on, client)
