"""A worker's part of a build: its fetch and decode pools, and what becomes of them when the worker or the build ends.

Refuses to know credentials, and to work without the scheduler's limiter and its desk of builds.
"""

from __future__ import annotations

import asyncio
import contextlib
import threading
from collections.abc import Callable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor, wait
from dataclasses import dataclass, replace
from typing import Any, TypeVar

from dask.system import CPU_COUNT
from distributed import Worker, get_worker
from distributed.diagnostics.plugin import WorkerPlugin
from distributed.system import MEMORY_LIMIT

from shdask.assemble.spool import Spool
from shdask.assemble.store import CubeStore
from shdask.cluster.batches import MAX_FETCH_THREADS, fetch_threads
from shdask.cluster.build_desk import plugin_name
from shdask.cluster.compute_pool import ComputePool
from shdask.cluster.ending import end_well
from shdask.cluster.flights import Flights
from shdask.cluster.frames import mend_current_frames
from shdask.cluster.malloc import give_back_memory, keep_freed_memory
from shdask.cluster.patience import Patience
from shdask.cluster.seams import SchedulerBudget, SchedulerGate, SchedulerTokens, ask_scheduler
from shdask.cluster.telling import Teller, pack_events
from shdask.errors import BuildError, ShdaskError, StoreError, TransportError
from shdask.fetch.budget import Budget, Uncapped
from shdask.fetch.client import RequestsTransport, ServiceClient
from shdask.jobs.deliveries import Deliveries
from shdask.model import TileEvent, TileState
from shdask.plan.group import GroupPlan
from shdask.run_tiles import TileOutcome, TileWork, run_tiles
from shdask.serial import is_left_untried

T = TypeVar("T")

DRAIN_S = 24.0
"""What is in flight on a worker that ends has so long to be written; schedulers of machines kill after 30 s."""
LEAVE_S = 5.0
"""How long a worker that ends tries to tell the scheduler so."""
ASK_AGAIN_S = 1.0
MEMORY_SHARE = 0.5
"""Of a worker's memory, for the pixels of all its flights: Dask spills and pauses beyond 0.6 of it."""
COPIES = 2
"""Of a tile's pixels while it is in flight: as they came, and as they are stored."""
ROWS_AT_ONCE = 2
"""So many rows of delivered tiles are in a worker's memory: while one is written, the next is read."""


@dataclass(frozen=True, slots=True, kw_only=True)
class BatchResult:
    """What became of a batch's tiles; those that were never started, or given up as stuck, are absent."""

    events: tuple[TileEvent, ...]
    fatal: ShdaskError | None = None
    worker: str = ""


