"""A worker's part of a build, without a cluster."""

from __future__ import annotations

import threading
from types import SimpleNamespace

import pytest

import shdask
from shdask.build import TileOutcome, TileWork
from shdask.cluster import worker_plugin
from shdask.cluster.worker_plugin import TileWorker
from shdask.errors import BuildError, StoreError
from shdask.model import TileEvent, TileState
from tests.cluster.specs import earth_spec

WORKER = SimpleNamespace(address="tcp://here", log_event=lambda _topic, _row: None)


@pytest.fixture
def part():
    """The part of one fetch thread, set up."""
    plugin = TileWorker(build="b", account="a", plan=shdask.make_plan(earth_spec()), cube=None, fetch_threads=1)
    plugin.setup(WORKER)
    yield plugin
    plugin.teardown(WORKER)


def test_batch_ends_when_the_part_is_taken_away(part, monkeypatch) -> None:
    """A task does not wait for tiles that are never started: its thread belongs to the user's cluster."""
    begun, go_on = threading.Event(), threading.Event()

    def run_tile(work: TileWork, index: int) -> TileOutcome:
        begun.set()
        go_on.wait(10)
        return TileOutcome(event=TileEvent(tile=index, state=TileState.WRITTEN))

    monkeypatch.setattr(worker_plugin, "run_tile", run_tile)
    results = []
    task = threading.Thread(target=lambda: results.append(part.run_batch([0, 1, 2])), daemon=True)
    task.start()
    begun.wait(10)
    part.teardown(WORKER)
    go_on.set()
    task.join(10)
    assert [[event.tile for event in result.events] for result in results] == [[0]]


def test_tile_in_flight_is_decoded_after_the_part_is_taken_away(part) -> None:
    """What was paid for is still written."""
    part.teardown(WORKER)
    assert part._work.run_cpu(lambda: 7) == 7


def test_retry_does_not_outlive_the_build(part) -> None:
    """A tile that waits to ask again gives up when its build is over."""
    part.teardown(WORKER)
    with pytest.raises(BuildError, match="ended"):
        part._work.client._sleep(30.0)


def test_fatal_outcome_stops_the_rest_of_the_batch(part, monkeypatch) -> None:
    """After an error that holds for every tile no further one is started."""
    refused = StoreError("full")

    def run_tile(work: TileWork, index: int) -> TileOutcome:
        return TileOutcome(event=TileEvent(tile=index, state=TileState.FAILED), fatal=refused)

    monkeypatch.setattr(worker_plugin, "run_tile", run_tile)
    result = part.run_batch([0, 1, 2])
    assert ([event.tile for event in result.events], result.fatal) == ([0], refused)
