"""Tiles on demand on a Dask cluster: a worker buys those that its tasks touch, under the scheduler's limiter and cap.

Refuses to know stores, and to buy anything outside a worker.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field

from dask.base import get_scheduler
from distributed import Client, Scheduler, Worker, get_worker
from distributed.diagnostics.plugin import SchedulerPlugin, WorkerPlugin

from shdask.cluster.batches import MAX_FETCH_THREADS
from shdask.cluster.executor import install, log_in
from shdask.cluster.patience import Patience
from shdask.cluster.run import LOST
from shdask.cluster.seams import SchedulerGate, SchedulerTokens, ask_scheduler
from shdask.demand.budget import LocalBudget
from shdask.demand.direct import DirectSource
from shdask.demand.tiles import OPEN, TilesOnDemand
from shdask.errors import BudgetExceeded, BuildError
from shdask.fetch.client import RequestsTransport, ServiceClient
from shdask.plan.group import GroupPlan
from shdask.settings import Credentials


def computing_client() -> Client | None:
    """The client of the cluster that Dask would compute on just now; None where that is this process itself."""
    try:
        computes = getattr(get_scheduler(), "__self__", None)
    except ValueError:  # a client was made the default, and is closed
        return None
    return computes if isinstance(computes, Client) else None


def is_on_worker() -> bool:
    """Whether the calling thread works on a task of a cluster."""
    try:
        get_worker()
    except ValueError:
        return False
    return True


@dataclass(frozen=True, slots=True, kw_only=True)
class ClusterTiles:
    """Opens layers on the cluster behind ``client`` that share one cap. They stay open until the client closes."""

    client: Client
    max_pu: float | None
    patience: Patience = field(default_factory=Patience)
    cap: str = field(default_factory=lambda: secrets.token_hex(8))

    def open(self, plan: GroupPlan, credentials: Credentials | None) -> str:
        """Put ``plan`` on every worker, also on those that join later; returns the token that tasks find it by.

        The credentials go to the scheduler and no further. Raises as `DaskExecutor.start` does.
        """
        try:
            account = log_in(self.client, plan.deployment, credentials, self.patience)
            install(self.client, CapDesk())
            self.client.sync(
                self.client.scheduler.shdask_open_cap, cap=self.cap, client=self.client.id, max_pu=self.max_pu
            )
            token = secrets.token_hex(8)
            install(
                self.client,
                TouchWorker(token=token, account=account, cap=self.cap, plan=plan, patience=self.patience),
            )
        except OSError as error:  # a connection that broke, or an answer that did not come
            raise BuildError(LOST) from error
        return token


class TouchWorker(WorkerPlugin):
    """Holds what one opened layer needs on one worker. Keeps no pixels: Dask holds them as long as it needs them."""

    def __init__(self, *, token: str, account: str, cap: str, plan: GroupPlan, patience: Patience) -> None:
        self.name = f"shdask-touch-{token}"
        self.token = token
        self.account = account
        self.cap = cap
        self.plan = plan
        self.patience = patience

    def setup(self, worker: Worker) -> None:
        """Make the layer known in this process; called on every worker."""
        self._transport = RequestsTransport(pool_size=MAX_FETCH_THREADS)
        client = ServiceClient(
            self.plan.deployment,
            self._transport,
            SchedulerGate(worker, self.account),
            SchedulerTokens(worker, self.account),
            self.patience.retries,
            timeouts=self.patience.timeouts,
        )
        source = DirectSource(plan=self.plan, client=lambda: client, budget=SchedulerBudget(worker, self.cap))
        self._tiles = TilesOnDemand(self.plan, source, token=self.token, cache_nbytes=0)
        OPEN.add(self._tiles)

    def teardown(self, worker: Worker) -> None:  # noqa: ARG002  # distributed's signature
        """Close the connections; tasks do not find the layer any more."""
        self._transport.close()
        del self._tiles


class SchedulerBudget:
    """The Budget of a worker: the scheduler's."""

    def __init__(self, worker: Worker, cap: str) -> None:
        self._worker = worker
        self._cap = cap

    def reserve(self, pu: float, what: str) -> None:
        """As `Budget.reserve`."""
        refusal = ask_scheduler(self._worker, "shdask_reserve", cap=self._cap, pu=pu, what=what)
        if refusal is not None:
            raise BudgetExceeded(refusal)

    def settle(self, reserved: float, spent: float) -> None:
        """As `Budget.settle`."""
        ask_scheduler(self._worker, "shdask_settle", cap=self._cap, reserved=reserved, spent=spent)


class CapDesk(SchedulerPlugin):
    """The caps of cubes that are opened on the cluster, and what was spent under each."""

    name = "shdask-caps"
    idempotent = True

    def start(self, scheduler: Scheduler) -> None:
        """Register the handlers that clients and workers call by name."""
        self._caps: dict[str, tuple[str, LocalBudget]] = {}
        scheduler.handlers.update(shdask_open_cap=self.open_cap, shdask_reserve=self.reserve, shdask_settle=self.settle)

    async def open_cap(self, cap: str, client: str, max_pu: float | None) -> None:
        """Know a cap until the end of ``client``. Again: does nothing."""
        self._caps.setdefault(cap, (client, LocalBudget(max_pu)))

    async def reserve(self, cap: str, pu: float, what: str) -> str | None:
        """`LocalBudget.reserve`: None, or why not. A worker that dies takes back no promise: it may have spent it."""
        if cap not in self._caps:
            return f"{what} belongs to a cube whose owner is gone; open it again"
        try:
            self._caps[cap][1].reserve(pu, what)
        except BudgetExceeded as error:
            return str(error)
        return None

    async def settle(self, cap: str, reserved: float, spent: float) -> None:
        """`LocalBudget.settle`."""
        if cap in self._caps:
            self._caps[cap][1].settle(reserved, spent)

    def remove_client(self, scheduler: Scheduler, client: str) -> None:  # noqa: ARG002  # distributed's signature
        """Forget the caps of a client that is gone: nothing is bought for it any more."""
        self._caps = {cap: known for cap, known in self._caps.items() if known[0] != client}
