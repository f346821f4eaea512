"""How long jobs are waited for, and how often they are asked for, in one place.

Refuses to know who waits.
"""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True, kw_only=True)
class JobPatience:
    """The waits of jobs, in seconds; the defaults suit the real service, of which no duration is documented."""

    poll_first_s: float = 5.0
    """A job is first asked for so long after it was accepted."""
    poll_growth: float = 1.5
    """Each time it still runs, the wait grows so much."""
    poll_max_s: float = 60.0
    jitter: float = 0.2
    """Waits are longer or shorter by up to this share, so that jobs of one moment are not asked for in one."""
    look_s: float = 3.0
    """Its files are looked for so often once the service knows it no more."""
    grace_s: float = 120.0
    """So long, for it is not known whether files are there before the service forgets a job."""
    lost_s: float = 60.0
    """After an order whose answer was lost, a trace of it is looked for so long before it is ordered again."""
    total_s: float = 6 * 3600.0
    """A job that runs for longer is not waited for."""
    full_first_s: float = 10.0
    """After an order that was refused since too many jobs run, the next is tried so much later, or when one ends."""
    full_max_s: float = 300.0
    silent_s: float = 600.0
    """The build ends once the bucket has answered no look for so long; jobs go on, and the next build takes them up."""
    max_orders: int = 2
    """A run orders one job so often; then its tiles go another way."""
