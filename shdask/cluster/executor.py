"""Builds begin on a Dask cluster: log in on the scheduler, put the plan on every worker, and let a run go.

Dask schedules; refuses to know how a run goes on.
"""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import pickle
import secrets
from collections.abc import Callable, Iterator
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict, dataclass, field
from urllib.parse import urlsplit

import numpy as np
from distributed import Client
from distributed.diagnostics.plugin import NannyPlugin, SchedulerPlugin, WorkerPlugin
from distributed.protocol.serialize import ToPickle
from numpy.typing import NDArray

from shdask import __version__
from shdask.build import Account, BuildJob, Run
from shdask.cluster.build_desk import BuildDesk
from shdask.cluster.nanny_plugin import PatientNanny
from shdask.cluster.patience import Patience
from shdask.cluster.run import LOST, DaskRun
from shdask.cluster.scheduler_plugin import AccountDesk, Sealed, account_key
from shdask.cluster.seams import OwnerSeat, SchedulerGate, SchedulerTokens
from shdask.cluster.worker_plugin import TileWorker
from shdask.errors import BuildError, SettingsError, ShdaskError
from shdask.fetch.client import RequestsTransport, ServiceClient
from shdask.settings import Credentials, Deployment

logger = logging.getLogger(__name__)


@dataclass(frozen=True, slots=True)
class DaskExecutor:
    """Runs tiles on the cluster behind ``client``; the client's process stays the owner of the build."""

    client: Client
    patience: Patience = field(default_factory=Patience)

    def start(self, job: BuildJob, tiles: NDArray[np.intp]) -> Run:
        """Log in on the scheduler, put the plan on every worker, and begin.

        Raises AuthError when the service refuses the credentials, SettingsError when they would
        cross a network unencrypted, or when the cluster lacks our packages, BuildError when the scheduler is lost.
        """
        return _start_run(self.client, job, tiles, self.patience, release=lambda: None)

    @contextlib.contextmanager
    def open_account(self, job: BuildJob) -> Iterator[Account]:
        """The scheduler's limiter and token in the owner's hands. Raises as `start`."""
        service = _open_service(self.client, job, self.patience)
        try:
            yield Account(service=service.client, executor=self, patience=self.patience.jobs)
        finally:
            service.transport.close()


@dataclass(frozen=True, slots=True)
class OnDemandExecutor:
    """Runs tiles on a cluster that is opened when there is a tile to run, and closed with the run."""

    open_cluster: Callable[[], AbstractContextManager[Client]]
    on_open: Callable[[Client], None] = lambda _client: None
    patience: Patience = field(default_factory=Patience)

    def start(self, job: BuildJob, tiles: NDArray[np.intp]) -> Run:
        """Open the cluster and begin on it. Raises as ``DaskExecutor.start`` does."""
        opened = ExitStack()
        try:
            client = opened.enter_context(self.open_cluster())
            self.on_open(client)
            return _start_run(client, job, tiles, self.patience, release=opened.close)
        except BaseException:
            opened.close()
            raise

    @contextlib.contextmanager
    def open_account(self, job: BuildJob) -> Iterator[Account]:
        """Open the cluster, and keep it for as long as the account is needed. Raises as `start`."""
        with self.open_cluster() as client:
            self.on_open(client)
            with DaskExecutor(client, self.patience).open_account(job) as account:
                yield account


@dataclass(frozen=True, slots=True, kw_only=True)
class _OpenService:
    client: ServiceClient
    transport: RequestsTransport


def _open_service(client: Client, job: BuildJob, patience: Patience) -> _OpenService:
    refuse_plain_network(client.scheduler.address)
    try:
        account = log_in(client, job.plan.deployment, job.credentials, patience)
    except OSError as error:
        raise BuildError(LOST) from error
    transport, seat = RequestsTransport(pool_size=1), OwnerSeat(client=client)
    service = ServiceClient(
        job.plan.deployment,
        transport,
        SchedulerGate(seat, account),
        SchedulerTokens(seat, account),
        patience.retries,
        timeouts=patience.timeouts,
    )
    return _OpenService(client=service, transport=transport)


def _start_run(
    client: Client, job: BuildJob, tiles: NDArray[np.intp], patience: Patience, release: Callable[[], None]
) -> Run:
    refuse_plain_network(client.scheduler.address)
    try:
        return _begin_run(client, job, tiles, patience, release)
    except OSError as error:  # a connection that broke, or an answer that did not come
        raise BuildError(LOST) from error


def _begin_run(
    client: Client, job: BuildJob, tiles: NDArray[np.intp], patience: Patience, release: Callable[[], None]
) -> Run:
    install(client, BuildDesk(), PatientNanny())
    account = log_in(client, job.plan.deployment, job.credentials, patience)
    if not client.nthreads():
        logger.warning("the cluster at %s has no workers yet; waiting for the first", client.scheduler.address)
    client.wait_for_workers(1)
    plugin = TileWorker(
        build=secrets.token_hex(4),
        account=account,
        plan=job.plan,
        cube=job.cube,
        patience=patience,
        is_capped=job.max_pu is not None,
        deliveries=job.deliveries,
    )
    run = DaskRun(client, plugin, tiles, give_out=job.give_out, count_charged=job.count_charged, release=release)
    try:
        client.sync(
            client.scheduler.shdask_open_build,
            build=plugin.build,
            client=client.id,
            tile_count=job.plan.tile_set.index_count,
            frozen_s=patience.frozen_s,
            max_pu=job.max_pu,
        )
        install(client, plugin)
        run.begin()
    except BaseException:
        run.close()
        raise
    return run


def log_in(client: Client, deployment: Deployment, credentials: Credentials, patience: Patience) -> str:
    """Hand credentials to the scheduler, which proves them; returns what the account is called from now on.

    Raises AuthError when the service refuses them, SettingsError where the cluster lacks our packages.
    """
    install(client, AccountDesk())
    account: str = account_key(deployment, credentials)
    refused = client.sync(
        client.scheduler.shdask_login,
        account=account,
        client_id=credentials.client_id,
        client_secret=ToPickle(Sealed(credentials.client_secret)),
        deployment=asdict(deployment),
        outage=asdict(patience.outage),
    )
    if refused is not None:
        error: ShdaskError = pickle.loads(refused)  # noqa: S301  # our own scheduler's error
        raise error
    return account


def install(client: Client, *plugins: SchedulerPlugin | WorkerPlugin | NannyPlugin) -> None:
    """Put plugins on scheduler, workers or nannies. Raises SettingsError where the cluster lacks our packages."""
    try:
        for plugin in plugins:
            client.register_plugin(plugin)
    except Exception as error:
        if "ModuleNotFoundError" not in repr(error):  # a worker's comes as text alone
            raise
        raise SettingsError(
            f"the cluster at {client.scheduler.address} lacks a package ({error}); install shdask {__version__} "
            f"where its scheduler and workers run"
        ) from error


def refuse_plain_network(address: str) -> None:
    """Raise SettingsError where the OAuth secret would cross a network unencrypted on its way to the scheduler."""
    parts = urlsplit(address)
    if parts.scheme in {"tls", "wss", "inproc"}:
        return
    with contextlib.suppress(ValueError):
        if ipaddress.ip_address(parts.hostname or "").is_loopback:
            return
    if parts.hostname == "localhost":
        return
    raise SettingsError(
        f"the scheduler at {address} is reached over an unencrypted network, and the OAuth secret would cross it; "
        f"start the cluster with TLS (tls://...)"
    )
