"""Reads dates, moments and intervals in every usual spelling, and writes them for the service. UTC where none is said.

Refuses to know collections; a day ends at 23:59:59, as sentinelhub-py has it.
"""

from __future__ import annotations

import datetime as dt
from typing import Any, Literal

import dateutil.parser

OPEN_END = ".."
"""How the service is told that an interval has no end."""
_LONGEST_DATE = 10
_LAST_SECOND = dt.time(23, 59, 59)

RawTime = str | dt.date | None
RawTimeInterval = RawTime | tuple[RawTime, RawTime] | list[RawTime]


def time_range(interval: RawTimeInterval) -> dict[str, str]:
    """The service's ``timeRange``, both ends included: ``{"from": ..., "to": ...}`` in RFC 3339. Pure.

    ``interval`` is a day (from midnight to 23:59:59), a moment, or a pair of either; a date is a whole day, and None
    or ``..`` leaves an end open. Text is read as dateutil reads it.
    Raises ValueError for anything else, and for an interval that ends before it starts.
    """
    start, end = _read_interval(interval)
    return {"from": _write(start), "to": _write(end)}


def _read_interval(interval: Any) -> tuple[dt.datetime | None, dt.datetime | None]:
    if isinstance(interval, (str, dt.date)):
        pair = (interval, interval)
    elif isinstance(interval, (tuple, list)) and len(interval) == 2:  # noqa: PLR2004  # from and to
        pair = (interval[0], interval[1])
    else:
        raise ValueError(f"{interval!r} is no time: expected a date, a datetime, text, or a pair of those")
    start, end = _read_time(pair[0], "from"), _read_time(pair[1], "to")
    if start and end and start > end:
        raise ValueError(f"the interval starts at {start} after it has ended at {end}")
    return start, end


def _read_time(time: Any, side: Literal["from", "to"]) -> dt.datetime | None:
    if time is None or time == OPEN_END:
        return None
    if not isinstance(time, dt.date):
        moment = dateutil.parser.parse(time)
        time = moment if len(time) > _LONGEST_DATE else moment.date()
    if isinstance(time, dt.datetime):
        return time
    return dt.datetime.combine(time, dt.time.min if side == "from" else _LAST_SECOND)


def _write(moment: dt.datetime | None) -> str:
    if moment is None:
        return OPEN_END
    aware = moment if moment.tzinfo else moment.replace(tzinfo=dt.UTC)
    return aware.isoformat().replace("+00:00", "Z")
