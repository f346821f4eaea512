"""Tiles on a Dask cluster: a bounded window of delayed tasks, each a batch of tiles.

Dask schedules; this only cuts batches, keeps the window full and passes on what comes back.
"""

from __future__ import annotations

import contextlib
import ipaddress
import logging
import math
import pickle
import queue
import secrets
import threading
import time
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import CancelledError
from contextlib import AbstractContextManager, ExitStack
from dataclasses import asdict, dataclass
from types import TracebackType
from typing import Self
from urllib.parse import urlsplit

import numpy as np
from dask import delayed
from distributed import Client, Future
from distributed.protocol.serialize import ToPickle
from distributed.scheduler import KilledWorker
from numpy.typing import NDArray

from shdask import __version__
from shdask.build import BuildJob, Run
from shdask.cluster.scheduler_plugin import AccountDesk, Sealed, account_key
from shdask.cluster.worker_plugin import (
    BatchResult,
    TileWorker,
    event_from_row,
    run_batch,
    stop_build,
)
from shdask.errors import BuildError, SettingsError, ShdaskError
from shdask.model import TileEvent, TileState
from shdask.settings import Deployment

logger = logging.getLogger(__name__)

MAX_FETCH_THREADS = 32
EXPECTED_LATENCY_S = 4.0
"""A large request's answer; decides how many are in flight to fill the rate."""
BATCH_S = 10.0
"""How long a batch should last at the projected rate."""
BATCHES_PER_THREAD = 3
SNAPSHOT_S = 1.0
LOST = "the connection to the scheduler is lost; what was written is kept: build again"
DROPPED = "the scheduler dropped tasks of the build; what was written is kept: build again"
TELL_S = 5.0
"""How long a word to the whole cluster may hold up its owner: a frozen worker never answers."""


def fetch_threads(deployment: Deployment, workers: int) -> int:
    """Requests in flight per worker that fill rate x latency. Pure."""
    in_flight = deployment.requests_per_minute / 60 * EXPECTED_LATENCY_S
    return min(MAX_FETCH_THREADS, max(4, math.ceil(in_flight / workers)))


def cut_batches(
    tiles: NDArray[np.intp], *, task_threads: int, in_flight: int, tiles_per_s: float
) -> Iterator[list[int]]:
    """Batches of neighbouring tiles that keep ``in_flight`` tiles going on ``task_threads`` threads. Pure.

    A batch lasts some seconds at the projected rate; towards the end they shrink, so that all threads finish together.
    """
    size = max(2 * in_flight / task_threads, tiles_per_s * BATCH_S / task_threads, 1)
    start = 0
    while start < tiles.size:
        fair = math.ceil((tiles.size - start) / task_threads)
        stop = start + max(1, min(math.ceil(size), fair))
        yield [int(index) for index in tiles[start:stop]]
        start = stop


@dataclass(frozen=True, slots=True)
class DaskExecutor:
    """Runs tiles on the cluster behind ``client``; the client's process stays the owner of the build."""

    client: Client

    def start(self, job: BuildJob, tiles: NDArray[np.intp]) -> Run:
        """Log in on the scheduler, put the plan on every worker, and begin.

        Raises AuthError when the service refuses the credentials, SettingsError when they would
        cross a network unencrypted, or when the cluster lacks our packages.
        """
        return _start_run(self.client, job, tiles, release=lambda: None)


@dataclass(frozen=True, slots=True)
class OnDemandExecutor:
    """Runs tiles on a cluster that is opened when there is a tile to run, and closed with the run."""

    open_cluster: Callable[[], AbstractContextManager[Client]]
    on_open: Callable[[Client], None] = lambda _client: None

    def start(self, job: BuildJob, tiles: NDArray[np.intp]) -> Run:
        """Open the cluster and begin on it. Raises as ``DaskExecutor.start`` does."""
        opened = ExitStack()
        try:
            client = opened.enter_context(self.open_cluster())
            self.on_open(client)
            return _start_run(client, job, tiles, release=opened.close)
        except BaseException:
            opened.close()
            raise


