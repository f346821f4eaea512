"""How long a build on a cluster waits for whom, in one place.

Refuses to know who waits.
"""

from __future__ import annotations

from dataclasses import dataclass, field

from shdask.fetch.outage import OutageRule
from shdask.fetch.retry import RetryPolicy
from shdask.fetch.transport import Timeouts
from shdask.jobs.patience import JobPatience


@dataclass(frozen=True, slots=True, kw_only=True)
class Patience:
    """The waits of a build; the defaults suit the real service."""

    frozen_s: float = 45.0
    """A worker that was not heard of for so long is replaced."""
    stuck_s: float = 900.0
    """A tile that showed no sign of life for so long, waits for permits apart, is tried elsewhere. An attempt and its
    writing end by themselves within seven minutes."""
    silent_s: float = 60.0
    """A scheduler that did not answer the owner for so long is lost."""
    timeouts: Timeouts = field(default_factory=Timeouts)
    """Of one request."""
    retries: RetryPolicy = field(default_factory=RetryPolicy)
    """Of one request."""
    jobs: JobPatience = field(default_factory=JobPatience)
    """Of Async Process."""
    outage: OutageRule = field(default_factory=OutageRule)
    """Of the account."""
