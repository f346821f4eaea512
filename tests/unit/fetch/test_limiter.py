"""The limiter's laws: never above the limit, close to it, and calm when it was believed too high."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray

from shdask.errors import PlanError
from shdask.fetch.burst import BurstSearch
from shdask.fetch.limiter import HORIZON_S, Bucket, LimiterState, LocalRateGate

Permits = NDArray[np.float64]
"""(permit, (time in s, PU)), in the order they were given."""

answers = st.tuples(st.just("answered"), st.integers(1, 40), st.just(0), st.floats(0, 3))
leases = st.tuples(st.just("lease"), st.integers(1, 40), st.floats(0, 8), st.floats(0, 3))
rejections = st.tuples(st.just("rejected"), st.just(0), st.one_of(st.none(), st.floats(0, 20)), st.floats(0, 3))
steps = st.lists(st.one_of(leases, rejections), min_size=1, max_size=60)
lives = st.lists(st.one_of(leases, leases, answers, rejections), min_size=1, max_size=60)


def make_state(rate: float = 5.0, burst: float = 20.0, pu_rate: float = 4.0, pu_burst: float = 30.0) -> LimiterState:
    return LimiterState(requests=Bucket(rate_per_s=rate, burst=burst), pu=Bucket(rate_per_s=pu_rate, burst=pu_burst))


def permits_of(state: LimiterState, script: list[tuple[str, int, Any, float]]) -> Permits:
    """Runs a script of leases and rejections; each step's last number is the time that passes before it."""
    now, permits = 50.0, []
    for kind, count, value, pause in script:
        now += pause
        if kind == "lease":
            permits += [(now + delay, value) for delay in state.lease(count, value, now)]
        elif kind == "answered":
            state.answered(count)
        else:
            state.rejected(now, value)
    return np.array(permits, dtype=np.float64).reshape(-1, 2)


def excess(times: NDArray[np.float64], costs: NDArray[np.float64], rate: float) -> float:
    """The largest of (permitted in a closed window - rate x its length), over all windows."""
    spent = np.concatenate([[0.0], np.cumsum(costs)])
    opened = np.minimum.accumulate(spent[:-1] - rate * times)
    return float(np.max(spent[1:] - rate * times - opened, initial=0.0))


@given(steps)
def test_over_any_window_requests_stay_within_burst_and_rate(script: list[tuple[str, int, Any, float]]):
    """Whatever is leased and rejected, permits <= burst + rate x time."""
    permits = permits_of(make_state(), script)
    assert excess(permits[:, 0], np.ones(len(permits)), 5.0) <= 20.0 + 1e-6


@given(steps)
def test_over_any_window_units_stay_within_burst_and_rate(script: list[tuple[str, int, Any, float]]):
    """The same law for processing units, with prices that differ from request to request."""
    permits = permits_of(make_state(), script)
    assert excess(permits[:, 0], permits[:, 1], 4.0) <= 30.0 + 1e-6


@given(steps)
def test_a_request_dearer_than_the_burst_passes_alone_and_is_paid_off(script: list[tuple[str, int, Any, float]]):
    """It would otherwise wait for ever; the window that holds it is its own price above the burst, no more."""
    permits = permits_of(make_state(pu_burst=2.0), script)
    assert excess(permits[:, 0], permits[:, 1], 4.0) <= max(2.0, np.max(permits[:, 1], initial=0.0)) + 1e-6


@given(steps)
def test_permits_come_in_the_order_of_their_times(script: list[tuple[str, int, Any, float]]):
    """A later lease never overtakes an earlier one."""
    assert np.all(np.diff(permits_of(make_state(), script)[:, 0]) >= 0)


@given(lives)
def test_while_the_burst_is_searched_the_law_holds_for_a_minutes_bucket(script: list[tuple[str, int, Any, float]]):
    """Whatever is granted and refused: over any window no more than 58 s of the rate, and the rate."""
    search = BurstSearch.of_bucket(None)
    state = LimiterState(
        requests=Bucket(rate_per_s=5.0, burst=1.0), pu=Bucket(rate_per_s=40.0, burst=1.0), burst=search
    )
    permits = permits_of(state, script)
    assert excess(permits[:, 0], np.ones(len(permits)), 5.0) <= 58.0 * 5.0 + 1e-6


