"""A run on a cluster that loses workers, tasks and its scheduler, told by a client that plays them."""

from __future__ import annotations

from collections.abc import Callable
from concurrent.futures import CancelledError
from types import SimpleNamespace
from typing import Any
from unittest.mock import Mock

import pytest
from distributed.scheduler import KilledWorker

import shdask
from shdask.cluster.executor import _DaskRun, _install
from shdask.cluster.worker_plugin import BatchResult, TileWorker, event_row
from shdask.errors import BuildError, SettingsError
from shdask.model import TileEvent, TileState
from tests.cluster.specs import earth_spec

KILLED = KilledWorker("fetch-tiles", SimpleNamespace(address="tcp://gone"), 3)


class _PlayedFuture:
    """A batch that ends as it is told to, as soon as one asks."""

    def __init__(self, answer: BatchResult | Exception) -> None:
        self.answer = answer

    def add_done_callback(self, call: Callable[[_PlayedFuture], None]) -> None:
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

    def __init__(self, *answers: BatchResult | Exception) -> None:
        self.answers = list(answers)
        self.listen: Callable[[Any], None] = print
        self.asked = 0

    def compute(self, _task: object) -> _PlayedFuture:
        return _PlayedFuture(self.answers.pop(0))

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
def start():
    """A run of batches of one tile, one in flight, on a client that is given."""

    def begin(client: _PlayedClient, tiles: int) -> _DaskRun:
        plan = shdask.make_plan(earth_spec())
        plugin = TileWorker(build="b", account="a", plan=plan, cube=None, fetch_threads=1)
        run = _DaskRun(client, plugin, iter([[tile] for tile in range(tiles)]), window=1, release=lambda: None)
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
    assert (run.finished, type(run.fatal)) == (True, BuildError)


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
    client.listen((0.0, event_row(written(0))))
    assert len(run.poll(0.1)) == 1


def test_second_attempt_at_a_tile_is_heard(start) -> None:
    """What another worker did to the tile of a lost one is another event, with a cost of its own."""
    client = _PlayedClient(batch(0))
    run = start(client, tiles=1)
    client.listen((0.0, event_row(written(0, finished=2.0))))
    assert len(run.poll(0.1)) == 2


@pytest.mark.parametrize(
    "error", [ModuleNotFoundError("No module named 'shdask'"), Exception('ModuleNotFoundError("No module named ...")')]
)
def test_cluster_without_our_packages_is_told_what_to_install(error) -> None:
    """The scheduler sends the error itself, a worker only its text."""
    client = SimpleNamespace(scheduler=SimpleNamespace(address="tcp://there"), register_plugin=Mock(side_effect=error))
    with pytest.raises(SettingsError, match="install shdask"):
        _install(client, Mock())
