"""Which dates become the steps of a sample."""

from __future__ import annotations

from datetime import date, timedelta

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from shdask.errors import PlanError
from shdask.patches.reading.alignment import AllDates, CalendarBins, ClearestDates, ExactDates, NearestDates

NAT = np.datetime64("NaT", "s")
TIMES = np.array(
    ["2024-06-01T10:00", "2024-06-03T10:00", "2024-06-03T17:00", "2024-06-11T10:00", "2024-07-01T00:00"],
    "datetime64[s]",
)
axes = st.lists(st.integers(0, 400 * 86400), max_size=30, unique=True).map(
    lambda offsets: np.datetime64("2024-01-01", "s") + np.array(sorted(offsets), "timedelta64[s]")
)
counts = st.integers(1, 12)


def positions(aligned) -> list[int]:
    """The one date of each step, -1 for padding."""
    return [dates[0] if dates else -1 for dates in aligned.members]


def test_all_dates_are_cut_and_padded_to_a_count():
    """At the end."""
    assert positions(AllDates(count=2).align(TIMES)) == [0, 1]
    aligned = AllDates(count=6).align(TIMES)
    assert positions(aligned) == [0, 1, 2, 3, 4, -1]
    assert np.isnat(aligned.times).tolist() == [False] * 5 + [True]


def test_exact_days_take_the_first_date_of_the_day():
    """And pad where the layer has none."""
    aligned = ExactDates(days=("2024-06-03", date(2024, 6, 4), np.datetime64("2024-06-11"))).align(TIMES)
    assert positions(aligned) == [1, -1, 3]
    assert aligned.times.tolist() == [TIMES[1].item(), None, TIMES[3].item()]


def test_the_clearest_dates_come_in_order_of_time():
    """Of equally clear ones the earlier; NaN is not clear."""
    shares = np.array([0.2, 0.9, 0.5, 0.5, np.nan], np.float32)
    assert positions(ClearestDates(count=2).align(TIMES, shares=shares)) == [1, 2]


def test_dates_without_a_clear_pixel_are_never_taken():
    """Padding takes their place."""
    shares = np.array([0, 0.1, 0, 0, 0], np.float32)
    assert positions(ClearestDates(count=3).align(TIMES, shares=shares)) == [1, -1, -1]


def test_the_clearest_need_an_index():
    """And say how it is given."""
    with pytest.raises(PlanError, match=r"index=open_index\(store\)"):
        ClearestDates(count=3).align(TIMES, shares=None)


def test_the_nearest_date_is_within_days():
    """The earlier of two as near; padding follows padding."""
    leader = np.array(["2024-06-02T10:00", "2024-06-08T00:00", "NaT", "2024-06-03T18:00"], "datetime64[s]")
    aligned = NearestDates(within_days=3, to="s2").align(TIMES, leader=leader)
    assert positions(aligned) == [0, -1, -1, 2]


def test_nearest_to_nothing_is_refused():
    """A patch without a date has none."""
    with pytest.raises(PlanError, match="need something to be near to"):
        NearestDates(within_days=3).align(TIMES, leader=None)


def test_bins_of_the_calendar_hold_their_dates():
    """Dekads of June and July, cut at the last day; a step's time is the middle of its span."""
    bins = CalendarBins(every="dekad", first=date(2024, 6, 1), last=date(2024, 7, 1))
    aligned = bins.align(TIMES)
    assert aligned.members == ((0, 1, 2), (3,), (), (4,))
    assert [None if each is None else each.isoformat() for each in aligned.times.tolist()] == [
        "2024-06-06T00:00:00",
        "2024-06-16T00:00:00",
        None,
        "2024-07-01T12:00:00",
    ]


@pytest.mark.parametrize("every", ["acquisition", "fortnight"])
def test_bins_need_a_span(every: str):
    """A cadence that is none is refused at once."""
    with pytest.raises(PlanError):
        CalendarBins(every=every, first=date(2024, 6, 1), last=date(2024, 7, 1))


def test_counts_and_days_that_are_none_are_refused_at_once():
    """Before anything is read."""
    with pytest.raises(PlanError, match="one step at least"):
        AllDates(count=0)
    with pytest.raises(PlanError, match="are no days"):
        ExactDates(days=("soon",))
    with pytest.raises(PlanError, match="number of days"):
        NearestDates(within_days=-1)


@given(axes, counts)
def test_every_rule_gives_as_many_steps_as_it_says(times, count: int):
    """However many dates there are, so that samples collate."""
    shares = np.linspace(0, 1, times.size, dtype=np.float32)
    assert len(AllDates(count=count).align(times).members) == count
    assert len(ClearestDates(count=count).align(times, shares=shares).members) == count
    assert len(ExactDates(days=("2024-02-01",) * count).align(times).members) == count


@given(axes, axes, st.integers(0, 20))
def test_nothing_is_nearer_than_the_nearest(times, leader, days: int):
    """Numpy's distances are the authority."""
    aligned = NearestDates(within_days=days, to="other").align(times, leader=leader)
    off = np.abs(times[np.newaxis] - leader[:, np.newaxis])
    least = off.min(axis=1, initial=np.timedelta64(10**9, "s"))
    found = np.array([off[step, dates[0]] if dates else 10**9 for step, dates in enumerate(aligned.members)], off.dtype)
    np.testing.assert_array_equal(
        found, np.where(least <= np.timedelta64(days, "D"), least, np.timedelta64(10**9, "s"))
    )


@given(axes, st.sampled_from(["day", "dekad", "month", "P7D", "P1M"]), st.integers(0, 300), st.integers(0, 60))
def test_bins_hold_each_date_between_their_days_once(times, every: str, start: int, length: int):
    """And none outside; a step's time lies between its dates' neighbours."""
    first = date(2024, 1, 1) + timedelta(days=start)
    last = first + timedelta(days=length)
    aligned = CalendarBins(every=every, first=first, last=last).align(times)
    inside = (times >= np.datetime64(first)) & (times < np.datetime64(last + timedelta(days=1)))
    assert [each for dates in aligned.members for each in dates] == np.flatnonzero(inside).tolist()
    known = aligned.times[~np.isnat(aligned.times)]
    assert (np.diff(known) > np.timedelta64(0, "s")).all()
    assert [bool(dates) for dates in aligned.members] == (~np.isnat(aligned.times)).tolist()


@given(axes, counts)
def test_the_clearest_are_the_clearest(times, count: int):
    """No date that was left out is clearer than one that was taken."""
    shares = np.random.default_rng(times.size).random(times.size).astype(np.float32)
    taken = [date for dates in ClearestDates(count=count).align(times, shares=shares).members for date in dates]
    assert taken == sorted(taken)
    assert sorted(shares[taken].tolist()) == sorted(shares.tolist())[-count:]
