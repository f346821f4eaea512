"""Builds that outlive who ordered them: their owner is a task on the cluster, see `driver`.

Refuses to wait for them; a cube's status says how it is.
"""

from __future__ import annotations

import asyncio
import logging
import secrets
import time
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path

from distributed import Client, fire_and_forget

from shdask.assemble.lease import FOLDER
from shdask.assemble.place import Place, open_place
from shdask.assemble.stop import forget_stop, is_owned
from shdask.assemble.store import create_or_open
from shdask.assemble.tree import child, create_tree
from shdask.cluster.build_desk import BuildDesk
from shdask.cluster.driver import DriverSeats, JobsCost, Order, drive, read_jobs_cost
from shdask.cluster.executor import install, log_in, naming_what_is_lost
from shdask.cluster.nanny_plugin import PatientNanny
from shdask.cluster.patience import Patience
from shdask.cluster.run import tell
from shdask.doctor.preflight import look_before
from shdask.errors import BudgetExceeded, CubeOwned, StoreError, WrongStore
from shdask.fetch.budget import fits
from shdask.plan.cube import ROOT, CubePlan
from shdask.run_cube import price_left
from shdask.settings import Credentials

logger = logging.getLogger(__name__)

SIGN = f"{FOLDER}/detached.txt"
SEE_S = 10.0
"""Disks that machines share may show a new file to others only after some seconds."""
LOOK_S = 0.2
ANSWER_S = 20.0
"""A worker that has not said by then what it sees is frozen, or on its way out."""


@dataclass(frozen=True, slots=True, kw_only=True)
class DetachedBuild:
    """A build that goes on without whoever ordered it."""

    name: str
    store: str
    scheduler: str
    """The address of the cluster that its driver lives on."""
    key: str
    """What Dask calls the driver's task."""


@naming_what_is_lost()
def start_build(
    plan: CubePlan,
    store: str | Path,
    client: Client,
    *,
    credentials: Credentials | None = None,
    max_pu: float | None = None,
    update: bool = False,
    job: str | None = None,
    options: Sequence[str] = (),
    patience: Patience | None = None,
) -> DetachedBuild:
    """Let ``client``'s cluster build ``plan`` into ``store`` by itself, and return; the words are those of `run_cube`.

    The store is looked at from the workers, not from here: all must reach it. ``max_pu`` (None: the plan's) bounds what
    the build spends, however often its driver is replaced. The credentials (None: those of the scheduler's
    environment) go to the scheduler and no further. Waits for a first worker.

    Raises:
        PlanError, AuthError, SettingsError: before anything is created.
        WrongStore: it holds something else, is being built, or is not the same on all workers.
        BudgetExceeded: what is left to buy does not fit the cap, and nothing was sent.
        BuildError: the scheduler is lost (SchedulerLost), or worker after worker ended. The same call begins anew.

    """
    patience = patience or Patience()
    deployment = next(iter(plan.groups.values())).deployment
    look_before(plan, deployment)
    account = log_in(client, deployment, credentials, patience)
    install(client, BuildDesk(), PatientNanny(), DriverSeats())
    if not client.nthreads():
        logger.warning("the cluster at %s has no workers yet; waiting for the first", client.scheduler.address)
    name = secrets.token_hex(4)
    place = open_place(store)
    cap = plan.max_pu if max_pu is None else max_pu
    prepared = client.submit(prepare_store, plan, place.name, name, cap, update, key=f"shdask-prepare-{name}")
    before: JobsCost = prepared.result()
    _check_workers(client, child(place, next(iter(plan.groups))), name)
    order = Order(
        name=name,
        plan=plan,
        store=place.name,
        account=account,
        max_pu=cap,
        jobs_cost=before,
        update=update,
        job=job,
        options=tuple(options),
        patience=patience,
    )
    driver = client.submit(drive, order, key=order.key)
    fire_and_forget(driver)
    return DetachedBuild(name=name, store=place.name, scheduler=client.scheduler.address, key=order.key)


def prepare_store(plan: CubePlan, store: str, sign: str, max_pu: float | None, update: bool) -> JobsCost:
    """Run on a worker: create or recognise every group at ``store``, for a build that may begin; leave a ``sign``.

    Returns what its jobs have cost so far. Raises as `start_build`.
    """
    root = open_place(store)
    if tuple(plan.groups) != (ROOT,):
        create_tree(root, tuple(plan.groups))
    for path, group in plan.groups.items():
        create_or_open(group, child(root, path))
    if is_owned(root):
        raise CubeOwned(f"{root.name} is being built; see: shdask status {root.name}")
    _check_price(plan, store, max_pu, update=update)
    for path in plan.groups:
        forget_stop(child(root, path))
    before = read_jobs_cost(store)
    child(root, next(iter(plan.groups))).write(SIGN, sign.encode())
    return before


def _check_price(plan: CubePlan, store: str, max_pu: float | None, *, update: bool) -> None:
    if any(group.clear is not None for group in plan.groups.values()):
        return  # the price is not known before the look
    price = price_left(plan, store, update=update)
    if not fits(price, max_pu):
        raise BudgetExceeded(
            f"{price:.2f} PU are left to buy, and max_pu is {max_pu:g}; nothing was sent. Raise max_pu, or make the "
            f"area smaller or the resolution coarser"
        )


def _check_workers(client: Client, place: Place, sign: str) -> None:
    """Raise WrongStore where workers do not see what one of them has put into the store; others are not judged."""
    try:
        seen: Mapping[str, object] = client.sync(_ask_workers, client, list(client.nthreads()), place, sign)
    finally:
        tell(lambda: client.submit(place.remove, SIGN, pure=False).result())
    here = client.nthreads()
    blind = [worker for worker, found in seen.items() if worker in here and _is_blind(found)]
    unheard = [worker for worker, found in seen.items() if not isinstance(found, bool | StoreError)]
    if blind:
        raise WrongStore(
            f"{place.name} is not the same folder on all workers: {', '.join(blind)} did not see what another one "
            f"wrote there. Name a folder that all machines share, or s3://bucket/prefix"
        )
    if unheard:
        logger.warning("workers that did not say if they see %s: %s", place.name, ", ".join(unheard))


def _is_blind(found: object) -> bool:
    return found is False or isinstance(found, StoreError)


async def _ask_workers(client: Client, workers: Sequence[str], place: Place, sign: str) -> dict[str, object]:
    """What each worker sees, or the error that came in its place. Each by itself: one that is frozen never answers."""

    async def ask(worker: str) -> object:
        answer = client.run(look_for_sign, place, sign, workers=[worker], on_error="return")
        return (await asyncio.wait_for(answer, SEE_S + ANSWER_S))[worker]

    answers = await asyncio.gather(*map(ask, workers), return_exceptions=True)
    return dict(zip(workers, answers, strict=True))


async def look_for_sign(place: Place, sign: str) -> bool:
    """Run on each worker, beside all else that it does: `sees_sign`."""
    return await asyncio.to_thread(sees_sign, place, sign)


def sees_sign(place: Place, sign: str) -> bool:
    """Whether the ``sign`` is seen there within seconds."""
    until = time.monotonic() + SEE_S
    while place.read(SIGN) != sign.encode():
        if time.monotonic() > until:
            return False
        time.sleep(LOOK_S)
    return True