@given(st.integers(1, 200), st.floats(0, 8), st.floats(0, 200))
def test_a_lease_holds_one_permit_and_none_beyond_the_horizon_but_the_first(count: int, pu: float, spent_before: int):
    """A worker that dies with a lease wastes a second of its share at most."""
    state = make_state()
    state.lease(1, spent_before, 0.0)
    delays = state.lease(count, pu, 0.0)
    assert 1 <= len(delays) <= count
    assert max(delays[1:], default=0.0) <= HORIZON_S


def test_a_full_bucket_gives_its_burst_at_once_and_then_the_rate():
    """20 at once, then 5 a second."""
    delays = make_state(pu_rate=1e6, pu_burst=1e6).lease(24, 1.0, 0.0)
    assert delays == pytest.approx([0.0] * 20 + [0.2, 0.4, 0.6, 0.8])


def test_the_dearer_limit_decides():
    """Requests are plenty; of 30 PU two requests of 12 leave 6, and at 4 PU a second the third waits for 6 more."""
    state = make_state()
    assert state.lease(3, 12.0, 0.0) == (0.0, 0.0)
    assert state.lease(1, 12.0, 0.0) == pytest.approx((1.5,))


def test_the_whole_rate_is_used():
    """Ten minutes of one lease after another give burst + rate x time, to one request."""
    state = make_state(pu_rate=1e6, pu_burst=1e6)
    permits = permits_of(state, [("lease", 40, 1.0, 0.0)] + [("lease", 40, 1.0, 1.0)] * 600)
    assert np.count_nonzero(permits[:, 0] <= 650.0) == pytest.approx(20 + 5 * 600, abs=1)


def test_time_that_passes_unused_is_not_saved_up():
    """After a long pause the burst is there again, not an hour's worth."""
    state = make_state(pu_rate=1e6, pu_burst=1e6)
    state.lease(40, 1.0, 0.0)
    assert state.lease(100, 1.0, 3600.0).count(0.0) == 20


def test_a_rejection_holds_everyone_until_the_advice_has_passed():
    """Then the bucket is empty: requests go on at the rate, 5 % slower."""
    state = make_state(pu_rate=1e6, pu_burst=1e6)
    assert state.rejected(100.0, 3.0)
    assert state.lease(3, 1.0, 100.0) == pytest.approx((3.0 + 1 / 4.75,))
    assert state.lease(1, 1.0, 100.0) == pytest.approx((3.0 + 2 / 4.75,))


def test_a_volley_of_rejections_is_one_reaction():
    """Reacting to each would halve the rate for one mistake."""
    state = make_state()
    reactions = [state.rejected(100.0 + ms / 1000, None) for ms in range(0, 999, 9)]
    assert reactions.count(True) == 1
    assert state.snapshot(100.999)["rejections"] == 111
    assert state.snapshot(100.999)["rate_share"] == pytest.approx(0.95, rel=0.011)


def test_a_later_rejection_of_a_volley_still_lengthens_the_wait():
    """The longest advice holds: another limit may be the one that was hit."""
    state = make_state(pu_rate=1e6, pu_burst=1e6)
    state.rejected(100.0, 1.0)
    state.rejected(100.5, 8.0)
    assert state.held_s(101.0) == 7.5
    assert state.lease(9, 1.0, 101.0) == pytest.approx((7.5 + 1 / (5 * 0.95 * 1.01),))


def test_the_rate_recovers_by_a_percent_a_second():
    """From 95 % it is whole again after ln(1/0.95)/ln(1.01) = 5.15 s, and no further."""
    state = make_state()
    state.rejected(100.0, None)
    assert state.snapshot(101.0)["rate_share"] == pytest.approx(0.95 * 1.01)
    assert state.snapshot(105.0)["rate_share"] < 1.0
    assert state.snapshot(105.2)["requests_per_s"] == 5.0
    assert state.snapshot(105.2)["pu_per_s"] == 4.0


def test_a_limiter_that_rested_for_days_is_as_new():
    """A cluster may idle over a weekend after its last 429."""
    state = make_state()
    state.rejected(100.0, None)
    assert state.snapshot(1e6)["rate_share"] == 1.0


def test_a_limit_believed_too_high_is_lived_with():
    """The service allows 4/s and 5/s are believed: 429s stay few and nine tenths of what is allowed is used."""
    state, server = make_state(pu_rate=1e6, pu_burst=1e6), Bucket(rate_per_s=4.0, burst=40.0)
    accepted, rejected = _play(state, server, seconds=600.0)
    assert accepted > 0.9 * 4.0 * 600
    assert rejected < 0.05 * accepted


