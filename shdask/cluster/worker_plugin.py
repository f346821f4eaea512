"""A worker's part of a build: its fetch and decode pools, and the gate and tokens that ask the scheduler.

Refuses to know credentials, and to work without the scheduler's limiter.
"""

from __future__ import annotations

import os
import pickle
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, as_completed
from dataclasses import asdict, dataclass, replace
from typing import TypeVar

from distributed import Worker, get_worker
from distributed.diagnostics.plugin import WorkerPlugin
from distributed.utils import sync

from shdask.assemble.store import CubeStore
from shdask.build import TileOutcome, TileWork, run_tile
from shdask.errors import ShdaskError, StoreError
from shdask.fetch.auth import AccessToken, renewal_margin_s
from shdask.fetch.client import RequestsTransport, ServiceClient
from shdask.model import TileEvent, TileState
from shdask.plan.cube import CubePlan

T = TypeVar("T")


class SchedulerGate:
    """The RateGate of a worker: leases timed permits from the scheduler in batches, one call at a time."""

    def __init__(self, worker: Worker, account: str) -> None:
        self._worker = worker
        self._account = account
        self._changed = threading.Condition()
        self._permits: list[tuple[float, float]] = []
        """(monotonic time from which it is good, PU it covers), ascending."""
        self._waiting: list[float] = []
        """PU of the requests that have no permit yet."""
        self._leasing = False
        self._rejections = 0
        """429s so far; a permit from before one is worth nothing after it."""

    def acquire(self, pu: float) -> float:
        """Block until a request of ``pu`` PU may be sent; returns the seconds waited."""
        started = time.monotonic()
        while True:
            rejections = self._rejections
            due = self._wait_for_permit(pu)
            time.sleep(max(0.0, due - time.monotonic()))
            if rejections == self._rejections:
                return time.monotonic() - started

    def _wait_for_permit(self, pu: float) -> float:
        with self._changed:
            self._waiting.append(pu)
        try:
            return self._take(pu)
        finally:
            with self._changed:
                self._waiting.remove(pu)

    def _take(self, pu: float) -> float:
        """The due time of a permit; the first thread that finds none leases for all that wait."""
        while True:
            with self._changed:
                for position, (due, covered) in enumerate(self._permits):
                    if covered >= pu:
                        del self._permits[position]
                        return due
                if self._leasing:
                    self._changed.wait()
                    continue
                self._leasing = True
                count, pu_each = len(self._waiting), max(self._waiting)
            granted: list[tuple[float, float]] = []
            try:
                granted = self._lease(count, pu_each)
            finally:
                with self._changed:
                    self._permits.extend(granted)
                    self._leasing = False
                    self._changed.notify_all()

    def _lease(self, count: int, pu_each: float) -> list[tuple[float, float]]:
        delays = sync(
            self._worker.loop,
            self._worker.scheduler.shdask_lease,
            account=self._account,
            count=count,
            pu_each=pu_each,
        )
        received = time.monotonic()
        return [(received + delay, pu_each) for delay in delays]

    def rejected(self, retry_after_s: float | None) -> None:
        """Tell the scheduler of a 429; permits not used yet are given up, for they came from a wrong rate."""
        with self._changed:
            self._permits.clear()
            self._rejections += 1
        sync(
            self._worker.loop,
            self._worker.scheduler.shdask_rejected,
            account=self._account,
            retry_after_s=retry_after_s,
        )


class SchedulerTokens:
    """The TokenSource of a worker: the scheduler's token, kept until shortly before it expires."""

    def __init__(self, worker: Worker, account: str) -> None:
        self._worker = worker
        self._account = account
        self._lock = threading.Lock()
        self._current: AccessToken | None = None
        self._good_until = 0.0

    def token(self) -> AccessToken:
        """A token that is good for a while. Raises AuthError when the scheduler cannot get one."""
        with self._lock:
            if self._current is None or time.monotonic() >= self._good_until:
                self._current = self._ask(None)
            return self._current

    def renew(self, rejected: AccessToken) -> AccessToken:
        """Another token than ``rejected``. Raises AuthError when the scheduler cannot get one."""
        with self._lock:
            if self._current is None or self._current.value == rejected.value:
                self._current = self._ask(rejected.value)
            return self._current

    def _ask(self, rejected: str | None) -> AccessToken:
        answer = sync(self._worker.loop, self._worker.scheduler.shdask_token, account=self._account, rejected=rejected)
        if isinstance(answer, bytes):
            error: ShdaskError = pickle.loads(answer)  # noqa: S301  # our own scheduler's error
            raise error
        value, lifetime_s = answer
        now = time.monotonic()
        self._good_until = now + lifetime_s - renewal_margin_s(lifetime_s)
        return AccessToken(value=value, expires_at=now + lifetime_s)


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchResult:
    """What became of a batch's tiles; tiles that were never started are absent."""

    events: tuple[TileEvent, ...]
    fatal: ShdaskError | None = None


