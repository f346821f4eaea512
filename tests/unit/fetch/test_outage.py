"""A service that is down: everyone pauses together, one request at a time looks, and in the end it is given up."""

from __future__ import annotations

import pickle
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shdask.errors import ServiceDown
from shdask.fetch.limiter import Bucket, LimiterState, LocalRateGate
from shdask.fetch.outage import Outage, OutageRule


def make_state() -> LimiterState:
    return LimiterState(requests=Bucket(rate_per_s=50, burst=100), pu=Bucket(rate_per_s=50, burst=100))


def fail(state: LimiterState, count: int, now: float) -> list[bool]:
    return [state.failed(now, "503") for _ in range(count)]


def test_the_fifth_failure_in_a_row_makes_everyone_pause():
    """Four may be luck; a second after the fifth a single request looks whether it is over."""
    state = make_state()
    assert fail(state, 5, 100.0) == [False] * 4 + [True]
    assert state.lease(9, 1.0, 100.9) == ()
    assert state.lease(9, 1.0, 101.0) == (0.0,)
    assert state.lease(9, 1.0, 101.0) == ()


def test_pauses_double_up_to_half_a_minute():
    """Looks come 1, 3, 7, 15, 31, 61, 91 s after the fifth failure, whatever became of the last one."""
    state = make_state()
    fail(state, 5, 0.0)
    looks = [second for second in range(100) if state.lease(1, 1.0, float(second))]
    assert looks == [1, 3, 7, 15, 31, 61, 91]


def test_one_success_ends_the_pause():
    """The next lease is as large as ever, and the next trouble begins from one second."""
    state = make_state()
    fail(state, 9, 100.0)
    state.answered()
    assert len(state.lease(9, 1.0, 100.0)) == 9
    assert fail(state, 5, 200.0)[-1]
    assert state.lease(1, 1.0, 201.0) == (0.0,)


@given(st.lists(st.sampled_from(["failed", "failed", "failed", "answered"]), max_size=60))
def test_failures_that_are_no_row_never_pause(script: list[str]):
    """Only what failed since the last success counts."""
    outage = Outage()
    for step in script:
        outage.failed(0.0, "503") if step == "failed" else outage.answered()
    row = len(script) - 1 - max((i for i, step in enumerate(script) if step == "answered"), default=-1)
    assert (outage.failures, outage.paused) == (row, row >= 5)


@pytest.mark.parametrize(("count", "lasted_s", "stops"), [(20, 120.0, True), (19, 999.0, False), (999, 119.0, False)])
def test_builds_stop_after_twenty_failures_over_two_minutes(count: int, lasted_s: float, stops: bool):
    """Neither a volley of failures nor a slow few stop anything."""
    outage = Outage()
    for index in range(count):
        outage.failed(100.0 if index == 0 else 100.0 + lasted_s, "503")
    assert (outage.stops(100.0 + lasted_s) is not None) == stops


def test_what_stops_a_build_says_since_when_and_what_to_do():
    """The user learns how long, what came last, and that nothing is lost."""
    state = make_state()
    fail(state, 24, 100.0)
    with pytest.raises(ServiceDown, match=r"for 131 s, 24 times in a row, the last time: 503.*same command") as caught:
        state.lease(1, 1.0, 231.0)
    assert (caught.value.retryable, caught.value.stops_build, caught.value.exit_code) == (False, True, 5)
    assert str(pickle.loads(pickle.dumps(caught.value))) == str(caught.value)  # noqa: S301  # our own bytes


def test_a_local_gate_waits_until_the_service_is_back(clock: Any):
    """A thread that wants a permit while all pause gets the one that looks, and no other."""
    gate = LocalRateGate(make_state(), clock=clock, sleep=clock.sleep)
    for _ in range(5):
        gate.failed("503")
    assert [gate.acquire(1.0) for _ in range(3)] == [1.0, 2.0, 4.0]
    gate.answered()
    assert gate.acquire(1.0) == 0.0


def test_a_local_gate_gives_up_in_the_end(clock: Any):
    """One that looks in vain for two minutes, and has failed often enough, raises."""
    state = LimiterState(
        requests=Bucket(rate_per_s=50, burst=100),
        pu=Bucket(rate_per_s=50, burst=100),
        outage=Outage(rule=OutageRule(stop_after=8)),
    )
    gate = LocalRateGate(state, clock=clock, sleep=clock.sleep)

    def look() -> None:
        gate.acquire(1.0)
        gate.failed("503")

    with pytest.raises(ServiceDown):
        [look() for _ in range(20)]
    assert 120.0 <= clock() - 1000.0 <= 160.0