def _play(state: LimiterState, server: Bucket, *, seconds: float) -> tuple[int, int]:
    """One request after another against a server with its own bucket: (accepted, rejected)."""
    now, accepted, rejected = 0.0, 0, 0
    while now < seconds:
        now += state.lease(1, 1.0, now)[0]
        if server.earliest(1) <= now:
            server.take(1, now)
            state.answered()
            accepted += 1
        else:
            rejected += 1
            state.rejected(now, server.earliest(1) - now)
    return accepted, rejected


@pytest.mark.parametrize(("bucket_s", "requests", "pu"), [(60.0, 580.0, 58 * 1000 / 60), (1.0, 5.0, 0.5 * 1000 / 60)])
def test_the_deployment_gives_the_rates_and_its_bucket_the_burst(
    deploy: Any, bucket_s: float, requests: float, pu: float
):
    """600 a minute is 10 a second; two seconds of the service's full bucket, or half of it, are left for jitter."""
    state = LimiterState.for_deployment(deploy(requests_per_minute=600.0, pu_per_minute=1000.0, bucket_s=bucket_s))
    snapshot = state.snapshot(0.0)
    assert snapshot["requests_per_s"] == 10.0
    assert snapshot["requests_available"] == requests
    assert snapshot["pu_available"] == pytest.approx(pu)


def test_an_account_of_an_unknown_bucket_begins_with_one_request(deploy: Any):
    """The second waits for the rate, or until the first was answered."""
    state = LimiterState.for_deployment(deploy(requests_per_minute=600.0))
    assert state.lease(3, 0.01, 0.0) == pytest.approx((0.0, 0.1, 0.2))
    state.answered(3)
    assert state.lease(2, 0.01, 0.3) == pytest.approx((0.0, 0.0))


def test_whoever_needs_few_does_not_wait_for_a_slow_rate(deploy: Any):
    """At six a minute the second is asked for again soon: it is given as soon as the first was answered."""
    state = LimiterState.for_deployment(deploy(requests_per_minute=6.0))
    assert state.lease(2, 0.01, 0.0) == (0.0,)
    assert state.lease(1, 0.01, 0.5) == ()
    state.answered()
    assert state.lease(1, 0.01, 0.6) == (0.0,)


def test_other_rates_go_on_from_what_was_used(deploy: Any):
    """300 of a bucket are used, which the service refills whatever we believe; what is known of it is kept."""
    first = LimiterState.for_deployment(deploy(requests_per_minute=600.0, bucket_s=60.0))
    first.lease(300, 0.0, 100.0)
    second = LimiterState.for_deployment(deploy(requests_per_minute=300.0))
    second.after(first, 100.0)
    assert second.lease(1, 0.0, 100.0) == pytest.approx((2.0 + 0.2,))
    assert second.lease(300, 0.0, 170.0).count(0.0) == 290


def test_other_rates_do_not_break_the_silence_the_service_asked_for(deploy: Any):
    """It asked for a minute; at four times the rate it is a minute too, and then the bucket is empty."""
    first = LimiterState.for_deployment(deploy(requests_per_minute=300.0, pu_per_minute=300.0))
    first.lease(1, 0.5, 100.0)
    first.rejected(100.0, 60.0)
    second = LimiterState.for_deployment(deploy(requests_per_minute=1200.0, pu_per_minute=1200.0))
    second.after(first, 100.0)
    assert second.held_s(100.0) == 60.0
    assert second.lease(1, 0.5, 100.0)[0] >= 60.0


def test_a_guess_is_not_passed_while_nobody_builds(deploy: Any):
    """All of it was used until a moment ago; an hour later, although somebody looked at it, it is where it was."""
    guessed = replace(deploy(requests_per_minute=300.0, bucket_s=4.0), requests_guessed=True, pu_guessed=True)
    state = LimiterState.for_deployment(guessed)
    permits_of(state, [("lease", 20, 0.0, 1.0)] * 60)
    share = state.snapshot(110.0)["rate_share"]
    assert share > 1.1
    assert [state.snapshot(111.0 + second)["rate_share"] for second in range(3600)][-1] < 1.02 * share


