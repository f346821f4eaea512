"""Times as requests and answers write them: RFC 3339 comes in, whole seconds of UTC go out.

Refuses to know what happens at them.
"""

from __future__ import annotations

import re
from datetime import UTC, datetime

BEGINNING = datetime(2015, 6, 27, tzinfo=UTC)
"""Stands for the start of a time range that is left out: the launch of Sentinel-2."""
OPEN = ".."
"""An open end of a time range."""
RFC3339 = re.compile(r"\d{4}-\d\d-\d\d[Tt]\d\d:\d\d:\d\d(\.\d+)?([Zz]|[+-]\d\d:\d\d)", re.ASCII)


def read_time(text: str) -> datetime:
    """The time in UTC. Pure; raises ValueError for what RFC 3339 or the calendar does not have."""
    if not RFC3339.fullmatch(text):
        raise ValueError("must be a date and time as in RFC 3339")
    try:
        return datetime.fromisoformat(text.upper()).astimezone(UTC)
    except OverflowError:
        raise ValueError("is beyond the calendar") from None


def write_time(time: datetime) -> str:
    """The time in UTC, cut to whole seconds, such as ``2024-06-01T10:20:30Z``. Pure."""
    return time.astimezone(UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
