"""The limiter at work, in virtual time: two workers of eight threads against a service with buckets of its own."""

from __future__ import annotations

from dataclasses import replace
from typing import Any

import pytest

from shdask.fetch.limiter import LimiterState
from shdask.settings import DEPLOYMENTS, Deployment
from tests.unit.fetch.played_service import Play, PlayedAccount, ServiceBucket

SEEDS = [1, 2, 3, 4, 5]


def make_account(
    per_minute: float, bucket_s: float, believed: Deployment, *, pu_per_minute: float = 1e6, **more: Any
) -> PlayedAccount:
    return PlayedAccount(
        limiter=LimiterState.for_deployment(believed),
        requests=ServiceBucket(per_s=per_minute / 60, capacity=per_minute / 60 * bucket_s),
        pu=ServiceBucket(per_s=pu_per_minute / 60, capacity=pu_per_minute / 60 * bucket_s),
        **more,
    )


def believe(requests_per_minute: float, pu_per_minute: float = 1e6, **more: Any) -> Deployment:
    account = replace(DEPLOYMENTS["services"], requests_guessed=False, pu_guessed=False)
    return replace(account, requests_per_minute=requests_per_minute, pu_per_minute=pu_per_minute, **more)


def of_the_least(play: Play, rate_per_s: float, burst_s: float) -> float:
    """The time it took as a share of the least: what is beyond the burst, at the rate."""
    return play.ended / (play.accepted / rate_per_s - burst_s)


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("per_minute", "count"), [(600.0, 2000), (1200.0, 2600)])
def test_a_bucket_of_one_second_costs_a_429_and_no_time(per_minute: float, count: int, seed: int):
    """Nobody has told how small it is; half of it is used."""
    account = make_account(per_minute, 1.0, believe(per_minute), seed=seed)
    play = account.play(count)
    assert play.rejected_per_1000 < 1.0
    assert of_the_least(play, per_minute / 60, 0.5) < 1.01


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize(("per_minute", "count"), [(600.0, 1800), (1200.0, 3600)])
def test_a_full_bucket_of_one_minute_is_found_and_used(per_minute: float, count: int, seed: int):
    """58 of its 60 s, without a 429; nobody has told that it is there."""
    account = make_account(per_minute, 60.0, believe(per_minute), seed=seed)
    play = account.play(count)
    assert play.rejected_at == []
    assert of_the_least(play, per_minute / 60, 58.0) < 1.01


@pytest.mark.parametrize("seed", SEEDS)
def test_units_that_bind_are_used_as_requests_are(seed: int):
    """1.3 PU a request and 600 PU a minute: a bucket of one second costs a 429, one of a minute is used whole."""
    small = make_account(1200.0, 1.0, believe(1200.0, 600.0), pu_per_minute=600.0, pu_each=1.3, seed=seed)
    large = make_account(1200.0, 60.0, believe(1200.0, 600.0), pu_per_minute=600.0, pu_each=1.3, seed=seed)
    first, second = small.play(1200), large.play(1400)
    assert (first.rejected_per_1000 < 1.0, second.rejected_at) == (True, [])
    assert of_the_least(first, 10 / 1.3, 0.5) < 1.01
    assert of_the_least(second, 10 / 1.3, 58.0) < 1.01


def test_a_burst_that_is_known_is_used_at_once():
    """600 requests wait for nothing but the answers of 16 threads; a limiter that has to find it out takes longer."""
    told = make_account(600.0, 60.0, believe(600.0, bucket_s=60.0)).play(600)
    untold = make_account(600.0, 60.0, believe(600.0)).play(600)
    assert (told.rejected_at, untold.rejected_at) == ([], [])
    assert (told.ended < 15, 20 < untold.ended < 30) == (True, True)


def test_the_second_build_knows_what_the_first_has_found():
    """A minute later the bucket is full again, and nothing is found out anew."""
    account = make_account(600.0, 60.0, believe(600.0))
    first = account.play(1200)
    second = account.play(600, begin=first.ended + 60)
    assert second.ended - first.ended - 60 < 15
    assert second.rejected_at == []


def test_an_empty_bucket_costs_one_429():
    """An earlier program has used it a moment ago; the limiter starts with a single request."""
    account = make_account(600.0, 60.0, believe(600.0))
    account.requests.level = 0.0
    play = account.play(1200)
    assert len(play.rejected_at) <= 2
    assert of_the_least(play, 10.0, 0.0) < 1.02


@pytest.mark.parametrize("seed", SEEDS)
@pytest.mark.parametrize("bucket_s", [1.0, 60.0])
def test_a_rate_believed_twice_too_high_is_found(bucket_s: float, seed: int):
    """1200 a minute are believed and 600 granted: nothing of it is lost, and 429s stay about one in a hundred."""
    account = make_account(600.0, bucket_s, believe(1200.0), seed=seed)
    play = account.play(2400)
    assert of_the_least(play, 10.0, bucket_s) < 1.03
    assert play.rejected_per_1000 < 12


@pytest.mark.parametrize("seed", SEEDS)
def test_another_program_keeps_its_half(seed: int):
    """It uses half of the rate and is seldom refused; we take the rest, and are refused one time in a hundred."""
    account = make_account(600.0, 60.0, believe(600.0), other_per_s=5.0, seed=seed)
    play = account.play(1800)
    assert play.other_rejected < 0.05 * play.other_accepted
    assert play.rejected_per_1000 < 12
    assert (play.accepted + play.other_accepted) / play.ended > 0.95 * 10.0


def test_rates_that_are_a_guess_are_left_for_better_ones():
    """300 a minute are the smallest plan's; this account has 600, which are reached within five minutes."""
    guessed = replace(believe(300.0), requests_guessed=True, pu_guessed=True)
    account = make_account(600.0, 60.0, guessed)
    first = account.play(2400)
    second = account.play(2400, begin=first.ended)
    assert 2400 / (second.ended - first.ended) > 9.5
    assert len(first.rejected_at) + len(second.rejected_at) <= 15


def test_rates_that_are_told_are_never_passed():
    """Whoever names 300 a minute wants no more, although the account has 600."""
    play = make_account(600.0, 60.0, believe(300.0)).play(2000)
    assert play.ended > (2000 - 58 * 5) / 5
    assert play.rejected_at == []


def test_a_bucket_said_to_be_large_that_is_not_costs_few_429s():
    """Of 2000 requests a handful; then the burst is as small as it is."""
    account = make_account(600.0, 1.0, believe(600.0, bucket_s=60.0))
    play = account.play(2000)
    assert play.rejected_per_1000 < 6
    assert of_the_least(play, 10.0, 0.5) < 1.02