def test_where_one_rate_is_told_the_other_is_still_a_guess(deploy: Any):
    """Units bind and are a guess: more of them is tried, and of the requests never more than was told."""
    told = replace(deploy(requests_per_minute=1200.0, pu_per_minute=300.0, bucket_s=4.0), pu_guessed=True)
    state = LimiterState.for_deployment(told)
    permits_of(state, [("lease", 20, 1.0, 1.0)] * 60)
    assert state.snapshot(110.0)["pu_per_s"] > 1.1 * 5.0
    assert state.snapshot(110.0)["requests_per_s"] == 20.0


def test_a_guess_is_not_passed_where_the_told_rate_is_what_binds(deploy: Any):
    """Nothing shows that more units would be granted."""
    told = replace(deploy(requests_per_minute=300.0, pu_per_minute=3000.0, bucket_s=4.0), pu_guessed=True)
    state = LimiterState.for_deployment(told)
    permits_of(state, [("lease", 20, 1.0, 1.0)] * 60)
    assert state.snapshot(110.0)["rate_share"] == 1.0


def test_a_429_at_the_told_rate_slows_it_whatever_the_guess_has_come_to(deploy: Any):
    """The share of the guess was above one: 5 % are taken from the rate that was told all the same."""
    told = replace(deploy(requests_per_minute=1200.0, pu_per_minute=300.0, bucket_s=4.0), pu_guessed=True)
    state = LimiterState.for_deployment(told)
    permits_of(state, [("lease", 20, 1.0, 1.0)] * 60 + [("lease", 100, 0.0, 60.0)])
    state.rejected(170.0, None)
    assert state.snapshot(170.0)["requests_per_s"] == pytest.approx(0.95 * 20.0)


def test_other_rates_begin_no_new_count(deploy: Any):
    """Displays draw what was permitted and refused since the start; a count that falls is a restart to them."""
    first = LimiterState.for_deployment(deploy(requests_per_minute=600.0, bucket_s=60.0))
    first.lease(50, 0.5, 100.0)
    first.rejected(100.0, None)
    second = LimiterState.for_deployment(deploy(requests_per_minute=1200.0, bucket_s=60.0))
    second.after(first, 100.0)
    told = second.snapshot(100.0)
    assert [told[name] for name in ("permits", "pu_permitted", "rejections", "reactions")] == [50, 25.0, 1, 1]


def test_a_bucket_that_is_told_wins_over_what_was_found(deploy: Any):
    """It was said to hold a second, and then a minute: 58 s of it are used."""
    first = LimiterState.for_deployment(deploy(requests_per_minute=600.0, bucket_s=1.0))
    second = LimiterState.for_deployment(deploy(requests_per_minute=600.0, bucket_s=60.0))
    second.after(first, 100.0)
    assert second.snapshot(100.0)["burst_s"] == 58.0


def test_what_an_earlier_process_has_found_and_used_is_gone_on_with(deploy: Any):
    """58 s of 10 a second are known, of which 30 are in use: 280 at once."""
    state = LimiterState.for_deployment(deploy(requests_per_minute=600.0))
    state.go_on(known_s=58.0, searching=0.0, used_s=30.0, now=100.0)
    assert state.lease(400, 0.0, 100.0).count(0.0) == 280
    snapshot = state.snapshot(100.0)
    assert (snapshot["burst_s"], snapshot["burst_searching"]) == (58.0, 0.0)


def test_after_a_429_the_service_gets_its_reserve_back(deploy: Any):
    """Its bucket of a second is empty: half of it, of the slower rate, comes back, and then one request more."""
    state = LimiterState.for_deployment(deploy(requests_per_minute=600.0, pu_per_minute=1e6, bucket_s=1.0))
    state.lease(5, 0.0, 100.0)
    state.rejected(100.0, None)
    assert state.lease(1, 0.0, 100.0) == pytest.approx((0.5 + 1 / 9.5,))


def test_429s_of_requests_from_before_the_last_reaction_are_no_news():
    """Twenty are out when the first is refused; two seconds later the nineteenth tells nothing that was not known."""
    state = make_state()
    state.lease(20, 0.0, 100.0)
    assert state.rejected(100.1, None)
    state.unused(17)
    assert not state.rejected(102.0, None)
    state.answered()
    assert state.rejected(102.5, None)
    assert state.snapshot(102.5)["reactions"] == 2


