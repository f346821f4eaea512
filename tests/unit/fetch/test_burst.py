"""The search for the burst: few requests at risk, and nothing forgotten but by a 429."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shdask.fetch.burst import BurstSearch, reserve_s, usable_s


@pytest.mark.parametrize(("bucket_s", "usable"), [(60.0, 58.0), (4.0, 2.0), (1.0, 0.5), (0.1, 0.05)])
def test_two_seconds_or_half_of_a_bucket_are_left(bucket_s: float, usable: float):
    """Requests are late by chance and then come close together."""
    assert usable_s(bucket_s) == usable
    assert usable_s(bucket_s) + reserve_s(usable_s(bucket_s)) == bucket_s


def test_a_known_bucket_is_not_searched():
    """A minute's is used at once, but for the reserve."""
    search = BurstSearch.of_bucket(60.0)
    assert (search.allowed_s(0.1), search.searching) == (58.0, False)


def test_the_first_is_one_request_and_the_next_waits_for_its_answer():
    """With nothing known a single request is at risk."""
    search = BurstSearch.of_bucket(None)
    search.permitted(1, 100.0, 0.1)
    search.heard(0, 100.3)
    assert (search.allowed_s(0.1), search.is_waiting) == (0.1, True)
    search.heard(1, 100.3)
    assert (search.allowed_s(0.1), search.is_waiting) == (0.2, False)


def test_what_was_not_heard_of_for_a_second_was_granted():
    """A 429 comes at once, a picture may take long."""
    search = BurstSearch.of_bucket(None)
    search.permitted(1, 100.0, 0.1)
    search.heard(0, 101.0)
    assert search.known_s == 0.1


def test_an_eighth_of_what_is_known_beyond_half_a_second_is_at_risk():
    """At 600 a minute a second is passed by single requests, and ten seconds by twelve."""
    assert BurstSearch(known_s=1.0, most_s=58.0).allowed_s(0.1) == 1.1
    assert BurstSearch(known_s=10.0, most_s=58.0).allowed_s(0.1) == 10.0 + 9.5 / 8


@given(st.floats(0.01, 60), st.floats(0, 58))
def test_no_more_than_a_minutes_bucket_is_ever_asked_for(request_s: float, known_s: float):
    """However dear a request is."""
    assert BurstSearch(known_s=known_s, most_s=58.0).allowed_s(request_s) <= 58.0


def test_the_search_ends_where_all_is_known():
    """58 s of a minute are the most."""
    search = BurstSearch(known_s=57.0, most_s=58.0)
    search.permitted(600, 100.0, 58.0)
    search.heard(600, 100.2)
    assert (search.known_s, search.searching) == (58.0, False)


def test_a_429_ends_the_search_with_half_of_a_small_bucket():
    """0.9 s were granted and one more request was not: the bucket is of a second or so."""
    search = BurstSearch(known_s=0.9, most_s=58.0)
    search.permitted(10, 100.0, 1.0)
    search.refused(10, 1.0, 100.0)
    search.heard(10, 105.0)
    assert (search.allowed_s(0.1), search.searching) == (0.45, False)


def test_a_quarter_of_a_second_is_never_given_up():
    """A bucket that was empty at first gives no reason to let every moment pass that nobody asks."""
    search = BurstSearch.of_bucket(None)
    search.permitted(1, 100.0, 0.1)
    search.refused(1, 0.1, 100.0)
    assert search.known_s == 0.25


def test_a_429_early_in_a_known_burst_makes_it_smaller():
    """58 s were believed and 21 are there: 19 may be used."""
    search = BurstSearch.of_bucket(60.0)
    search.refused(500, 21.0, 100.0)
    assert search.known_s == 19.0


def test_a_429_of_a_wrong_rate_leaves_the_burst():
    """All of it had been used, and granted."""
    search = BurstSearch.of_bucket(60.0)
    search.refused(500, 57.0, 100.0)
    assert search.known_s == 58.0


def test_a_small_burst_is_looked_at_again_after_two_thousand_permits():
    """What another program had used a moment ago may be there after a minute's rest; it may cost a 429."""
    search = BurstSearch(known_s=0.9, most_s=58.0)
    search.refused(10, 1.0, 100.0)
    search.rested(2009, 200.0)
    assert not search.searching
    search.rested(2010, 200.0)
    assert search.searching


def test_a_small_burst_is_looked_at_again_after_an_hour():
    """However few permits a user needs: one 429 that another program caused is not believed for ever."""
    search = BurstSearch(known_s=0.9, most_s=58.0)
    search.refused(10, 1.0, 100.0)
    search.rested(11, 3699.0)
    assert not search.searching
    search.rested(11, 3700.0)
    assert search.searching


def test_what_was_read_of_a_small_burst_is_believed_for_an_hour():
    """Somebody was refused for it."""
    search = BurstSearch.of_bucket(None)
    search.learn(0.5, searching=False, now=100.0)
    search.rested(11, 3699.0)
    assert not search.searching


def test_what_another_search_knows_is_taken_over():
    """As far as the bucket is believed to reach."""
    mine = BurstSearch.of_bucket(4.0)
    mine.learn(30.0, searching=True, now=100.0)
    assert (mine.known_s, mine.searching) == (2.0, False)
