"""The account desk on a scheduler that is played: who gets permits, and who does not any more."""

from __future__ import annotations

import asyncio
import pickle
from types import SimpleNamespace

import pytest

from shdask.cluster.scheduler_plugin import AccountDesk
from shdask.errors import BuildError, ServiceDown
from shdask.fetch.limiter import PROBE_S, Bucket, LimiterState
from shdask.fetch.outage import Outage, OutageRule


@pytest.fixture
def desk() -> AccountDesk:
    """A desk with the account ``a`` of plenty."""
    desk = AccountDesk()
    desk.start(SimpleNamespace(handlers={}))
    plenty = LimiterState(
        requests=Bucket(rate_per_s=50, burst=100),
        pu=Bucket(rate_per_s=50, burst=100),
        outage=Outage(rule=OutageRule(pause_after=2, stop_after=3, stop_s=0.0)),
    )
    desk._accounts["a"] = SimpleNamespace(limiter=plenty)
    return desk


def lease(desk: AccountDesk, *, worker: str = "w", answered: int = 0) -> tuple[float, ...] | float | bytes:
    return asyncio.run(desk.lease(account="a", count=2, pu_each=0.1, answered=answered, worker=worker))


def fail(desk: AccountDesk, *, answered: int = 0) -> bool:
    return asyncio.run(desk.failed("a", "503", answered=answered))


@pytest.mark.parametrize("stimulus", ["handle-worker-cleanup-1.0", "shdask-frozen-1.0"])
def test_dead_worker_gets_no_permit(desk, stimulus) -> None:
    """One that was only frozen may wake up and ask; its tiles are in other hands."""
    desk.remove_worker(None, "w", stimulus_id=stimulus)
    assert isinstance(pickle.loads(lease(desk)), BuildError)  # noqa: S301  # our own bytes
    assert len(lease(desk, worker="another")) == 2


def test_worker_that_leaves_gets_permits_for_what_it_has_begun(desk) -> None:
    """A tile of several windows is bought whole, or what was paid for it is lost."""
    desk.remove_worker(None, "w", stimulus_id="retire-workers-1.0")
    assert len(lease(desk)) == 2


def test_new_worker_at_a_dead_ones_address_gets_permits(desk) -> None:
    """Ports are used again."""
    desk.remove_worker(None, "w", stimulus_id="handle-worker-cleanup-1.0")
    desk.add_worker(None, "w")
    assert len(lease(desk)) == 2


def test_failures_of_all_workers_pause_all(desk) -> None:
    """And a success that any of them brings along ends it."""
    assert [fail(desk), fail(desk)] == [False, True]
    assert lease(desk) == PROBE_S
    assert len(lease(desk, worker="another", answered=1)) == 2


def test_an_answer_between_two_failures_parts_them(desk) -> None:
    """One in ten requests fails on a bad day, and none of them is a reason to pause."""
    assert [fail(desk), fail(desk, answered=1)] == [False, False]


def test_outage_ends_every_build_of_the_account(desk) -> None:
    """The error comes as an answer, not as a crash of the scheduler."""
    [fail(desk) for _ in range(3)]
    assert isinstance(pickle.loads(lease(desk)), ServiceDown)  # noqa: S301  # our own bytes
