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
from concurrent.futures import CancelledError
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict, dataclass, field
from functools import partial
from urllib.parse import urlsplit

import numpy as np
from distributed import Client
from distributed.diagnostics.plugin import NannyPlugin, SchedulerPlugin, WorkerPlugin
from distributed.protocol.serialize import ToPickle
from distributed.scheduler import KilledWorker
from numpy.typing import NDArray

from shdask import __version__
from shdask.build import Account, BuildJob, Run
from shdask.cluster.build_desk import BuildDesk
from shdask.cluster.frames import mend_current_frames
from shdask.cluster.learned_bursts import LearnedBursts
from shdask.cluster.metrics import MetricsDesk
from shdask.cluster.nanny_plugin import PatientNanny
from shdask.cluster.patience import Patience
from shdask.cluster.reporter import Reporter
from shdask.cluster.run import DROPPED, LOST, DaskRun, tell
from shdask.cluster.scheduler_plugin import AccountDesk, Sealed, account_key
from shdask.cluster.seams import OwnerSeat, SchedulerGate, SchedulerTokens
from shdask.cluster.watch import BuildWatch
from shdask.cluster.worker_plugin import TileWorker
from shdask.errors import BuildError, SchedulerLost, SettingsError, ShdaskError
from shdask.fetch.client import RequestsTransport, ServiceClient
from shdask.settings import Credentials, Deployment

logger = logging.getLogger(__name__)

REMEMBER_S = 5.0
"""A scheduler that does not say by then what it found is not waited for."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Standing:
    """What the scheduler knows a build by before it begins, so that its owner can be replaced."""

    account: str
    """That somebody has logged in to: the owner needs no credentials."""
    name: str | None = None
    """What the builds of owners that follow each other have in common; None where none follows."""


@dataclass(frozen=True, slots=True)
class DaskExecutor:
    """Runs tiles on the cluster behind ``client``; the client's process stays the owner of the build."""

    client: Client
    patience: Patience = field(default_factory=Patience)
    standing: Standing | None = None
    """None where the job's credentials are used."""

    def start(self, job: BuildJob, tiles: NDArray[np.intp]) -> Run:
        """Log in on the scheduler, put the plan on every worker, and begin.

        Raises AuthError when the service refuses the credentials, SettingsError when they would
        cross a network unencrypted, or when the cluster lacks our packages, SchedulerLost when the scheduler is.
        """
        return _start_run(self.client, job, tiles, self.patience, release=lambda: None, standing=self.standing)

    @contextlib.contextmanager
    def open_account(self, job: BuildJob) -> Iterator[Account]:
        """The scheduler's limiter and token in the owner's hands. Raises as `start`."""
        client, deployment, patience = self.client, job.plan.deployment, self.patience
        with naming_what_is_lost():
            account = self.standing.account if self.standing else log_in(client, deployment, job.credentials, patience)
            install(client, BuildDesk(), BuildWatch())
            reporter = Reporter(client, job, account)
            reporter.begin()
        try:
            with _open_service(client, deployment, account, patience) as service:
                executor = DaskExecutor(client, patience, self.standing or Standing(account=account))
                yield Account(service=service, executor=executor, patience=patience.jobs, show=reporter.show)
        except BaseException as error:
            tell(partial(reporter.end, error))
            raise
        else:
            tell(reporter.end)


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


@contextlib.contextmanager
def open_service_on(
    client: Client, deployment: Deployment, credentials: Credentials | None = None, patience: Patience | None = None
) -> Iterator[ServiceClient]:
    """The service by the limiter and token of ``client``'s scheduler, for what its owner asks itself; with no cap.

    Without credentials the scheduler's own are used. Raises as `log_in` does, and SchedulerLost where it is lost.
    """
    patience = patience or Patience()
    with naming_what_is_lost():
        account = log_in(client, deployment, credentials, patience)
    with _open_service(client, deployment, account, patience) as service:
        yield service


@contextlib.contextmanager
def _open_service(client: Client, deployment: Deployment, account: str, patience: Patience) -> Iterator[ServiceClient]:
    transport, seat = RequestsTransport(pool_size=1), OwnerSeat(client=client)
    try:
        yield ServiceClient(
            deployment,
            transport,
            SchedulerGate(seat, account),
            SchedulerTokens(seat, account),
            patience.retries,
            timeouts=patience.timeouts,
        )
    finally:
        transport.close()


@contextlib.contextmanager
def naming_what_is_lost() -> Iterator[None]:
    """Raises SchedulerLost for a connection that broke in the block, an answer that did not come, or tasks dropped.

    And BuildError for tasks whose workers died one after the other.
    """
    try:
        yield
    except OSError as error:
        raise SchedulerLost(LOST) from error
    except CancelledError as error:
        raise SchedulerLost(DROPPED) from error
    except KilledWorker as error:
        raise BuildError(f"one worker after the other ended before the build began; begin again ({error})") from error


