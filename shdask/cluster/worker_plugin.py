"""A worker's part of a build: its fetch and decode pools, and the gate and tokens that ask the scheduler.

Refuses to know credentials, and to work without the scheduler's limiter.
"""

from __future__ import annotations

import contextlib
import pickle
import threading
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import asdict, dataclass, replace
from typing import Any, TypeVar

from dask.system import CPU_COUNT
from distributed import Worker, get_worker
from distributed.diagnostics.plugin import WorkerPlugin
from distributed.utils import sync

from shdask.assemble.store import CubeStore
from shdask.build import TileOutcome, TileWork, run_tile
from shdask.cluster.scheduler_plugin import token_mark
from shdask.errors import BuildError, ShdaskError, StoreError, TransportError
from shdask.fetch.auth import AccessToken, renewal_margin_s
from shdask.fetch.client import RequestsTransport, ServiceClient
from shdask.fetch.limiter import PROBE_S
from shdask.model import TileEvent, TileState
from shdask.plan.cube import CubePlan

T = TypeVar("T")

ASK_S = 120.0
"""A scheduler that has not answered by then is lost; a token may take it a minute."""


def ask_scheduler(worker: Worker, handler: str, **words: Any) -> Any:
    """What the scheduler's handler answers. Raises TransportError, which is tried again, where it cannot be reached."""
    try:
        return sync(worker.loop, getattr(worker.scheduler, handler), callback_timeout=ASK_S, **words)
    except OSError as error:
        raise TransportError(f"the scheduler does not answer: {type(error).__name__}: {error}") from error


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
        """429s and pauses so far; a permit from before one is worth nothing after it."""
        self._answered = False
        """Whether a request brought something since the scheduler was last asked."""

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
        answered, self._answered = self._answered, False
        delays = ask_scheduler(
            self._worker, "shdask_lease", account=self._account, count=count, pu_each=pu_each, answered=answered
        )
        if isinstance(delays, bytes):
            error: ShdaskError = pickle.loads(delays)  # noqa: S301  # our own scheduler's error
            raise error
        if not delays:
            time.sleep(PROBE_S)
        received = time.monotonic()
        return [(received + delay, pu_each) for delay in delays]

    def answered(self) -> None:
        """Tell the scheduler, with the next lease, that the service works."""
        self._answered = True

    def failed(self, text: str) -> None:
        """Tell the scheduler that a request brought nothing; permits not used yet are given up if everyone pauses."""
        with contextlib.suppress(TransportError):  # what failed says more
            if ask_scheduler(self._worker, "shdask_failed", account=self._account, text=text):
                self._drop_permits()

    def rejected(self, retry_after_s: float | None) -> None:
        """Tell the scheduler of a 429; permits not used yet are given up, for they came from a wrong rate."""
        self._drop_permits()
        ask_scheduler(self._worker, "shdask_rejected", account=self._account, retry_after_s=retry_after_s)

    def _drop_permits(self) -> None:
        with self._changed:
            self._permits.clear()
            self._rejections += 1


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
                self._current = self._ask(token_mark(rejected.value))
            return self._current

    def _ask(self, rejected: str | None) -> AccessToken:
        answer = ask_scheduler(self._worker, "shdask_token", account=self._account, rejected=rejected)
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
        self.build = build
        self.account = account
        self.plan = plan
        self._cube = cube
        self._fetch_threads = fetch_threads

    def setup(self, worker: Worker) -> None:
        """Open pools and connections; called on every worker, also on those that join later."""
        self._worker = worker
        self._stopped = threading.Event()
        self._over = threading.Event()
        self._transport = RequestsTransport(pool_size=self._fetch_threads)
        self._fetch_pool = ThreadPoolExecutor(self._fetch_threads, thread_name_prefix="shdask-fetch")
        self._cpu_pool = ThreadPoolExecutor(CPU_COUNT, thread_name_prefix="shdask-decode")
        client = ServiceClient(
            self.plan.deployment,
            self._transport,
            SchedulerGate(worker, self.account),
            SchedulerTokens(worker, self.account),
            sleep=self._pause,
        )
        self._work = TileWork(plan=self.plan, cube=self._cube, client=client, run_cpu=self._run_cpu)

    def teardown(self, worker: Worker) -> None:  # noqa: ARG002  # distributed's signature
        """Start nothing more and close the connections."""
        self._stopped.set()
        self._over.set()
        # Nothing is cancelled: a stopped tile ends at once, while a task would wait for a cancelled one for ever. What
        # a tile in flight has paid for is still written; the decode pool's threads end when nothing holds it any more.
        self._fetch_pool.shutdown(wait=False)
        self._transport.close()

    def stop(self) -> None:
        """Start no further tile; those in flight go on."""
        self._stopped.set()

    def run_batch(self, indices: Sequence[int]) -> BatchResult:
        """Run tiles on the fetch pool, shared with this build's other batches; blocks until all have ended.

        Raises what one of them met that is no ShdaskError, after the others have said what became of them.
        """
        futures: list[Future[TileOutcome | None]] = []
        with contextlib.suppress(RuntimeError):  # the pool is shut down: the build is over
            futures.extend(self._fetch_pool.submit(self._run_one, index) for index in indices)
        wait(futures)
        outcomes = [outcome for outcome in (future.result() for future in futures) if outcome is not None]
        return BatchResult(
            events=tuple(outcome.event for outcome in outcomes),
            fatal=next((outcome.fatal for outcome in outcomes if outcome.fatal is not None), None),
        )

    def _run_one(self, index: int) -> TileOutcome | None:
        if self._stopped.is_set():
            return None
        try:
            outcome = run_tile(self._work, index)
        except BaseException:
            self._stopped.set()
            raise
        if outcome.fatal is not None:
            self._stopped.set()
        outcome = replace(outcome, event=replace(outcome.event, worker=str(self._worker.address)))
        self._worker.log_event(self.name, event_row(outcome.event))
        return outcome

    def _pause(self, seconds: float) -> None:
        """Wait before a retry; a build that is over needs none."""
        if self._over.wait(seconds):
            raise BuildError("the build has ended without this tile")

    def _run_cpu(self, call: Callable[[], T]) -> T:
        return self._cpu_pool.submit(call).result()


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
