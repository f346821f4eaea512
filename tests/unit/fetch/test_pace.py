"""The share of the rates in force: down to what was granted, slow around it, and back to the whole."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from shdask.fetch.pace import Pace


def slowed(*granted: float | None, most: float = 1.0) -> Pace:
    """A pace that was slowed at the time 100."""
    pace = Pace(most=most)
    pace.recover(100.0, in_use=False)
    _ = [pace.slow(each) for each in granted]
    return pace


def after(pace: Pace, seconds: float, *, in_use: bool = True) -> float:
    pace.recover(100.0 + seconds, in_use=in_use)
    return pace.share


def test_a_429_alone_slows_by_a_twentieth_and_is_over_in_five_seconds():
    """ln(1/0.95) / ln(1.01) = 5.15 s."""
    assert slowed(None).share == 0.95
    assert after(slowed(None), 1.0) == pytest.approx(0.95 * 1.01)
    assert after(slowed(None), 5.2) == 1.0


def test_what_was_granted_is_gone_back_to():
    """Two thirds were granted: 97 % of them are used."""
    assert slowed(0.66).share == pytest.approx(0.97 * 0.66)


def test_no_429_slows_to_less_than_half_nor_by_less_than_a_twentieth():
    """A short time tells little."""
    assert slowed(0.1).share == 0.5
    assert slowed(0.999).share == 0.95


def test_around_what_was_granted_the_rate_grows_slowly():
    """From 97 % to 103 % of it in a minute, ln(1.03/0.97) / ln(1.001) = 60.04 s; then by a percent a second again."""
    assert after(slowed(0.66), 60.0) == pytest.approx(1.03 * 0.66, rel=1e-4)
    assert after(slowed(0.66), 70.0) == pytest.approx(1.03 * 0.66 * 1.01**9.96, rel=1e-4)


def test_the_whole_rate_comes_back_when_the_other_program_has_ended():
    """From half of it in ln(1.03) / ln(1.001) + ln(1/0.515) / ln(1.01) = 96.3 s, and never more."""
    assert after(slowed(0.5), 96.2) == pytest.approx(1.0, rel=2e-3)
    assert after(slowed(0.5), 96.4) == 1.0
    assert after(slowed(0.5), 1e6) == 1.0


def test_a_guess_is_passed_where_the_rate_is_used():
    """By 0.3 % a second: twice of it takes ln 2 / ln 1.003 = 231 s; four times at most."""
    assert after(slowed(most=4.0), 231.4) == pytest.approx(2.0, rel=1e-3)
    assert after(slowed(most=4.0), 3600.0) == 4.0


def test_a_guess_is_not_passed_by_resting():
    """What nobody uses, nobody refuses."""
    assert after(slowed(most=4.0), 3600.0, in_use=False) == 1.0


@given(st.lists(st.one_of(st.none(), st.floats(0, 10)), max_size=40), st.floats(0, 1e5))
def test_the_share_stays_between_a_hundredth_and_the_whole(granted: list[float | None], seconds: float):
    """Whatever is said of it."""
    pace = slowed(*granted)
    assert 0.01 <= pace.share <= 1.0
    assert 0.01 <= after(pace, seconds) <= 1.0


@given(st.floats(0.05, 1), st.floats(0, 300), st.floats(0, 300))
def test_growth_does_not_depend_on_how_often_one_looks(granted: float, first: float, second: float):
    """Two steps are as far as one."""
    often, once = slowed(granted), slowed(granted)
    after(often, first)
    assert after(often, first + second) == pytest.approx(after(once, first + second))
