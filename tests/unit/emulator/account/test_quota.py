"""Buckets as state machines."""

from __future__ import annotations

import math
from datetime import UTC, datetime

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shdask.emulator.account.quota import Bucket, CalendarBucket, Policy

JANUARY_31 = datetime(2026, 1, 31, 23, 0, tzinfo=UTC).timestamp()
HOUR_S = 3600.0


def make_bucket(per_minute: float, burst: float | None = None, now: float = 0.0) -> Bucket:
    return Bucket(Policy.per_minute(per_minute, burst), now)


def make_month(capacity: float = 100.0) -> CalendarBucket:
    """A month's quota, an hour before the end of January; its clock starts at 1000."""
    return CalendarBucket(Policy.per_month(capacity, calendar=True), 1000.0, JANUARY_31)


@pytest.mark.parametrize(
    ("policy", "nanos"),
    [
        (Policy.per_minute(300), 200_000_000),
        (Policy.per_minute(1000), 60_000_000),
        (Policy.per_month(30_000, calendar=False), 89_280_000_000),
        (Policy.per_month(400_000, calendar=False), 6_696_000_000),
    ],
)
def test_a_policy_refills_as_observed(policy, nanos):
    """Known contracts of the service state these nanoseconds between two tokens."""
    assert 1e9 / policy.rate_per_s == pytest.approx(nanos, rel=1e-12)


def test_a_burst_changes_the_capacity_and_not_the_rate():
    """Ten tokens of 60 a minute are there again after ten seconds."""
    policy = Policy.per_minute(60, 10)
    assert (policy.capacity, policy.period_s, policy.rate_per_s) == (10, 10.0, 1.0)


@pytest.mark.parametrize(("rate", "burst"), [(0, None), (-1, 5), (5, 0)])
def test_a_rate_of_nothing_is_refused(rate, burst):
    """A bucket that never fills up, or holds nothing, is a mistake."""
    with pytest.raises(ValueError, match="must be above 0"):
        Policy.per_minute(rate, burst)


def test_a_month_of_less_than_nothing_is_refused():
    """A quota may be used up, and no more than that."""
    with pytest.raises(ValueError, match="cannot be -1"):
        Policy.per_month(-1, calendar=False)


def test_bucket_is_full_at_the_start():
    """A new bucket honours its whole capacity at once."""
    assert make_bucket(60).wait_s(60, 0.0) == 0.0


def test_bucket_refills_continuously():
    """After half a second a bucket of 60 a minute is half a token richer."""
    bucket = make_bucket(60, 10)
    bucket.take(10, 0.0)
    assert bucket.level(0.5) == pytest.approx(0.5)
    assert bucket.wait_s(1, 0.5) == pytest.approx(0.5)


def test_bucket_never_holds_more_than_its_capacity():
    """Unused tokens do not accumulate."""
    assert make_bucket(60, 10).level(1e6) == 10


def test_waiting_the_advised_time_is_enough():
    """Whoever waits exactly as long as told is let through."""
    bucket = make_bucket(7, 3, now=0.1)
    bucket.take(3, 0.1)
    assert bucket.wait_s(1.3, 0.1 + bucket.wait_s(1.3, 0.1)) == 0.0


def test_more_than_the_capacity_never_comes():
    """An amount the bucket cannot hold has no waiting time."""
    assert math.isinf(make_bucket(60, 10).wait_s(11, 0.0))


def test_more_than_is_there_empties_the_bucket():
    """A take of more than the level leaves nothing, and no debt."""
    bucket = make_bucket(60)
    bucket.take(1000, 0.0)
    assert bucket.level(1.0) == pytest.approx(1.0)


def test_the_calendar_gives_nothing_within_a_month():
    """A quota that is reset on the 1st does not trickle; the wait is the time until then."""
    bucket = make_month()
    bucket.take(100, 1000.0)
    assert bucket.level(1000.0 + HOUR_S - 1) == 0.0
    assert bucket.wait_s(1, 1000.0 + HOUR_S - 1) == pytest.approx(1.0)


def test_the_calendar_fills_on_the_1st():
    """At midnight UTC the whole month's quota is there, and the next one comes 28 days after the 1st of February."""
    bucket = make_month()
    bucket.take(100, 1000.0)
    assert bucket.wait_s(100, 1000.0 + HOUR_S) == 0.0
    bucket.take(100, 1000.0 + HOUR_S)
    assert bucket.wait_s(1, 1000.0 + HOUR_S) == pytest.approx(28 * 24 * HOUR_S)


def test_more_than_the_month_never_comes():
    """The calendar does not help a call that costs more than a whole month."""
    assert math.isinf(make_month().wait_s(101, 1000.0))


def _spend(bucket, steps):
    now, spent = 0.0, 0.0
    for pause, amount in steps:
        now += pause
        if bucket.wait_s(amount, now) == 0.0:
            bucket.take(amount, now)
            spent += amount
    return now, spent


@given(st.lists(st.tuples(st.floats(0, 10), st.floats(0, 5)), max_size=60))
def test_no_more_is_spent_than_capacity_and_rate_allow(steps):
    """Over any time the honoured amounts are at most capacity + rate x time."""
    now, spent = _spend(make_bucket(120, 4), steps)
    assert spent <= 4 + 2 * now + 1e-6
