"""Durations and sizes in words, for people.

Pure. Refuses to be read by programs: it rounds.
"""

from __future__ import annotations

from datetime import timedelta
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from shdask.plan.cost import Cost

ALIKE = 0.005
"""Prices that differ by less are the same to people."""


def duration(seconds: float) -> str:
    """``1:02:03``, or ``42 s`` below a minute. Pure."""
    return f"{seconds:.0f} s" if seconds < 60 else str(timedelta(seconds=round(seconds)))  # noqa: PLR2004  # a minute


def size(nbytes: float) -> str:
    """Bytes in powers of 1000, such as ``1.5 GB``. Pure."""
    for unit in ("B", "kB", "MB", "GB"):
        if nbytes < 1000:  # noqa: PLR2004  # the next unit
            return f"{nbytes:.0f} {unit}" if unit == "B" else f"{nbytes:.1f} {unit}"
        nbytes /= 1000
    return f"{nbytes:.1f} TB"


def counted(count: int, noun: str) -> str:
    """``1 tile``, ``2 tiles``. Pure."""
    return f"{count} {noun}{'s' * (count != 1)}"


def weigh(composites: Cost, all_dates: Cost, *, dates: float) -> str:
    """A composite of so many ``dates`` against buying them all and compositing here. Pure."""
    saved = 1.0 - composites.pu / all_dates.pu if all_dates.pu else 0.0
    verdict = "they cost the same PU"
    if abs(saved) > ALIKE:
        verdict = f"composites are {abs(saved):.0%} {'cheaper' if saved > 0 else 'dearer'}"
    times = all_dates.requests / composites.requests if composites.requests else 1.0
    fewer = f"in {times:.1f} times fewer requests" if times > 1 + ALIKE else "in as many requests"
    return (
        f"composites of {dates:.1f} dates; all dates, to composite here: {counted(all_dates.requests, 'request')}, "
        f"{all_dates.pu:.2f} PU, {duration(all_dates.minutes * 60)}, {size(all_dates.nbytes_down)}; {verdict}, "
        f"{fewer} and {size(composites.nbytes_down)}"
    )
