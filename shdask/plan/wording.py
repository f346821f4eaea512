"""Durations and sizes in words, for people.

Pure. Refuses to be read by programs: it rounds.
"""

from __future__ import annotations

from datetime import timedelta


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
