"""A run on a cluster that loses workers, tasks and its scheduler, told by a client that plays them."""

from __future__ import annotations

import queue
import time
from collections.abc import Callable, Sequence
from concurrent.futures import CancelledError
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import numpy as np
import pytest
from distributed.comm import CommClosedError
from distributed.scheduler import KilledWorker

import shdask
from shdask.cluster import run as run_module
from shdask.cluster.executor import install
from shdask.cluster.patience import Patience
from shdask.cluster.run import DaskRun
from shdask.cluster.telling import pack_events
from shdask.cluster.worker_plugin import BatchResult, TileWorker
from shdask.errors import SchedulerLost, SettingsError
from shdask.model import TileEvent, TileState
from tests.cluster.specs import earth_spec

KILLED = KilledWorker("fetch-tiles", SimpleNamespace(address="tcp://gone"), 3)


class _PlayedFuture:
    """A batch that ends as it is told to, as soon as one asks."""

    def __init__(self, answer: BatchResult | Exception) -> None:
        self.answer = answer

    def add_done_callback(self, call: Callable[[_PlayedFuture], None]) -> None:
        if not isinstance(self.answer, SilentBatch):
            call(self)

    def result(self) -> BatchResult:
        return self.answer if isinstance(self.answer, BatchResult) else self._fail(self.answer)

    def _fail(self, error: Exception) -> BatchResult:
        raise error

    def release(self) -> None:
        pass


class _PlayedClient:
    """Hands out the answers of batches one by one; what it is asked to run is counted and fails."""

    status = "running"
    scheduler = SimpleNamespace(shdask_snapshot=None, shdask_count_held="held")
    held = 1

    def __init__(self, *answers: BatchResult | Exception) -> None:
        self.answers = list(answers)
        self.listen: Callable[[Any], None] = print
        self.asked = 0
        self.threads = 1
        self.places: list[dict[str, Any]] = []
        self.batches: list[list[int]] = []

    def compute(self, task: Any, **place: Any) -> _PlayedFuture:
        self.places.append(place)
        self.batches.append(next(iter(task.dask.values())).args[1])
        return _PlayedFuture(self.answers.pop(0))

    def nthreads(self) -> dict[str, int]:
        return {"tcp://a": 1, "tcp://b": 1}

    def sync(self, handler: object, **_words: object) -> dict[str, float] | int:
        return self.held if handler == "held" else {"workers": self.threads, "threads": self.threads}

    def register_plugin(self, plugin: TileWorker) -> None:
        pass

    def subscribe_topic(self, _topic: str, handler: Callable[[Any], None]) -> None:
        self.listen = handler

    def run(self, *_words: object, **_options: object) -> None:
        self.asked += 1
        raise OSError("a worker is gone")


def written(tile: int, finished: float = 1.0) -> TileEvent:
    return TileEvent(tile=tile, state=TileState.WRITTEN, finished=finished)


def batch(*tiles: int) -> BatchResult:
    return BatchResult(events=tuple(map(written, tiles)))


@pytest.fixture
def start(monkeypatch: pytest.MonkeyPatch):
    """A run of batches of one tile, one in flight, on a client that is given."""
    monkeypatch.setattr(run_module, "BATCHES_PER_THREAD", 1)
    monkeypatch.setattr(run_module, "fetch_threads", lambda _deployment, _workers: 0)

    def begin(client: _PlayedClient, tiles: int) -> DaskRun:
        plan = shdask.make_plan(earth_spec(service={"requests_per_minute": 1})).only
        plugin = TileWorker(build="b", account="a", plan=plan, cube=None, patience=Patience())
        given_out: list[Sequence[int]] = []
        run = DaskRun(client, plugin, np.arange(tiles), give_out=given_out.append, release=lambda: None)
        run.given_out = given_out
        run.begin()
        return run

    return begin


def test_batch_whose_workers_died_fails_alone(start) -> None:
    """The batches after one that killed its workers are still started."""
    run = start(_PlayedClient(KILLED, batch(1), batch(2)), tiles=3)
    events = run.poll(0.1)
    assert [event.state for event in events] == [TileState.FAILED, TileState.WRITTEN, TileState.WRITTEN]
    assert (run.finished, run.fatal) == (True, None)


