"""The scheduler's desk of builds on a real scheduler: what Dask calls the ways in which workers and owners go."""

from __future__ import annotations

import os
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from distributed import Client

from shdask.cluster.build_desk import BuildDesk
from shdask.cluster.local import open_local_client
from tests.cluster.processes import wait_until


@pytest.fixture
def desk() -> Iterator[Client]:
    """A client of a cluster with a desk, on which a build of four tiles is open."""
    with open_local_client(2) as client:
        client.register_plugin(BuildDesk())
        open_build(client, client.id)
        yield client


def open_build(client: Client, owner: str) -> None:
    call(client, "shdask_open_build", client=owner, tile_count=4, frozen_s=60.0)


def call(client: Client, handler: str, /, **words: Any) -> Any:
    return client.sync(getattr(client.scheduler, handler), build="b", **words)


def take(client: Client, worker: str, tiles: list[int]) -> tuple[list[int], list[int]] | None:
    taken = call(client, "shdask_take", worker=worker, tiles=tiles)
    return None if taken is None else (list(taken["run"]), list(taken["wait"]))


def test_tiles_of_a_killed_worker_are_free_at_once(desk) -> None:
    """Dask says of a broken connection that it cleans up: that worker is dead."""
    worker = next(iter(desk.nthreads()))
    take(desk, worker, [0, 1])
    assert take(desk, "another", [0]) == ([], [0])
    os.kill(desk.run(os.getpid, workers=[worker])[worker], signal.SIGKILL)
    wait_until(lambda: worker not in desk.nthreads())
    assert take(desk, "another", [0, 1]) == ([0, 1], [])


def test_tiles_of_a_retired_worker_are_held(desk) -> None:
    """It may still write them; of what it had not sent it says so itself."""
    worker = next(iter(desk.nthreads()))
    take(desk, worker, [0, 1])
    desk.retire_workers([worker], close_workers=True, remove=True)
    assert worker not in desk.nthreads()
    assert take(desk, "another", [0, 1]) == ([], [0, 1])
    call(desk, "shdask_leave", worker=worker, tiles=[1])
    assert take(desk, "another", [0, 1]) == ([0], [1])


def test_told_tiles_are_over(desk) -> None:
    """What was published to the owner is remembered, whoever published it."""
    desk.log_event("shdask-b", {"tile": 2})
    assert take(desk, "another", [1, 2]) == ([1], [])


def test_build_is_forgotten_at_its_end(desk) -> None:
    """Nothing is given out any more, and the scheduler keeps none of its events."""
    desk.log_event("shdask-b", {"tile": 2})
    call(desk, "shdask_close_build")
    assert take(desk, "another", [1]) is None
    assert desk.get_events("shdask-b") == ()


def test_build_goes_with_its_owner(desk) -> None:
    """Nothing is given out any more when the owner's connection is gone."""
    with Client(desk.scheduler.address, set_as_default=False) as owner:
        open_build(desk, owner.id)
        assert take(desk, "another", [1]) == ([1], [])
    wait_until(lambda: take(desk, "another", [1]) is None)