@naming_what_is_lost()
def _start_run(
    client: Client,
    job: BuildJob,
    tiles: NDArray[np.intp],
    patience: Patience,
    *,
    release: Callable[[], None],
    standing: Standing | None = None,
) -> Run:
    account = standing.account if standing else log_in(client, job.plan.deployment, job.credentials, patience)
    install(client, BuildDesk(), BuildWatch(), PatientNanny())
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
        logged_as=job.key,
    )
    reporter = Reporter(client, job, account, plugin.build)

    def part() -> None:
        remember_burst(client, account)
        release()

    run = DaskRun(
        client,
        plugin,
        tiles,
        give_out=job.give_out,
        count_charged=job.count_charged,
        count_lost=job.count_lost,
        release=part,
        reporter=reporter,
    )
    try:
        client.sync(
            client.scheduler.shdask_open_build,
            build=plugin.build,
            client=client.id,
            tile_count=job.plan.tile_set.index_count,
            frozen_s=patience.frozen_s,
            max_pu=job.max_pu,
            of=None if standing is None else standing.name,
        )
        reporter.begin()
        install(client, plugin)
        run.begin()
    except BaseException as error:
        run.__exit__(type(error), error, None)
        raise
    return run


def remember_burst(client: Client, account: str) -> None:
    """Keep what the scheduler has found of the account's burst for this user's next cluster, where it can be asked."""
    learned = LearnedBursts.of_this_user()
    if learned.file is None:
        return
    try:
        limits = client.sync(client.scheduler.shdask_snapshot, callback_timeout=REMEMBER_S, account=account)
    except Exception as error:  # noqa: BLE001  # whatever a cluster that is falling apart answers
        logger.info("what was found of the burst is not kept: %s: %s", type(error).__name__, error)
        return
    learned.add(account, limits)


def log_in(client: Client, deployment: Deployment, credentials: Credentials | None, patience: Patience) -> str:
    """Hand credentials to the scheduler, which proves them; returns what the account is called from now on.

    Without any the scheduler uses those of its own environment, and no secret travels.
    Raises AuthError when the service refuses them or the scheduler has none, SettingsError where the cluster lacks our
    packages or the secret would cross a network unencrypted.
    """
    if credentials is not None:
        refuse_plain_network(client.scheduler.address)
    install(client, AccountDesk(), MetricsDesk())
    if credentials is None:
        return _log_in_there(client, deployment, patience)
    account: str = account_key(deployment, credentials)
    refused = client.sync(
        client.scheduler.shdask_login,
        account=account,
        client_id=credentials.client_id,
        client_secret=ToPickle(Sealed(credentials.client_secret)),
        deployment=asdict(deployment),
        outage=asdict(patience.outage),
        burst=LearnedBursts.of_this_user().find(account),
    )
    if refused is not None:
        error: ShdaskError = pickle.loads(refused)  # noqa: S301  # our own scheduler's error
        raise error
    return account


def _log_in_there(client: Client, deployment: Deployment, patience: Patience) -> str:
    words = {"deployment": asdict(deployment), "outage": asdict(patience.outage)}
    answer: str | bytes = client.sync(client.scheduler.shdask_login_here, **words)
    if isinstance(answer, bytes):
        error: ShdaskError = pickle.loads(answer)  # noqa: S301  # our own scheduler's error
        error.add_note(f"on the scheduler at {client.scheduler.address}, since this process has no credentials itself")
        raise error
    if not is_private(client.scheduler.address):
        logger.warning(
            "access tokens cross the network of %s unencrypted; start the cluster with TLS", client.scheduler.address
        )
    return answer


def install(client: Client, *plugins: SchedulerPlugin | WorkerPlugin | NannyPlugin) -> None:
    """Put plugins on scheduler, workers or nannies. Raises SettingsError where the cluster lacks our packages."""
    mend_current_frames()
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


def is_private(address: str) -> bool:
    """Whether nobody else reads what goes to a scheduler at ``address``: TLS, or this machine's loopback. Pure."""
    parts = urlsplit(address)
    # Dask Gateway's connector begins every connection with TLS (dask_gateway/comm.py)
    if parts.scheme in {"tls", "gateway", "wss", "inproc"} or parts.hostname == "localhost":
        return True
    with contextlib.suppress(ValueError):
        return ipaddress.ip_address(parts.hostname or "").is_loopback
    return False


def refuse_plain_network(address: str) -> None:
    """Raise SettingsError where the OAuth secret would cross a network unencrypted on its way to the scheduler."""
    if not is_private(address):
        raise SettingsError(
            f"the scheduler at {address} is reached over an unencrypted network, and the OAuth secret would cross it; "
            f"start the cluster with TLS (tls://...), or give the credentials to the scheduler alone"
        )
