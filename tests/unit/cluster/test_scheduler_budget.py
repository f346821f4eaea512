"""A worker's share of a cap where answers of the scheduler are lost: nothing stays promised that nobody will settle."""

from __future__ import annotations

import asyncio
import threading
from collections.abc import Iterator
from types import SimpleNamespace
from typing import Any

import pytest
from distributed.utils import LoopRunner

from shdask.cluster import seams
from shdask.cluster.build_desk import BuildDesk
from shdask.cluster.seams import SchedulerBudget
from shdask.errors import BudgetExceeded, TransportError
from shdask.fetch.budget import BudgetState

BUILD = "b"
WAIT_S = 20.0


class LossyScheduler:
    """A real desk, reached by a wire that loses as many answers, or delays as many questions, as it is told."""

    def __init__(self) -> None:
        self.desk = BuildDesk()
        self.desk._scheduler = SimpleNamespace(workers={"w": None, "v": None})
        self.budget = BudgetState(max_pu=1.0)
        self.desk._builds = {BUILD: SimpleNamespace(budget=self.budget)}
        self.lost = 0
        self.delayed = 0
        self.late: list[dict[str, Any]] = []
        self.settled = threading.Event()

    async def shdask_reserve_pu(self, **words: Any) -> int | bytes | None:
        """The desk's, or a lost answer."""
        if self.delayed:
            self.delayed -= 1
            self.late.append(words)
            raise TimeoutError
        answer = await self.desk.reserve(**words)
        self._lose()
        return answer

    async def shdask_settle_pu(self, **words: Any) -> None:
        """The desk's, or a question that never came."""
        self._lose()
        await self.desk.settle(**words)
        self.settled.set()

    def _lose(self) -> None:
        if self.lost:
            self.lost -= 1
            raise TimeoutError

    def arrive(self) -> None:
        """What was delayed comes after all."""
        [asyncio.run(self.desk.reserve(**words)) for words in self.late]


@pytest.fixture
def scheduler() -> LossyScheduler:
    """A cap of 1 PU, of which 0.3 are spent."""
    scheduler = LossyScheduler()
    scheduler.budget.settle(scheduler.budget.reserve(0.3) or 0, 0.3)
    return scheduler


@pytest.fixture
def worker(scheduler: LossyScheduler) -> Iterator[SimpleNamespace]:
    """A seat with a loop that runs."""
    runner = LoopRunner(asynchronous=False)
    runner.start()
    yield SimpleNamespace(loop=runner.loop, scheduler=scheduler, address="w")
    runner.stop()


@pytest.fixture
def budget(worker: SimpleNamespace, monkeypatch: pytest.MonkeyPatch) -> SchedulerBudget:
    """One that tells nothing by itself as long as a test takes."""
    monkeypatch.setattr(seams, "TELL_AGAIN_S", 3600.0)
    return SchedulerBudget(worker, BUILD)


def test_a_promise_whose_answer_was_lost_is_given_back(scheduler, budget) -> None:
    """The retry of the same request fits, though both together would not."""
    scheduler.lost = 1
    with pytest.raises(TransportError):
        budget.reserve(0.4)
    assert scheduler.budget.reserved == 0.4
    assert budget.reserve(0.4) is not None
    assert scheduler.budget.reserved == pytest.approx(0.4)


def test_a_question_that_arrives_after_its_retry_promises_nothing(scheduler, budget) -> None:
    """The scheduler was busy for longer than the worker waits."""
    scheduler.delayed = 1
    with pytest.raises(TransportError):
        budget.reserve(0.1)
    budget.settle(budget.reserve(0.1), 0.1)
    scheduler.arrive()
    assert (scheduler.budget.spent, scheduler.budget.reserved) == pytest.approx((0.4, 0.0))


def test_a_lost_settlement_is_told_before_the_next_question(scheduler, budget) -> None:
    """So the next request is refused by what was spent, and does not wait for ever."""
    promise = budget.reserve(0.4)
    scheduler.lost = 1
    budget.settle(promise, 0.4)
    assert scheduler.budget.reserved == 0.4
    with pytest.raises(BudgetExceeded, match=r"0\.7 of max_pu 1 are spent"):
        budget.reserve(0.4)


def test_a_settlement_that_is_lost_again_is_kept(scheduler, budget) -> None:
    """Nothing is asked while the scheduler cannot be told; what was spent is counted once it can, and once."""
    promise = budget.reserve(0.4)
    scheduler.lost = 2
    budget.settle(promise, 0.2)
    with pytest.raises(TransportError):
        budget.reserve(0.4)
    assert budget.reserve(0.4) is not None
    assert (scheduler.budget.spent, scheduler.budget.reserved) == pytest.approx((0.5, 0.4))


def test_a_worker_with_nothing_more_to_buy_settles_yet(scheduler, worker, monkeypatch) -> None:
    """Another one waits for what this one did not spend."""
    monkeypatch.setattr(seams, "TELL_AGAIN_S", 0.0)
    idle = SchedulerBudget(worker, BUILD)
    promise = idle.reserve(0.4)
    scheduler.lost = 3
    idle.settle(promise, 0.0)
    assert scheduler.settled.wait(WAIT_S)
    assert SchedulerBudget(worker, BUILD).reserve(0.7) is not None
