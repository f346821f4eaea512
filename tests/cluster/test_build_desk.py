"""The scheduler's desk of builds on a real scheduler: what Dask calls the ways in which workers and owners go."""

from __future__ import annotations

import os
import pickle
import signal
from collections.abc import Iterator
from typing import Any

import pytest
from distributed import Client

from shdask.cluster.build_desk import BuildDesk
from shdask.cluster.local import open_local_client
from shdask.cluster.telling import pack_events
from shdask.errors import BudgetExceeded, BuildError
from shdask.model import TileEvent, TileState
from tests.cluster.processes import wait_until


@pytest.fixture
def desk() -> Iterator[Client]:
    """A client of a cluster with a desk, on which a build of four tiles is open."""
    with open_local_client(2) as client:
        client.register_plugin(BuildDesk())
        open_build(client, client.id)
        yield client


def open_build(client: Client, owner: str) -> None:
    call(client, "shdask_open_build", client=owner, tile_count=4, frozen_s=60.0, max_pu=10.0)


def reserve(client: Client, worker: str, pu: float) -> Any:
    return call(client, "shdask_reserve_pu", worker=worker, pu=pu)


def settle(client: Client, promise: int, spent: float) -> None:
    call(client, "shdask_settle_pu", promise=promise, spent=spent)


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
    desk.log_event("shdask-b", pack_events([TileEvent(tile=2, state=TileState.EMPTY)]))
    assert take(desk, "another", [1, 2]) == ([1], [])


def test_build_is_forgotten_at_its_end(desk) -> None:
    """Nothing is given out any more, and the scheduler keeps none of its events."""
    desk.log_event("shdask-b", pack_events([TileEvent(tile=2, state=TileState.EMPTY)]))
    call(desk, "shdask_close_build")
    assert take(desk, "another", [1]) is None
    assert desk.get_events("shdask-b") == ()


def test_build_goes_with_its_owner(desk) -> None:
    """Nothing is given out any more when the owner's connection is gone."""
    with Client(desk.scheduler.address, set_as_default=False) as owner:
        open_build(desk, owner.id)
        assert take(desk, "another", [1]) == ([1], [])
    wait_until(lambda: take(desk, "another", [1]) is None)


def test_workers_share_a_cap(desk) -> None:
    """What one is promised the other must wait for, until it is given back."""
    here, there = desk.nthreads()
    settle(desk, reserve(desk, here, 0.5), 0.5)
    first = reserve(desk, here, 6.0)
    assert reserve(desk, there, 6.0) is None
    settle(desk, first, 0.0)
    assert isinstance(reserve(desk, there, 6.0), int)


def test_what_a_killed_worker_was_promised_counts_as_spent(desk) -> None:
    """Its requests may have been charged: nobody waits for what it cannot give back any more."""
    here, there = desk.nthreads()
    settle(desk, reserve(desk, there, 0.5), 0.5)
    reserve(desk, here, 6.0)
    os.kill(desk.run(os.getpid, workers=[here])[here], signal.SIGKILL)
    wait_until(lambda: here not in desk.nthreads())
    refused = pickle.loads(reserve(desk, there, 6.0))  # noqa: S301  # our own bytes
    assert isinstance(refused, BudgetExceeded)
    assert call(desk, "shdask_close_build") == {"charged": 6.5, "lost": ()}


def test_a_worker_that_has_left_says_yet_what_it_spent(desk) -> None:
    """What it was promised counts as spent until then, also what it reserves for the rest of its tile."""
    here, there = desk.nthreads()
    settle(desk, reserve(desk, there, 0.5), 0.5)
    before = reserve(desk, here, 3.0)
    desk.retire_workers([here], close_workers=True, remove=True)
    after = reserve(desk, here, 3.0)
    settle(desk, before, 0.25)
    settle(desk, after, 0.25)
    assert call(desk, "shdask_close_build") == {"charged": 1.0, "lost": ()}


def test_nothing_is_reserved_for_a_build_that_is_over(desk) -> None:
    """A worker that wakes up late sends nothing more."""
    call(desk, "shdask_close_build")
    refused = pickle.loads(reserve(desk, "w", 1.0))  # noqa: S301  # our own bytes
    assert isinstance(refused, BuildError)
