"""The tiles of one build in flight on a cluster: a bounded window of delayed tasks, each a batch of tiles.

Dask schedules; this only keeps the window full, passes on what comes back, and says when it cannot go on.
"""

from __future__ import annotations

import contextlib
import logging
import math
import queue
import threading
import time
from collections import Counter
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from types import TracebackType
from typing import Any, Self

import numpy as np
from dask import delayed
from distributed import Client, Future
from distributed.comm import CommClosedError
from distributed.scheduler import KilledWorker
from numpy.typing import NDArray

from shdask.cluster.batches import TileQueue, fetch_threads
from shdask.cluster.reporter import Reporter
from shdask.cluster.telling import unpack_events
from shdask.cluster.worker_plugin import BatchResult, TileWorker, run_batch, stop_build
from shdask.errors import SchedulerLost
from shdask.model import TileEvent, TileState
from shdask.report import Progress

logger = logging.getLogger(__name__)

BATCHES_PER_THREAD = 3
SNAPSHOT_S = 1.0
MAX_TRIES = 3
"""A tile that comes back without a word so often has failed."""
LOST = "the connection to the scheduler is lost; what was written is kept: build again"
DROPPED = "the scheduler dropped tasks of the build; what was written is kept: build again"
SILENT = "the scheduler has not answered for {:.0f} s; what was written is kept: build again"
UNHEARD = "BuildError: the tile came back {} times without a word, from a worker that ended or on which it was stuck"
TELL_S = 5.0
"""How long a word to the whole cluster may hold up its owner: a frozen worker never answers."""