def test_dropped_tasks_end_the_build_and_fail_no_tile(start) -> None:
    """Where the scheduler has lost the tasks nobody knows what became of the tiles: they stay as they were."""
    run = start(_PlayedClient(CancelledError(), batch(1)), tiles=2)
    assert run.poll(0.1) == []
    assert (run.finished, type(run.fatal)) == (True, SchedulerLost)


def test_connection_that_breaks_with_a_result_on_its_way_ends_the_build(start) -> None:
    """The scheduler may be lost in the middle of an answer: that is no fault of ours, and fails no tile."""
    run = start(_PlayedClient(CommClosedError("gone"), batch(1)), tiles=2)
    assert run.poll(0.1) == []
    assert (run.finished, str(run.fatal)[:38]) == (True, "the connection to the scheduler is los")


def test_scheduler_that_was_started_anew_ends_the_build(start) -> None:
    """One that does not know the question has lost the tasks as well."""
    client = _PlayedClient(SilentBatch(), batch(1))
    run = start(client, tiles=2)
    client.sync = lambda *_, **__: None
    run._asked -= 2 * run_module.SNAPSHOT_S
    assert run.poll(0.01) == []
    assert (run.finished, str(run.fatal)[:36]) == (True, "the scheduler dropped tasks of the b")


def test_lost_scheduler_ends_the_build(start) -> None:
    """A connection that is gone is an error of ours, with no tile in flight and nobody to tell."""
    client = _PlayedClient(batch(0), batch(1))
    run = start(client, tiles=2)
    client.status = "connecting"
    run.poll(0.1)
    assert (run.finished, str(run.fatal)[:38]) == (True, "the connection to the scheduler is los")
    assert client.asked == 0


def test_fault_in_a_task_is_raised_after_the_others(start) -> None:
    """An error that is not ours stops the run and is kept for the end; no event is lost to it."""
    fault = RuntimeError("out of memory")
    run = start(_PlayedClient(fault), tiles=3)
    assert run.poll(0.1) == []
    assert (run.finished, run.fatal) == (True, fault)


def test_stop_asks_once_and_survives_a_lost_worker(start) -> None:
    """Telling the workers to stop fails with one that is gone, and is not tried again and again."""
    client = _PlayedClient(batch(0))
    run = start(client, tiles=1)
    run.stop()
    run.stop()
    assert client.asked == 1


def test_event_heard_at_once_and_with_its_batch_is_one(start) -> None:
    """An event comes over the topic and again in its batch's result."""
    client = _PlayedClient(batch(0))
    run = start(client, tiles=1)
    client.listen((0.0, pack_events([written(0)])))
    assert len(run.poll(0.1)) == 1


def test_second_attempt_at_a_tile_is_heard(start) -> None:
    """What another worker did to the tile of a lost one is another event, with a cost of its own."""
    client = _PlayedClient(batch(0))
    run = start(client, tiles=1)
    client.listen((0.0, pack_events([written(0, finished=2.0)])))
    assert len(run.poll(0.1)) == 2


def test_tiles_without_a_word_are_given_out_again_elsewhere(start) -> None:
    """A worker ended before them, or they were stuck on it: another one is preferred, and the ledger told again."""
    client = _PlayedClient(BatchResult(events=(), worker="tcp://a"), batch(0))
    run = start(client, tiles=1)
    assert [event.state for event in run.poll(0.1)] == [TileState.WRITTEN]
    assert client.batches == [[0], [0]]
    assert client.places == [{}, {"workers": ["tcp://b"], "allow_other_workers": True}]
    assert run.given_out == [[0], [0]]


def test_tile_that_never_comes_back_fails_in_the_end(start) -> None:
    """Three times without a word is a failure that names the tile, not a build that goes round for ever."""
    run = start(_PlayedClient(*[BatchResult(events=(), worker="tcp://a")] * 3, batch(1)), tiles=2)
    events = run.poll(0.1)
    assert sorted((event.tile, event.state) for event in events) == [(0, TileState.FAILED), (1, TileState.WRITTEN)]
    assert "3 times without a word" in str([event.error for event in events])
    assert run.finished


def test_tile_heard_of_before_is_not_given_out_again(start) -> None:
    """The second attempt of a lost worker's batch is silent of what its first one told."""
    client = _PlayedClient(BatchResult(events=(), worker="tcp://a"))
    run = start(client, tiles=1)
    run._inbox = played_inbox((0.0, pack_events([written(0)])), run._inbox.get())
    assert [event.tile for event in run.poll(0.1)] == [0]
    assert (run.finished, client.batches) == (True, [[0]])


