"""Which permits a worker leases for requests of several prices, and who takes them."""

from __future__ import annotations

from typing import Any

import pytest

from shdask.cluster import seams
from shdask.cluster.seams import SchedulerGate
from shdask.errors import TransportError


class Worker:
    """A seat of which only the address is asked."""

    loop = scheduler = None
    address = "tcp://worker"


@pytest.fixture
def gate() -> SchedulerGate:
    return SchedulerGate(Worker(), "account")


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[tuple[int, float]]:
    """The (count, price) of every lease; all is granted at once."""
    leases: list[tuple[int, float]] = []

    def grant(worker: Worker, handler: str, /, *, count: int, pu_each: float, **words: Any) -> list[float]:
        leases.append((count, pu_each))
        return [0.0] * count

    monkeypatch.setattr(seams, "ask_scheduler", grant)
    return leases


def test_a_lease_is_of_one_price_and_for_those_who_pay_it(gate, asked) -> None:
    """The oldest waits for 4 PU, and two for half a one: nobody is charged what another one's request costs."""
    gate._waiting.extend([4.0, 0.5])
    gate.acquire(0.5)
    assert asked == [(1, 4.0), (2, 0.5)]


def test_a_dear_permit_is_left_to_the_dear_request(gate, asked) -> None:
    """A cheap one that took it would waste the difference of an account's rate."""
    gate._waiting.extend([4.0, 0.5])
    gate.acquire(0.5)
    assert [price for _, price in gate._permits] == [4.0, 0.5]
    gate._waiting.remove(4.0)
    gate.acquire(4.0)
    assert asked == [(1, 4.0), (2, 0.5)]


def test_a_permit_nobody_took_in_time_is_told_as_unused(gate) -> None:
    """It is worth nothing later, and the limiter waits to hear what became of it."""
    gate._permits.append((-1e9, 4.0))
    gate._give_up_stale(0.0)
    assert (gate._unused, gate._permits) == (1, [])


def test_a_request_that_gives_up_waits_no_longer(gate, monkeypatch: pytest.MonkeyPatch) -> None:
    """A lost scheduler leaves nobody behind for whom permits would be leased."""

    def lost(worker: Worker, handler: str, /, **words: Any) -> list[float]:
        raise TransportError("the scheduler does not answer")

    monkeypatch.setattr(seams, "ask_scheduler", lost)
    with pytest.raises(TransportError):
        gate.acquire(0.5)
    assert gate._waiting == []


@pytest.mark.parametrize(
    ("first", "unused"), [(0.0, [0, 0]), ([0.0], [0, 1])], ids=["none was granted before", "one was granted before"]
)
def test_who_waits_over_a_429_uses_the_first_permit_after_it(
    gate, first: float | list[float], unused: list[int], monkeypatch: pytest.MonkeyPatch
) -> None:
    """All that wait would else give theirs up, and the account lose seconds of its rate with every 429."""
    told: list[int] = []

    def grant(worker: Worker, handler: str, /, **words: Any) -> float | list[float]:
        told.append(words["unused"])
        gate._rejections += len(told) == 1  # another thread is answered 429 while the first lease is on its way
        return first if len(told) == 1 else [0.0]

    monkeypatch.setattr(seams, "ask_scheduler", grant)
    gate.acquire(0.5)
    assert (told, gate._unused) == (unused, 0)


def test_a_failure_brings_the_answers_that_came_before_it(gate, monkeypatch: pytest.MonkeyPatch) -> None:
    """Told later, they would not part failures that were not in a row; told once, they count once."""
    told: list[int] = []

    def heard(worker: Worker, handler: str, /, **words: Any) -> bool:
        told.append(words["answered"])
        return False

    monkeypatch.setattr(seams, "ask_scheduler", heard)
    gate.answered()
    gate.failed("503")
    gate.failed("503")
    assert told == [1, 0]
