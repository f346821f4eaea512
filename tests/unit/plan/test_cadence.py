"""Spans of a time axis."""

from __future__ import annotations

from datetime import UTC, datetime
from itertools import pairwise

import pytest
from dateutil.relativedelta import relativedelta
from hypothesis import given
from hypothesis import strategies as st

from shdask.errors import PlanError
from shdask.model import TimeInterval
from shdask.plan.cadence import check_cadence, find_spans, is_period

CADENCES = ["day", "dekad", "month", "P1D", "P7D", "P10D", "P2W", "P1M", "P1Y", "P1M10D"]
MOMENTS = st.datetimes(datetime(2015, 1, 1), datetime(2030, 12, 31), timezones=st.just(UTC))  # noqa: DTZ001  # naive ends


def utc(*parts: int) -> datetime:
    return datetime(*parts, tzinfo=UTC)


FIFTH = utc(2024, 1, 5)


def span(cadence: str, moment: datetime, start: datetime = FIFTH) -> tuple[datetime, datetime]:
    found = find_spans(cadence, TimeInterval(start=start, end=utc(2025, 1, 1)))(moment)
    return found.start, found.end


@pytest.mark.parametrize(
    ("cadence", "moment", "expected"),
    [
        ("day", utc(2024, 2, 29, 23, 59, 59), (utc(2024, 2, 29), utc(2024, 3, 1))),
        ("dekad", utc(2024, 2, 10, 23, 59, 59), (utc(2024, 2, 1), utc(2024, 2, 11))),
        ("dekad", utc(2024, 2, 11), (utc(2024, 2, 11), utc(2024, 2, 21))),
        ("dekad", utc(2024, 2, 29), (utc(2024, 2, 21), utc(2024, 3, 1))),
        ("dekad", utc(2024, 12, 31), (utc(2024, 12, 21), utc(2025, 1, 1))),
        ("month", utc(2024, 1, 6), (utc(2024, 1, 1), utc(2024, 2, 1))),
        ("P10D", utc(2024, 1, 5), (utc(2024, 1, 5), utc(2024, 1, 15))),
        ("P10D", utc(2024, 1, 15), (utc(2024, 1, 15), utc(2024, 1, 25))),
        ("P2W", utc(2024, 2, 1), (utc(2024, 1, 19), utc(2024, 2, 2))),
        ("P1M", utc(2024, 3, 1), (utc(2024, 2, 5), utc(2024, 3, 5))),
        ("P1Y", utc(2024, 12, 31), (utc(2024, 1, 5), utc(2025, 1, 5))),
    ],
)
def test_a_moment_is_in_its_span(cadence: str, moment: datetime, expected: tuple[datetime, datetime]) -> None:
    """Calendar spans are whole; ISO periods are counted from the interval's start, here 5 January."""
    assert span(cadence, moment) == expected


def test_months_from_the_31st_do_not_creep() -> None:
    """Each is counted from the start, so that February's short month leaves March whole."""
    assert span("P1M", utc(2024, 3, 30), utc(2024, 1, 31)) == (utc(2024, 2, 29), utc(2024, 3, 31))


@given(cadence=st.sampled_from(CADENCES), start=MOMENTS, ahead=st.lists(st.floats(0, 0.999999), min_size=2, max_size=8))
def test_spans_hold_their_moment_and_part_time(cadence: str, start: datetime, ahead: list[float]) -> None:
    """Every moment lies in its half-open span, and two spans are the same or apart."""
    interval = TimeInterval(start=start, end=start + relativedelta(years=3))
    span_of = find_spans(cadence, interval)
    moments = sorted(start + (interval.end - start) * share for share in ahead)
    spans = [span_of(moment) for moment in moments]
    assert all(one.start <= moment < one.end for one, moment in zip(spans, moments, strict=True))
    assert all(one == two or one.end <= two.start for one, two in pairwise(spans))


@pytest.mark.parametrize("cadence", ["", "week", "P", "P0D", "PT6H", "10D", "p10d", "P-1D", "P1.5D", "mosaic"])
def test_another_cadence_is_refused(cadence: str) -> None:
    """The message says what there is."""
    with pytest.raises(PlanError, match=r"write acquisition, day, dekad, month, or an ISO period"):
        check_cadence(cadence)


@pytest.mark.parametrize("cadence", ["acquisition", *CADENCES])
def test_known_cadences_pass(cadence: str) -> None:
    """Only ISO periods are counted from the start."""
    check_cadence(cadence)
    assert is_period(cadence) == cadence.startswith("P")


def test_too_many_periods_are_refused() -> None:
    """A period of a day over a thousand years is a slip."""
    with pytest.raises(PlanError, match="more than 100000 periods"):
        find_spans("P1D", TimeInterval(start=utc(1000, 1, 1), end=utc(2000, 1, 1)))