class TileWorker(WorkerPlugin):
    """Holds what one build needs on one worker: plan, cube, HTTP pool, and the two thread pools."""

    def __init__(
        self,
        *,
        build: str,
        account: str,
        plan: GroupPlan,
        cube: CubeStore,
        patience: Patience,
        is_capped: bool = False,
        deliveries: Deliveries | None = None,
        logged_as: str | None = None,
    ) -> None:
        """``logged_as`` is what owner, page and metrics call the build, which may have several runs."""
        self.name = plugin_name(build)
        self.build = build
        self.account = account
        self.plan = plan
        self.patience = patience
        self.is_capped = is_capped
        """Whether the scheduler keeps a cap of this build, which is asked before every request."""
        self.deliveries = deliveries or Deliveries()
        """Tiles that are read from a bucket rather than bought."""
        self._cube = cube
        self._logged_as = logged_as or build

    def setup(self, worker: Worker) -> None:
        """Open pools and connections; called on every worker, also on those that join later."""
        self._worker = worker
        self._stopped = threading.Event()
        """No further tile is begun, and none that has not been sent goes on."""
        self._over = threading.Event()
        """Nothing is sent any more."""
        mend_current_frames()
        keep_freed_memory()
        its_share = MEMORY_LIMIT * min(1.0, worker.state.nthreads / CPU_COUNT)  # as Dask's "auto" has it
        room_nbytes = MEMORY_SHARE * (worker.memory_manager.memory_limit or its_share)
        self._flights = Flights(fetch_threads(self.plan.deployment, 1), room_nbytes=room_nbytes)
        self._transport = RequestsTransport(pool_size=MAX_FETCH_THREADS)
        self._fetch_pool = ThreadPoolExecutor(MAX_FETCH_THREADS, thread_name_prefix="shdask-fetch")
        self._compute_pool = ComputePool(CPU_COUNT)
        self._refused: ShdaskError | None = None
        """What a cap said that let no request of a bundle be sent."""
        budget = SchedulerBudget(worker, self.build) if self.is_capped else Uncapped()
        client = ServiceClient(
            self.plan.deployment,
            self._transport,
            SchedulerGate(worker, self.account, sleep=self._pause, waiting=self._flights.waiting),
            SchedulerTokens(worker, self.account),
            self.patience.retries,
            timeouts=self.patience.timeouts,
            budget=_FlightBudget(budget, self._flights, self._pause),
            sleep=self._pause,
        )
        self._teller = Teller(lambda message: worker.log_event(self.name, message), self._call_later)
        self._turns = threading.BoundedSemaphore(ROWS_AT_ONCE)
        self._work = TileWork(
            plan=self.plan,
            cube=self._cube,
            client=client,
            run_cpu=self._run_cpu,
            build=self._logged_as,
            deliveries=self.deliveries,
            await_turn=self._take_turn,
            sleep=self._wait_for_store,
        )
        worker.metrics[self.name] = self._load
        end_well(worker)

    def _load(self, _worker: Worker) -> dict[str, float]:
        """What heartbeats tell the watch of this build."""
        return {**self._flights.load(), "spool_nbytes": Spool.of_this_user().used_nbytes()}

    async def teardown(self, worker: Worker) -> None:
        """Begin nothing more, let what is in flight be written, and close the connections."""
        worker.metrics.pop(self.name, None)
        self._stopped.set()
        self._teller.flush()
        flying = self._flights.sent()
        if flying:
            with contextlib.suppress(OSError, TimeoutError):
                await asyncio.wait_for(worker.scheduler.shdask_leave(**self._about(flying)), LEAVE_S)
            await asyncio.to_thread(self._flights.wait_for_landing, DRAIN_S)
        self._over.set()
        if flying:  # those that have landed may still be telling so
            with contextlib.suppress(TimeoutError):
                await asyncio.wait_for(asyncio.to_thread(self._fetch_pool.shutdown), LEAVE_S)
            await self._tell_last(worker)
        # Nothing is cancelled: a stopped tile ends at once, while a task would wait for a cancelled one for ever. The
        # decode pool's threads end when nothing holds it any more.
        self._fetch_pool.shutdown(wait=False)
        self._transport.close()
        if not any(isinstance(other, TileWorker) for other in worker.plugins.values() if other is not self):
            give_back_memory()

    async def _tell_last(self, worker: Worker) -> None:
        """Tell what was gathered by threads that saw too late that the worker ends."""
        events = self._teller.take()
        if events:
            with contextlib.suppress(OSError, TimeoutError):
                told = worker.scheduler.log_event(topic=self.name, msg=pack_events(events))
                await asyncio.wait_for(told, LEAVE_S)

    def stop(self) -> None:
        """Begin no further tile, and none that has not been sent; the others go on."""
        self._stopped.set()

    def run_batch(self, indices: Sequence[int]) -> BatchResult:
        """Run tiles on the fetch pool, shared with this build's other batches; blocks until all have ended.

        Tiles that this build has already heard of are passed over, those in another worker's hands are waited for.
        Raises what one of them met that is no ShdaskError, after the others have said what became of them.
        """
        taken: dict[int, Future[list[TileOutcome]] | None] = {}
        try:
            with contextlib.suppress(RuntimeError):  # the pool is shut down: the build is over
                self._begin_tiles(indices, taken)
            told = [outcome for future in self._wait_for(taken) for outcome in future.result()]
        finally:
            self._give_back([index for index, future in taken.items() if _is_untold(index, future)])
        return BatchResult(
            events=tuple(outcome.event for outcome in told),
            fatal=next((outcome.fatal for outcome in told if outcome.fatal is not None), self._refused),
            worker=str(self._worker.address),
        )

    def _begin_tiles(self, indices: Sequence[int], taken: dict[int, Future[list[TileOutcome]] | None]) -> None:
        """Put into ``taken`` what nobody else has in work, and ask again for the rest until nobody has.

        None stands for a tile that was taken and never begun. A build that was stopped begins none, but ends with what
        workers that leave have in flight: until then its owner listens.
        """
        left = list(indices)
        while left and not self._over.is_set():
            answer = ask_scheduler(self._worker, "shdask_take", **self._about(left))
            if answer is None:  # the build is over
                return
            self._flights.resize(fetch_threads(self.plan.deployment, answer["workers"]))
            taken.update(dict.fromkeys(answer["run"]))
            for bundle in [] if self._stopped.is_set() else self.deliveries.bundle(self.plan, answer["run"]):
                taken.update(dict.fromkeys(bundle, self._fetch_pool.submit(self._run_bundle, bundle)))
            left = list(answer["wait"])
            if left:
                self._over.wait(ASK_AGAIN_S)

    def _wait_for(self, taken: dict[int, Future[list[TileOutcome]] | None]) -> list[Future[list[TileOutcome]]]:
        """Those that have ended, in their order, once all have but the stuck ones."""
        futures = list(dict.fromkeys(future for future in taken.values() if future is not None))
        left = set(futures)
        while left:
            left = wait(left, self.patience.stuck_s / 10).not_done
            aloft = {tile for tile, future in taken.items() if future in left}
            stuck = self._flights.give_up(aloft, self.patience.stuck_s)
            left = {future for future in left if future not in {taken.get(tile) for tile in stuck}}
        return [future for future in futures if future.done()]

    def _give_back(self, tiles: Sequence[int]) -> None:
        if not tiles:
            return
        with contextlib.suppress(TransportError):  # a scheduler that is lost gives them to nobody
            ask_scheduler(self._worker, "shdask_give_back", timeout_s=LEAVE_S, **self._about(tiles))

    def _about(self, tiles: Sequence[int]) -> dict[str, Any]:
        """What the desk of builds is told in any case."""
        return {"build": self.build, "worker": str(self._worker.address), "tiles": list(tiles)}

    def _run_bundle(self, indices: list[int]) -> list[TileOutcome]:
        """What became of a bundle's tiles; nothing of those that were not begun or not sent."""
        with self._flights.fly(indices, self._pixel_nbytes(indices)) as flight:
            if self._stopped.is_set():
                return []
            try:
                outcomes = run_tiles(self._work, indices)
            except BuildError:  # stopped while it waited for its turn
                if flight.sent or not self._stopped.is_set():
                    self._stopped.set()
                    raise
                return []
            except BaseException:
                self._stopped.set()
                raise
            fatal = next((outcome.fatal for outcome in outcomes if outcome.fatal is not None), None)
            if fatal is not None:
                self._stopped.set()
                if any(is_left_untried(outcome) for outcome in outcomes):
                    self._refused = fatal
                    outcomes = [outcome for outcome in outcomes if not is_left_untried(outcome)]
            elif not flight.sent and self._stopped.is_set():
                outcomes = [outcome for outcome in outcomes if outcome.event.state is not TileState.FAILED]
            worker = str(self._worker.address)
            outcomes = [replace(outcome, event=replace(outcome.event, worker=worker)) for outcome in outcomes]
            for outcome in outcomes:  # before it lands: a worker that ends waits for its flights
                self._tell(outcome.event)
        return outcomes

    def _pixel_nbytes(self, indices: Sequence[int]) -> int:
        """What a bundle's pixels take, from its answer until it is durable; rows of delivered tiles wait for a turn."""
        if self.deliveries.of(indices[0]) is not None:
            return 0
        nbytes = self.plan.store.tile_px**2 * self.plan.layer.sent_nbytes_per_px
        return COPIES * len(indices) * nbytes

    def _tell(self, event: TileEvent) -> None:
        """Let owner and desk hear of a tile at once; its batch tells the owner again."""
        if not self._stopped.is_set():
            self._teller.tell(event)
            return
        with contextlib.suppress(TransportError):  # the stream of a worker that leaves may be closed already
            words: dict[str, Any] = {"topic": self.name, "msg": pack_events([*self._teller.take(), event])}
            ask_scheduler(self._worker, "log_event", timeout_s=LEAVE_S, **words)

    def _call_later(self, seconds: float, call: Callable[[], None]) -> None:
        self._worker.loop.add_callback(self._worker.loop.call_later, seconds, call)

    def _pause(self, seconds: float) -> None:
        """Wait before a request; raises BuildError where it shall not be sent any more."""
        flight = self._flights.mine
        pointless = self._over if flight is None or flight.sent else self._stopped
        if pointless.wait(seconds) or (flight is not None and flight.given_up):
            raise BuildError("the build has ended without this tile")

    def _wait_for_store(self, seconds: float) -> None:
        """Wait before another try to write what was paid for, as long as the worker lives."""
        if self._over.wait(seconds):
            raise BuildError("the build has ended before the store took this tile")

    @contextlib.contextmanager
    def _take_turn(self) -> Iterator[None]:
        """Room for a row of delivered tiles in this worker's memory."""
        with self._flights.waiting():
            while not self._turns.acquire(timeout=ASK_AGAIN_S):
                self._pause(0.0)
        try:
            yield
        finally:
            self._turns.release()

    def _run_cpu(self, call: Callable[[], T]) -> T:
        """``call()`` on the decode pool; a tile that is in memory is brought to its end before another is decoded."""
        flight = self._flights.mine
        goes_on = flight is not None and flight.computed
        if flight is not None:
            flight.computed = True
        return self._compute_pool.run(call, urgent=goes_on)


class _FlightBudget:
    """A Budget that tells a flight when something is sent for it."""

    def __init__(self, inner: Budget, flights: Flights, pause: Callable[[float], object]) -> None:
        self._inner = inner
        self._flights = flights
        self._pause = pause

    def reserve(self, pu: float) -> int | None:
        """A promise of the inner budget: what has one is sent. Raises as that does, and BuildError as the gate."""
        self._pause(0.0)
        flight = self._flights.mine
        was_sent = flight is not None and flight.sent
        promise = None
        if flight is not None:  # before the question: a worker that ends must know of what is under way
            flight.sent = True
        try:
            promise = self._inner.reserve(pu)
        finally:
            if promise is None and flight is not None:
                flight.sent = was_sent
        return promise

    def settle(self, promise: int, spent: float) -> None:
        """As the inner budget."""
        self._inner.settle(promise, spent)


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


def _is_untold(index: int, future: Future[list[TileOutcome]] | None) -> bool:
    """Whether a tile that was taken came to no outcome: never begun, stuck, stopped unsent, or a fault of ours."""
    if future is None or not future.done() or future.exception() is not None:
        return True
    return all(outcome.event.tile != index for outcome in future.result())