def test_two_429s_tell_what_was_granted_between_them():
    """5 a second are believed; of 51 in 10.3 s, in which all was used, 17 were refused: 3.3 a second."""
    state = make_state(pu_rate=1e6, pu_burst=1e6)
    used = [("lease", 40, 0.0, 0.0), ("rejected", 0, None, 0.0), ("answered", 40, None, 0.0)]
    permits = permits_of(state, used + [("rejected", 0, None, 0.01)] * 16 + [("lease", 40, 0.0, 1.0)] * 10)
    state.rejected(60.2, None)
    assert np.count_nonzero(permits[:, 0] > 51.0) == 51
    assert state.snapshot(60.2)["requests_per_s"] == pytest.approx(0.97 * 34 / 10.316, rel=1e-4)


def test_a_tiny_plan_can_still_send(deploy: Any):
    """One request a minute leaves no half request to burst with."""
    assert LimiterState.for_deployment(deploy(requests_per_minute=1.0)).lease(2, 0.1, 0.0) == (0.0,)


@pytest.mark.parametrize("rate", [0.0, -1.0, float("inf"), float("nan")])
def test_a_rate_that_is_none_is_refused(deploy: Any, rate: float):
    """It would divide by zero much later."""
    with pytest.raises(PlanError, match="positive and finite"):
        LimiterState.for_deployment(deploy(pu_per_minute=rate))


@pytest.mark.parametrize(("count", "pu"), [(0, 1.0), (1, -1.0), (1, float("nan")), (1, float("inf"))])
def test_a_senseless_lease_is_refused(count: int, pu: float):
    """A NaN price would poison the bucket for every later request."""
    with pytest.raises(ValueError, match="cannot lease"):
        make_state().lease(count, pu, 0.0)


def test_a_local_gate_waits_for_its_permit_and_says_how_long(clock: Any):
    """Two at once, then one every 200 ms."""
    gate = LocalRateGate(make_state(burst=2.0), clock=clock, sleep=clock.sleep)
    assert [gate.acquire(1.0) for _ in range(4)] == pytest.approx([0.0, 0.0, 0.2, 0.2])


def test_a_local_gate_lets_nobody_pass_while_the_service_asked_for_silence(clock: Any):
    """A 429 that arrives while a thread waits for its permit makes that thread wait on."""
    state = make_state(burst=1.0)

    def sleep(seconds: float) -> None:
        clock.sleep(seconds)
        gate.rejected(5.0 if len(clock.slept) == 1 else None)

    gate = LocalRateGate(state, clock=clock, sleep=sleep)
    gate.acquire(1.0)
    assert gate.acquire(1.0) == pytest.approx(5.2)


def test_a_local_gate_gives_one_permit_at_a_time(clock: Any):
    """Who comes while another waits gets no permit yet: after a 429 it would be a permit of the wrong rate."""
    permits_meanwhile: list[float] = []

    def sleep(seconds: float) -> None:
        latecomer.start()
        latecomer.join(0.05)
        permits_meanwhile.append(gate.snapshot()["permits"])
        clock.sleep(seconds + 10)

    gate = LocalRateGate(make_state(burst=1.0), clock=clock, sleep=sleep)
    latecomer = threading.Thread(target=gate.acquire, args=[1.0])
    gate.acquire(1.0)
    gate.acquire(1.0)
    latecomer.join(5)
    assert permits_meanwhile == [2]
    assert gate.snapshot()["permits"] == 3


def test_a_local_gate_is_safe_for_threads(clock: Any):
    """No permit is lost or given twice, and together the threads keep the rate."""
    gate = LocalRateGate(make_state(pu_rate=1e6, pu_burst=1e6), clock=clock, sleep=clock.sleep)
    with ThreadPoolExecutor(8) as pool:
        list(pool.map(gate.acquire, [1.0] * 400))
    assert gate.snapshot()["permits"] == 400
    assert clock() - 1000.0 == pytest.approx((400 - 20) / 5.0)


@given(st.integers(1, 200), st.floats(0, 8), st.floats(0, 100))
def test_a_worker_that_dies_costs_the_others_a_second(count: int, pu: float, spent_before: float):
    """What it had leased and never used delays the next worker by a second of either rate, or one permit's price."""
    lost, undisturbed = make_state(), make_state()
    lost.lease(1, spent_before, 0.0)
    undisturbed.lease(1, spent_before, 0.0)
    lost.lease(count, pu, 10.0)
    delay = lost.lease(1, 1.0, 11.0)[0] - undisturbed.lease(1, 1.0, 11.0)[0]
    assert delay <= max(1 / 5.0, pu / 4.0, HORIZON_S) + 1e-6
