"""Spans of a time axis: days, dekads, months and ISO periods, half-open, so that a moment is in exactly one. Pure.

Refuses to know scenes.
"""

from __future__ import annotations

import re
from bisect import bisect_right
from collections.abc import Callable
from datetime import UTC, datetime, timedelta

from dateutil.relativedelta import relativedelta

from shdask.errors import PlanError
from shdask.model import TimeInterval

ACQUISITION = "acquisition"
CALENDAR = ("day", "dekad", "month")
DEKAD_STARTS = (1, 11, 21)
MAX_PERIODS = 100_000
_PERIOD = re.compile(r"P(?:(\d+)Y)?(?:(\d+)M)?(?:(\d+)W)?(?:(\d+)D)?")

Spans = Callable[[datetime], TimeInterval]
"""From a moment to the span that holds it."""


def check_cadence(cadence: str) -> None:
    """Raise PlanError for a cadence that is none of acquisition, day, dekad, month and an ISO period. Pure."""
    if cadence != ACQUISITION and cadence not in CALENDAR:
        _read_period(cadence)


def is_period(cadence: str) -> bool:
    """Whether spans are counted from the start of the job's time, rather than by the calendar or by passes. Pure."""
    return cadence != ACQUISITION and cadence not in CALENDAR


def find_spans(cadence: str, interval: TimeInterval) -> Spans:
    """What tells the whole span (not cut at ``interval``) that holds a moment in ``interval``, UTC. Pure.

    A dekad is the 1st to 10th, 11th to 20th and 21st to the end of a month. An ISO period (P10D, P7D, P1M, P1Y) is
    counted from the start of ``interval``, each from there, so that months from the 31st do not creep. Raises
    PlanError for another cadence.
    """
    if cadence in CALENDAR:
        return {"day": _day, "dekad": _dekad, "month": _month}[cadence]
    starts = _count_periods(_read_period(cadence), interval, cadence)

    def period(moment: datetime) -> TimeInterval:
        index = bisect_right(starts, moment)
        return TimeInterval(start=starts[index - 1], end=starts[index])

    return period


def _read_period(cadence: str) -> relativedelta:
    match = _PERIOD.fullmatch(cadence)
    years, months, weeks, days = (int(part or 0) for part in match.groups()) if match else (0, 0, 0, 0)
    if not years + months + weeks + days:
        raise PlanError(
            f"cadence: {cadence!r} is not understood; write {ACQUISITION}, {', '.join(CALENDAR)}, or an ISO period of "
            f"whole days such as P10D or P1M"
        )
    return relativedelta(years=years, months=months, weeks=weeks, days=days)


def _count_periods(period: relativedelta, interval: TimeInterval, cadence: str) -> list[datetime]:
    """The starts of all periods of the interval, and of the one after."""
    starts = [interval.start]
    while starts[-1] < interval.end:
        if len(starts) > MAX_PERIODS:
            raise PlanError(f"cadence: {cadence!r} makes more than {MAX_PERIODS} periods; take a longer one")
        try:
            starts.append(interval.start + period * len(starts))
        except (OverflowError, ValueError):  # beyond the calendar
            starts.append(datetime.max.replace(tzinfo=UTC))
    return starts


def _day(moment: datetime) -> TimeInterval:
    start = moment.replace(hour=0, minute=0, second=0, microsecond=0)
    return TimeInterval(start=start, end=start + timedelta(days=1))


def _dekad(moment: datetime) -> TimeInterval:
    month = _month(moment)
    number = bisect_right(DEKAD_STARTS, moment.day) - 1
    start = month.start.replace(day=DEKAD_STARTS[number])
    is_last = number == len(DEKAD_STARTS) - 1
    return TimeInterval(start=start, end=month.end if is_last else month.start.replace(day=DEKAD_STARTS[number + 1]))


def _month(moment: datetime) -> TimeInterval:
    start = moment.replace(day=1, hour=0, minute=0, second=0, microsecond=0)
    return TimeInterval(start=start, end=start + relativedelta(months=1))