class DaskRun:
    """The tiles of one build in flight on a cluster."""

    def __init__(
        self,
        client: Client,
        plugin: TileWorker,
        tiles: NDArray[np.intp],
        *,
        give_out: Callable[[Sequence[int]], None],
        release: Callable[[], None],
        count_charged: Callable[[float], None] = lambda _pu: None,
        count_lost: Callable[[float], None] = lambda _pu: None,
        reporter: Reporter | None = None,
    ) -> None:
        self.fatal: Exception | None = None
        self._client = client
        self._plugin = plugin
        rate = plugin.plan.deployment.requests_per_minute / 60
        self._queue = TileQueue(tiles, rate, plugin.deliveries.bundle_numbers(plugin.plan, tiles))
        self._give_out = give_out
        self._release = release
        self._count_charged = count_charged
        self._count_lost = count_lost
        self._reporter = reporter
        self._inbox: queue.SimpleQueue[bytes | Future] = queue.SimpleQueue()
        self._in_flight: dict[Future, list[int]] = {}
        self._heard = np.zeros(plugin.plan.tile_set.index_count)
        """When each tile's last event was made: it comes twice, at once and with its batch."""
        self._tries: Counter[int] = Counter()
        """How often a tile came back without a word."""
        self._avoided: dict[int, str] = {}
        """The worker that a tile came back from."""
        self._batch_count = 0
        self._stopped = False
        self._is_at_rest = False
        self._snapshot = {"workers": 0.0, "threads": 0.0}
        self._asked = self._answered = time.monotonic()

    def begin(self) -> None:
        """Listen to the workers' events and fill the window."""
        self._client.subscribe_topic(self._plugin.name, lambda stamped: self._inbox.put(stamped[1]))
        self._ask_scheduler()
        self._fill_window()

    def _fill_window(self) -> None:
        """Give out batches until there are enough for the cluster as it was a second ago."""
        workers, threads = int(self._snapshot["workers"]), int(self._snapshot["threads"])
        per_worker = fetch_threads(self._plugin.plan.deployment, workers)
        while len(self._in_flight) < BATCHES_PER_THREAD * threads:
            batch = self._queue.next_batch(task_threads=threads, in_flight=per_worker * workers)
            if not batch:
                return
            self._give_out(batch)
            self._submit(batch)

    def _submit(self, batch: list[int]) -> None:
        key = f"fetch-tiles-{self._plugin.build}-{self._batch_count}"
        task = delayed(run_batch, pure=False)(self._plugin.build, batch, dask_key_name=key)
        future = self._client.compute(task, **self._elsewhere(batch))
        self._batch_count += 1
        self._in_flight[future] = batch
        future.add_done_callback(self._inbox.put)

    def _elsewhere(self, batch: list[int]) -> dict[str, Any]:
        """Where a batch that came back is run, if anywhere else it can be."""
        avoided = {self._avoided[tile] for tile in batch if tile in self._avoided}
        others = [worker for worker in self._client.nthreads() if worker not in avoided] if avoided else []
        return {"workers": others, "allow_other_workers": True} if others else {}

    def poll(self, timeout_s: float) -> Sequence[TileEvent]:
        """As `Run.poll`."""
        deadline = time.monotonic() + timeout_s
        events: list[TileEvent] = []
        while not self.finished:
            try:
                item = self._inbox.get(timeout=max(0.0, deadline - time.monotonic()) if not events else 0)
            except queue.Empty:
                break
            found = unpack_events(item) if isinstance(item, bytes) else self._collect(item)
            news = [event for event in found if self._is_news(event)]
            if self._reporter is not None and not isinstance(item, bytes):
                self._reporter.tell(news)  # the scheduler has not heard of them, or will too late
            events.extend(news)
        self._look_at_cluster()
        return events

    def _look_at_cluster(self) -> None:
        """Follow the cluster as it grows and shrinks, and end the run where there is none any more."""
        now = time.monotonic()
        silent_s = self._plugin.patience.silent_s
        if self._connected and not self.finished and now - self._asked > SNAPSHOT_S:
            self._ask_scheduler()
            self._fill_window()
            self._look_for_rest()
        if not self._connected or now - self._answered > silent_s:
            self._give_up(SchedulerLost(SILENT.format(silent_s) if self._connected else LOST))
            self._in_flight.clear()

    def _look_for_rest(self) -> None:
        """End a run that was stopped once no tile is in work: a worker that leaves never returns its batches."""
        if not self._stopped:
            return
        held = None
        with contextlib.suppress(OSError):
            words = {"build": self._plugin.build, "callback_timeout": TELL_S}
            held = self._client.sync(self._client.scheduler.shdask_count_held, **words)
        if held == 0 and self._is_at_rest:  # twice: what was told of the last may have been on its way
            self._in_flight.clear()
        self._is_at_rest = held == 0

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
            events = self._halve(batch, f"KilledWorker: one worker after the other died with this batch ({error})")
        except CommClosedError:
            self._give_up(SchedulerLost(LOST))
        except CancelledError:
            self._give_up(SchedulerLost(DROPPED if self._connected else LOST))
        except Exception as error:  # noqa: BLE001  # raised by run_build, once what is in flight has ended
            self._give_up(error)
        else:
            events = result.events
            if result.fatal is not None:
                self._give_up(result.fatal)
            events = [*events, *self._unheard(batch, {event.tile for event in events}, result.worker)]
        future.release()
        self._fill_window()
        return events

    def _halve(self, batch: list[int], text: str) -> Sequence[TileEvent]:
        """Give a batch out again in halves, of which at most one has what killed its workers, if it was the batch.

        Workers that are replaced all the time fail no tile so. What cannot be halved has failed.
        """
        left = [tile for tile in batch if not self._heard[tile]]
        bundles = list(self._plugin.deliveries.bundle(self._plugin.plan, left))
        if self._stopped or len(bundles) < 2:  # noqa: PLR2004  # halves
            return self._failed(batch, text)
        middle = len(bundles) // 2
        for half in (bundles[middle:], bundles[:middle]):
            self._queue.put_back([tile for bundle in half for tile in bundle])
        return ()

    def _unheard(self, batch: list[int], told: set[int], worker: str) -> Sequence[TileEvent]:
        """Give out again, a few times, the tiles of which the batch says nothing; those that have failed with it."""
        missing = [tile for tile in batch if tile not in told and not self._heard[tile]]
        if self._stopped or not missing:
            return ()
        self._tries.update(missing)
        again = [tile for tile in missing if self._tries[tile] < MAX_TRIES]
        if again:
            self._queue.put_back(again)
            self._avoided.update(dict.fromkeys(again, worker))
        return self._failed([tile for tile in missing if tile not in again], UNHEARD.format(MAX_TRIES))

    def _failed(self, tiles: Sequence[int], text: str) -> Sequence[TileEvent]:
        return [
            TileEvent(tile=tile, state=TileState.FAILED, error=f"{text}; build again to retry it", finished=time.time())
            for tile in tiles
            if not self._heard[tile]
        ]

    def _give_up(self, error: Exception) -> None:
        if self.fatal is None:
            self.fatal = error
        self.stop()

    @property
    def finished(self) -> bool:
        """As `Run.finished`."""
        return not self._in_flight and self._queue.is_empty and self._inbox.empty()

    def stop(self) -> None:
        """As `Run.stop`."""
        if not self._stopped:
            self._stopped = True
            self._queue.clear()
            if self._connected:
                tell(lambda: self._client.run(stop_build, self._plugin.build, on_error="ignore"))

    def spend_no_more(self) -> None:
        """As `Run.spend_no_more`."""
        self.stop()

    def waiting_for(self) -> str:
        """As `Run.waiting_for`."""
        if not self._connected:
            return "the scheduler, whose connection is lost"
        if time.monotonic() - self._answered > 2 * TELL_S:
            return "the scheduler, which does not answer"
        return describe(self._snapshot)

    def show(self, make_progress: Callable[[], Progress]) -> None:
        """As `Run.show`."""
        if self._reporter is not None and self._connected:
            self._reporter.show(make_progress)

    def _ask_scheduler(self) -> None:
        self._asked = time.monotonic()
        ask = self._client.scheduler.shdask_snapshot
        with contextlib.suppress(OSError):
            snapshot = self._client.sync(ask, account=self._plugin.account, callback_timeout=TELL_S)
            self._answered = time.monotonic()
            if snapshot is None:  # what a scheduler answers that does not know the question: it was started anew
                self._give_up(SchedulerLost(DROPPED))
                self._in_flight.clear()
                return
            self._snapshot = snapshot

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        reporter = self._reporter
        if reporter is not None and self._connected:
            tell(lambda: reporter.end(error or self.fatal))
        self.close()

    def close(self) -> None:
        """Abandon what is in flight, take the build's part off the cluster, and let go of it."""
        if self._connected:
            tell(lambda: self._client.cancel(list(self._in_flight)))
            tell(lambda: self._client.unsubscribe_topic(self._plugin.name))
            tell(lambda: self._client.unregister_worker_plugin(self._plugin.name))
            tell(self._close_build)
        self._release()

    def _close_build(self) -> None:
        told = self._client.sync(self._client.scheduler.shdask_close_build, build=self._plugin.build)
        if told is None:
            return
        if told["charged"] is not None:
            self._count_charged(told["charged"])
        else:  # nobody has counted what was sent
            self._count_lost(math.fsum(self._price_at_risk(tiles) for tiles in told["lost"]))

    def _price_at_risk(self, tiles: Sequence[int]) -> float:
        """Of what a lost worker had in its hands: the dearest of so many as were in flight, or their word under way."""
        plan, deliveries = self._plugin.plan, self._plugin.deliveries
        bought = np.array([tile for tile in tiles if deliveries.of(tile) is None], np.intp)
        numbers = deliveries.bundle_numbers(plan, bought)
        prices = np.sort(np.bincount(numbers, plan.prices(bought)))
        return float(prices[-2 * fetch_threads(plan.deployment, 1) :].sum())


def tell(call: Callable[[], object]) -> None:
    """Say to the cluster what helps it but must neither fail nor hold up the build: waits for `TELL_S` at most."""

    def quietly() -> None:
        try:
            call()
        except Exception as error:  # noqa: BLE001  # whatever a cluster that is falling apart answers
            logger.info("the cluster did not take it: %s: %s", type(error).__name__, error)

    thread = threading.Thread(target=quietly, name="shdask-tell", daemon=True)
    thread.start()
    thread.join(TELL_S)


def describe(snapshot: dict[str, float]) -> str:
    """What progress hangs on by the scheduler's `snapshot`, in a few words. Pure."""
    if not snapshot["workers"]:
        return "a worker to join the cluster"
    if snapshot["paused"]:
        return f"the service, which has brought nothing {snapshot['failures']:.0f} times in a row"
    if snapshot["held_s"] > 0:
        return f"the service, which asked for silence for {snapshot['held_s']:.0f} s more"
    if snapshot["requests_available"] < 1:
        return f"request permits ({snapshot['requests_per_s'] * 60:.0f} a minute)"
    if snapshot["pu_available"] <= 0:
        return f"PU permits ({snapshot['pu_per_s'] * 60:.0f} a minute)"
    return "answers"
