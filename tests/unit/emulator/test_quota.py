"""Buckets as state machines, and the price of a request."""

from __future__ import annotations

import math

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shdask.emulator.quota import Bucket, Priced, price_pu


def test_bucket_is_full_at_the_start():
    """A new bucket honours its whole capacity at once."""
    bucket = Bucket(per_minute=60, capacity=None, now=0.0)
    assert bucket.wait_s(60, 0.0) == 0.0


def test_bucket_refills_continuously():
    """After half a second a bucket of 60 a minute is half a token richer."""
    bucket = Bucket(per_minute=60, capacity=10, now=0.0)
    bucket.take(10, 0.0)
    assert bucket.level(0.5) == pytest.approx(0.5)
    assert bucket.wait_s(1, 0.5) == pytest.approx(0.5)


def test_bucket_never_holds_more_than_its_capacity():
    """Unused tokens do not accumulate."""
    assert Bucket(per_minute=60, capacity=10, now=0.0).level(1e6) == 10


def test_waiting_the_advised_time_is_enough():
    """Whoever waits exactly as long as told is let through."""
    bucket = Bucket(per_minute=7, capacity=3, now=0.1)
    bucket.take(3, 0.1)
    assert bucket.wait_s(1.3, 0.1 + bucket.wait_s(1.3, 0.1)) == 0.0


def test_more_than_the_capacity_never_comes():
    """An amount the bucket cannot hold has no waiting time."""
    assert math.isinf(Bucket(per_minute=60, capacity=10, now=0.0).wait_s(11, 0.0))


def test_no_rate_is_no_limit():
    """A bucket without a rate honours everything."""
    bucket = Bucket(per_minute=None, capacity=None, now=0.0)
    bucket.take(1e9, 0.0)
    assert bucket.wait_s(1e9, 0.0) == 0.0


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
    now, spent = _spend(Bucket(per_minute=120, capacity=4, now=0.0), steps)
    assert spent <= 4 + 2 * now + 1e-6


@pytest.mark.parametrize(
    ("width", "height", "bands", "float32", "pu"),
    [
        (631, 1047, 3, False, 2.520206451416015625),
        (20, 20, 2, False, 0.01 * 2 / 3),
        (100, 24, 2, True, 0.01 * 2 / 3 * 2),
        (1, 1, 1, False, 0.005),
        (6000, 4000, 2, True, 122.0703125),
    ],
)
def test_price_follows_the_published_examples(width, height, bands, float32, pu):
    """Area x bands x format with the minimum area and price of the documentation."""
    priced = Priced(width_px=width, height_px=height, inputs=((bands, 1),), float32=float32)
    assert price_pu(priced) == pytest.approx(pu, rel=1e-12)


def test_price_counts_samples_and_inputs():
    """The documentation's 1024 x 1024 FLOAT32 image of 4 bands and 2 samples costs 21.333; a second input doubles."""
    size = {"width_px": 1024, "height_px": 1024, "float32": True}
    assert price_pu(Priced(**size, inputs=((4, 2),))) == pytest.approx(64 / 3)
    assert price_pu(Priced(**size, inputs=((2, 2), (4, 1)))) == pytest.approx(2 * 64 / 3)