class TileWorker(WorkerPlugin):
    """Holds what one build needs on one worker: plan, cube, HTTP pool, and the two thread pools."""

    def __init__(self, *, build: str, account: str, plan: CubePlan, cube: CubeStore, fetch_threads: int) -> None:
        self.name = plugin_name(build)
        self._account = account
        self._plan = plan
        self._cube = cube
        self._fetch_threads = fetch_threads

    def setup(self, worker: Worker) -> None:
        """Open pools and connections; called on every worker, also on those that join later."""
        self._worker = worker
        self._stopped = threading.Event()
        self._transport = RequestsTransport(pool_size=self._fetch_threads)
        self._fetch_pool = ThreadPoolExecutor(self._fetch_threads, thread_name_prefix="shdask-fetch")
        self._cpu_pool = ThreadPoolExecutor(os.cpu_count() or 1, thread_name_prefix="shdask-decode")
        client = ServiceClient(
            self._plan.deployment,
            self._transport,
            SchedulerGate(worker, self._account),
            SchedulerTokens(worker, self._account),
        )
        self._work = TileWork(plan=self._plan, cube=self._cube, client=client, run_cpu=self._run_cpu)

    def teardown(self, worker: Worker) -> None:  # noqa: ARG002  # distributed's signature
        """Start nothing more and close the connections."""
        self._stopped.set()
        self._fetch_pool.shutdown(wait=False, cancel_futures=True)
        self._cpu_pool.shutdown(wait=False, cancel_futures=True)
        self._transport.close()

    def stop(self) -> None:
        """Start no further tile; those in flight go on."""
        self._stopped.set()

    def run_batch(self, indices: Sequence[int]) -> BatchResult:
        """Run tiles on the fetch pool, shared with this build's other batches; blocks until they are done."""
        futures = [self._fetch_pool.submit(self._run_one, index) for index in indices]
        events: list[TileEvent] = []
        fatal: ShdaskError | None = None
        try:
            for future in as_completed(futures):
                outcome = future.result()
                if outcome is not None:
                    events.append(outcome.event)
                    fatal = fatal or outcome.fatal
                if fatal is not None:
                    self._stopped.set()
        finally:
            _cancel(futures)
        return BatchResult(events=tuple(events), fatal=fatal)

    def _run_one(self, index: int) -> TileOutcome | None:
        if self._stopped.is_set():
            return None
        outcome = run_tile(self._work, index)
        outcome = replace(outcome, event=replace(outcome.event, worker=str(self._worker.address)))
        self._worker.log_event(self.name, event_row(outcome.event))
        return outcome

    def _run_cpu(self, call: Callable[[], T]) -> T:
        return self._cpu_pool.submit(call).result()


def _cancel(futures: Sequence[Future[TileOutcome | None]]) -> None:
    for future in futures:
        future.cancel()


def plugin_name(build: str) -> str:
    """The name of a build's worker plugin, which is also the topic its events are published under."""
    return f"shdask-{build}"


def event_row(event: TileEvent) -> dict[str, object]:
    """An event as msgpack-able values."""
    return {**asdict(event), "state": int(event.state)}


def event_from_row(row: dict[str, object]) -> TileEvent:
    """The inverse of ``event_row``."""
    return TileEvent(**{**row, "state": TileState(row["state"])})  # type: ignore[arg-type]  # event_row's own values


def run_batch(build: str, indices: Sequence[int]) -> BatchResult:
    """The Dask task: a batch of tiles on the worker it runs on.

    Raises StoreError where the build's plugin is missing: never falls back to a limiter of its own.
    """
    return _plugin(build).run_batch(indices)


def stop_build(build: str, dask_worker: Worker) -> None:
    """Run on each worker by ``Client.run``, which adds the worker: start no further tile of this build."""
    plugin = dask_worker.plugins.get(plugin_name(build))
    if isinstance(plugin, TileWorker):
        plugin.stop()


def _plugin(build: str) -> TileWorker:
    plugin = get_worker().plugins.get(plugin_name(build))
    if not isinstance(plugin, TileWorker):
        raise StoreError(f"worker {get_worker().address} has no part in build {build}; its plugin is missing")
    return plugin