def _start_run(client: Client, job: BuildJob, tiles: NDArray[np.intp], release: Callable[[], None]) -> Run:
    _refuse_plain_network(client.scheduler.address)
    _install(client, AccountDesk())
    account = account_key(job.plan.deployment, job.credentials)
    refused = client.sync(
        client.scheduler.shdask_login,
        account=account,
        client_id=job.credentials.client_id,
        client_secret=ToPickle(Sealed(job.credentials.client_secret)),
        deployment=asdict(job.plan.deployment),
    )
    if refused is not None:
        error: ShdaskError = pickle.loads(refused)  # noqa: S301  # our own scheduler's error
        raise error
    if not client.nthreads():
        logger.warning("the cluster at %s has no workers yet; waiting for the first", client.scheduler.address)
    client.wait_for_workers(1)
    threads = client.nthreads()
    build = secrets.token_hex(4)
    per_worker = fetch_threads(job.plan.deployment, len(threads))
    batches = cut_batches(
        tiles,
        task_threads=sum(threads.values()),
        in_flight=per_worker * len(threads),
        tiles_per_s=job.plan.deployment.requests_per_minute / 60,
    )
    run = _DaskRun(
        client,
        TileWorker(build=build, account=account, plan=job.plan, cube=job.cube, fetch_threads=per_worker),
        batches,
        window=BATCHES_PER_THREAD * sum(threads.values()),
        release=release,
    )
    try:
        run.begin()
    except BaseException:
        run.close()
        raise
    return run


def _install(client: Client, plugin: AccountDesk | TileWorker) -> None:
    try:
        client.register_plugin(plugin)
    except Exception as error:
        if "ModuleNotFoundError" not in repr(error):  # a worker's comes as text alone
            raise
        raise SettingsError(
            f"the cluster at {client.scheduler.address} lacks a package ({error}); install shdask {__version__} "
            f"where its scheduler and workers run"
        ) from error


def _refuse_plain_network(address: str) -> None:
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


