"""The owner of a detached build: what it may spend, and what it survives."""

from __future__ import annotations

import threading
import time
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from unittest.mock import MagicMock, Mock

import pytest
from distributed import Reschedule

import shdask
from shdask.assemble.job_rows import JobAccepted, JobEnd, JobIntent
from shdask.assemble.ledger import Ledger
from shdask.assemble.place import open_place
from shdask.cluster import driver
from shdask.cluster.detached import prepare_store
from shdask.cluster.driver import DriverSeats, JobsCost, Order, drive, forgive, read_jobs_cost
from shdask.errors import BuildError, SchedulerLost
from shdask.model import Window
from tests.cluster.specs import earth_spec

INTENT = JobIntent(
    key="k", attempt=1, url="s3://b/c", window=Window(y0=0, y1=1, x0=0, x1=1), tiles=(0,), pu=40.0, digest="d", at=1.0
)
ACCEPTED = JobAccepted(key="k", attempt=1, id="x", pu=41.0, at=2.0)
LOST = JobEnd(key="k", attempt=1, end="lost", at=3.0)


@pytest.fixture
def cube(tmp_path: Path) -> str:
    """The path of one of seven tiles that nothing was bought of."""
    prepare_store(shdask.make_plan(earth_spec()), str(tmp_path / "cube"), "sign", None, False)
    return str(tmp_path / "cube")


@pytest.mark.parametrize(
    ("rows", "cost"),
    [((INTENT, ACCEPTED, replace(LOST, end="vanished"), replace(INTENT, attempt=2), replace(ACCEPTED, attempt=2)),
      JobsCost(accepted_pu=82.0)),
     ((INTENT, LOST), JobsCost(unsure_pu=40.0)),
     ((INTENT,), JobsCost())],
)  # fmt: skip  # a list
def test_jobs_cost_what_all_attempts_have(cube, rows, cost) -> None:
    """Also those that others replaced; but for the order that the next owner takes up, and counts itself."""
    with Ledger.open(open_place(cube)) as ledger:
        [ledger.add_job(row) for row in rows]
    assert read_jobs_cost(cube) == cost


def test_what_was_unsure_before_is_no_build_of_ours() -> None:
    """An order of an earlier build that is refused after all leaves no more to spend."""
    before = JobsCost(accepted_pu=10.0, unsure_pu=40.0)
    assert JobsCost(accepted_pu=30.0).since(before) == 20.0
    assert JobsCost(accepted_pu=30.0, unsure_pu=45.0).since(before) == 25.0


@pytest.fixture
def on_a_worker(monkeypatch):
    """What makes `drive` believe that it runs on a worker, and its build end as it is told to."""
    seats = DriverSeats()
    seats._changed, seats._leaving = threading.Condition(), set()
    worker = SimpleNamespace(
        plugins={driver.SEATS: seats}, address="tcp://w", security=None, scheduler=SimpleNamespace(address="tcp://s")
    )
    monkeypatch.setattr(driver, "get_worker", lambda: worker)
    monkeypatch.setattr(driver, "secede", Mock())
    monkeypatch.setattr(driver, "PAUSE_S", 0.0)
    monkeypatch.setattr(driver, "Client", MagicMock())

    def end(error: Exception) -> None:
        monkeypatch.setattr(driver._Driver, "run", Mock(side_effect=error))

    return end


def an_order(store: str = "cube", max_pu: float | None = None) -> Order:
    plan = shdask.make_plan(earth_spec())
    return Order(name="n", plan=plan, store=store, account="a", max_pu=max_pu, jobs_cost=JobsCost())


@pytest.mark.parametrize("error", [SchedulerLost("silent"), TimeoutError("no connection")])
def test_driver_that_lost_the_scheduler_is_followed_by_another(on_a_worker, error) -> None:
    """A scheduler that stood still for a minute ends no build for good."""
    on_a_worker(error)
    with pytest.raises(Reschedule):
        drive(an_order())


def test_driver_cannot_be_made_where_the_scheduler_does_not_answer(on_a_worker, monkeypatch) -> None:
    """Its own connection may be what fails."""
    monkeypatch.setattr(driver, "Client", Mock(side_effect=OSError("timed out")))
    with pytest.raises(Reschedule):
        drive(an_order())


def test_build_that_failed_is_not_begun_again(on_a_worker) -> None:
    """Whatever else ends it, ends it: its code is the task's result."""
    on_a_worker(BuildError("two tiles failed"))
    assert drive(an_order()) == 5


def test_driver_that_builds_for_a_minute_is_forgiven_the_deaths_before_it() -> None:
    """Jobs bring no tile for an hour, and four workers may be lost meanwhile."""
    client = Mock()
    young = driver._Driver(order=an_order(), client=client, leaving=threading.Event())
    young._look_up(Mock())
    assert not client.run_on_scheduler.called
    young._begun = time.monotonic() - 61
    [young._look_up(Mock()) for _ in range(2)]
    client.run_on_scheduler.assert_called_once_with(forgive, key="shdask-driver-n")


def test_scheduler_that_does_not_take_a_word_disturbs_no_driver() -> None:
    """What is said for later fails alone."""
    client = Mock(run_on_scheduler=Mock(side_effect=OSError("gone")))
    driver._Driver(order=an_order(), client=client, leaving=threading.Event())._hear(Mock())
    assert client.run_on_scheduler.called


def test_driver_goes_on_with_the_cap_of_all(cube, monkeypatch) -> None:
    """It tells the build what those before it have spent by requests and by jobs, and the cap that was given."""
    with Ledger.open(open_place(cube)) as ledger:
        [ledger.add_job(row) for row in (INTENT, ACCEPTED)]
    built = Mock()
    monkeypatch.setattr(driver, "run_cube", built)
    client = Mock(sync=Mock(return_value=7.0))
    driver._Driver(order=an_order(cube, max_pu=50.0), client=client, leaving=threading.Event()).run()
    assert (built.call_args.kwargs["max_pu"], built.call_args.kwargs["charged_pu"]) == (50.0, 48.0)