def played_inbox(stamped: Any, future: Any) -> queue.SimpleQueue[Any]:
    """An inbox in which the event comes before its batch, as over the wire."""
    inbox: queue.SimpleQueue[Any] = queue.SimpleQueue()
    inbox.put(stamped[1])
    inbox.put(future)
    return inbox


def test_tiles_of_a_stopped_run_stay_untried(start) -> None:
    """What was not begun when a build stopped is neither given out again nor failed."""
    client = _PlayedClient(BatchResult(events=(), worker="tcp://a"))
    run = start(client, tiles=2)
    run.stop()
    assert run.poll(0.1) == []
    assert (run.finished, run.fatal, client.batches) == (True, None, [[0]])


def test_window_follows_the_cluster(start, monkeypatch) -> None:
    """Workers that join late get batches at the next look, a second later."""
    client = _PlayedClient(*[SilentBatch()] * 9)
    run = start(client, tiles=9)
    assert len(client.batches) == 1
    client.threads = 4
    run._asked -= 2
    run.poll(0.0)
    assert len(client.batches) == 4


class SilentBatch(Exception):
    """A batch that does not end."""


def test_cluster_without_workers_is_waited_for(start) -> None:
    """A run with tiles left is not finished because nothing is in flight."""
    client = _PlayedClient(batch(0), batch(1))
    client.threads = 0
    run = start(client, tiles=2)
    assert run.poll(0.0) == []
    assert (run.finished, run.fatal, run.waiting_for()) == (False, None, "a worker to join the cluster")


def test_scheduler_that_is_silent_for_a_minute_is_lost(start) -> None:
    """A connection may stay open while nobody answers."""
    run = start(_PlayedClient(SilentBatch()), tiles=1)
    run._asked = run._answered = time.monotonic() - 61
    run._client.sync = Mock(side_effect=TimeoutError)
    run.poll(0.0)
    assert (run.finished, str(run.fatal)[:39]) == (True, "the scheduler has not answered for 60 s")


@pytest.mark.parametrize(
    "error", [ModuleNotFoundError("No module named 'shdask'"), Exception('ModuleNotFoundError("No module named ...")')]
)
def test_cluster_without_our_packages_is_told_what_to_install(error) -> None:
    """The scheduler sends the error itself, a worker only its text."""
    client = SimpleNamespace(scheduler=SimpleNamespace(address="tcp://there"), register_plugin=Mock(side_effect=error))
    with pytest.raises(SettingsError, match="install shdask"):
        install(client, Mock())


def test_stopped_run_ends_once_no_tile_is_in_work(start, monkeypatch) -> None:
    """A worker that leaves never returns its batches: what was told of the last tile may come a look later."""
    monkeypatch.setattr(run_module, "SNAPSHOT_S", -1.0)
    client = _PlayedClient(SilentBatch(), SilentBatch())
    run = start(client, tiles=2)
    run.stop()
    run.poll(0.0)
    client.held = 0
    run.poll(0.0)
    before = run.finished
    run.poll(0.0)
    assert (before, run.finished) == (False, True)


def test_run_that_goes_on_waits_for_its_batches(start, monkeypatch) -> None:
    """Between two batches nothing may be in work."""
    monkeypatch.setattr(run_module, "SNAPSHOT_S", -1.0)
    client = _PlayedClient(SilentBatch(), SilentBatch())
    client.held = 0
    run = start(client, tiles=2)
    [run.poll(0.0) for _ in range(3)]
    assert not run.finished


def test_batch_whose_workers_died_goes_on_in_halves(start, monkeypatch) -> None:
    """Workers that are replaced all the time fail no tile; one that kills them fails alone in the end."""
    monkeypatch.setattr("shdask.cluster.batches.batch_size", lambda *_, **__: 4)
    run = start(_PlayedClient(KILLED, batch(2, 3), KILLED, batch(1), KILLED), tiles=4)
    events = {event.tile: event.state for event in run.poll(0.1)}
    failed, done = TileState.FAILED, TileState.WRITTEN
    assert (events, run.finished) == ({2: done, 3: done, 1: done, 0: failed}, True)