class _DaskRun:
    """The tiles of one build in flight on a cluster."""

    def __init__(
        self,
        client: Client,
        plugin: TileWorker,
        batches: Iterator[list[int]],
        window: int,
        release: Callable[[], None],
    ) -> None:
        self.fatal: Exception | None = None
        self._client = client
        self._plugin = plugin
        self._batches = batches
        self._window = window
        self._release = release
        self._inbox: queue.SimpleQueue[TileEvent | Future] = queue.SimpleQueue()
        self._in_flight: dict[Future, list[int]] = {}
        self._heard = np.zeros(plugin.plan.tile_count)
        """When each tile's last event was made: it comes twice, at once and with its batch."""
        self._batch_count = 0
        self._stopped = False
        self._waiting_for = ""
        self._asked = 0.0

    def begin(self) -> None:
        """Put the build's part on every worker, listen to their events and fill the window."""
        _install(self._client, self._plugin)
        self._client.subscribe_topic(self._plugin.name, lambda stamped: self._inbox.put(event_from_row(stamped[1])))
        self._fill_window()

    def _fill_window(self) -> None:
        while len(self._in_flight) < self._window:
            batch = next(self._batches, None)
            if batch is None:
                return
            key = f"fetch-tiles-{self._plugin.build}-{self._batch_count}"
            task = delayed(run_batch, pure=False)(self._plugin.build, batch, dask_key_name=key)
            future = self._client.compute(task)
            self._batch_count += 1
            self._in_flight[future] = batch
            future.add_done_callback(self._inbox.put)

    def poll(self, timeout_s: float) -> Sequence[TileEvent]:
        deadline = time.monotonic() + timeout_s
        events: list[TileEvent] = []
        while not self.finished:
            try:
                item = self._inbox.get(timeout=max(0.0, deadline - time.monotonic()) if not events else 0)
            except queue.Empty:
                break
            found = (item,) if isinstance(item, TileEvent) else self._collect(item)
            events.extend(event for event in found if self._is_news(event))
        if not self._connected:
            self._give_up(BuildError(LOST))
            self._in_flight.clear()
        return events

    @property
    def _connected(self) -> bool:
        return bool(self._client.status == "running")

    def _is_news(self, event: TileEvent) -> bool:
        known = self._heard[event.tile] == event.finished
        self._heard[event.tile] = event.finished
        return not known

    def _collect(self, future: Future) -> Sequence[TileEvent]:
        batch = self._in_flight.pop(future, [])
        events: Sequence[TileEvent] = ()
        try:
            result: BatchResult = future.result()
        except KilledWorker as error:
            text = f"KilledWorker: one worker after the other died with this batch ({error}); build again to retry it"
            events = [
                TileEvent(tile=tile, state=TileState.FAILED, error=text, finished=time.time())
                for tile in batch
                if not self._heard[tile]
            ]
        except CancelledError:
            self._give_up(BuildError(DROPPED if self._connected else LOST))
        except Exception as error:  # noqa: BLE001  # raised by run_build, once what is in flight has ended
            self._give_up(error)
        else:
            events = result.events
            if result.fatal is not None:
                self._give_up(result.fatal)
        future.release()
        self._fill_window()
        return events

    def _give_up(self, error: Exception) -> None:
        if self.fatal is None:
            self.fatal = error
        self.stop()

    @property
    def finished(self) -> bool:
        return not self._in_flight and self._inbox.empty()

    def stop(self) -> None:
        if not self._stopped:
            self._stopped = True
            self._batches = iter(())
            if self._connected:
                _tell(lambda: self._client.run(stop_build, self._plugin.build, on_error="ignore"))

    def waiting_for(self) -> str:
        if time.monotonic() - self._asked > SNAPSHOT_S:
            self._asked = time.monotonic()
            self._waiting_for = self._ask_scheduler()
        return self._waiting_for

    def _ask_scheduler(self) -> str:
        if not self._connected:
            return "the scheduler, whose connection is lost"
        ask = self._client.scheduler.shdask_snapshot
        try:
            return _describe(self._client.sync(ask, account=self._plugin.account, callback_timeout=TELL_S))
        except OSError:
            return "the scheduler, which does not answer"

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()

    def close(self) -> None:
        """Abandon what is in flight, take the build's part off the cluster, and let go of it."""
        if self._connected:
            _tell(lambda: self._client.cancel(list(self._in_flight)))
            _tell(lambda: self._client.unsubscribe_topic(self._plugin.name))
            _tell(lambda: self._client.unregister_worker_plugin(self._plugin.name))
        self._release()


def _tell(call: Callable[[], object]) -> None:
    """Say to the cluster what helps it but must neither fail nor hold up the build."""

    def quietly() -> None:
        try:
            call()
        except Exception as error:  # noqa: BLE001  # whatever a cluster that is falling apart answers
            logger.info("the cluster did not take it: %s: %s", type(error).__name__, error)

    thread = threading.Thread(target=quietly, name="shdask-tell", daemon=True)
    thread.start()
    thread.join(TELL_S)


def _describe(snapshot: dict[str, float]) -> str:
    if not snapshot["workers"]:
        return "a worker to join the cluster"
    if snapshot["held_s"] > 0:
        return f"the service, which asked for silence for {snapshot['held_s']:.0f} s more"
    if snapshot["requests_available"] < 1:
        return f"request permits ({snapshot['requests_per_s'] * 60:.0f} a minute)"
    if snapshot["pu_available"] <= 0:
        return f"PU permits ({snapshot['pu_per_s'] * 60:.0f} a minute)"
    return "answers"
