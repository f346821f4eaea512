"""Policies, and the token buckets that hold calls to them.

Refuses to know the clock: time is an argument.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import UTC, datetime
from typing import Literal

NANOSECOND_S = 1e-9
MINUTE_S = 60.0
MONTH_S = 744 * 3600.0
"""The service's month, as its contracts show it: 31 days."""


Kind = Literal["REQUESTS", "PROCESSING_UNITS"]


@dataclass(frozen=True, slots=True, kw_only=True)
class Policy:
    """So many tokens, and the time in which an empty bucket would fill up."""

    capacity: float
    period_s: float
    monthly: bool = False
    """A quota for the month: whoever uses it up is told to pay rather than to wait."""
    calendar: bool = False
    """It is given anew on the 1st of each month (UTC), all at once, and does not trickle."""

    @classmethod
    def per_minute(cls, rate: float, burst: float | None = None) -> Policy:
        """``rate`` tokens a minute; a bucket of ``burst``, by default a minute's worth.

        Pure; raises ValueError for a rate that never fills a bucket.
        """
        capacity = rate if burst is None else burst
        if rate <= 0 or capacity <= 0:
            raise ValueError(f"a rate and its burst must be above 0, not {rate:g} a minute and {capacity:g} at once")
        return cls(capacity=capacity, period_s=MINUTE_S * capacity / rate)

    @classmethod
    def per_month(cls, capacity: float, *, calendar: bool) -> Policy:
        """``capacity`` tokens a month; 0 is a month used up for good. Pure; raises ValueError for fewer."""
        if capacity < 0:
            raise ValueError(f"a month's quota cannot be {capacity:g}")
        return cls(capacity=capacity, period_s=MONTH_S, monthly=True, calendar=calendar)

    @property
    def rate_per_s(self) -> float:
        """Tokens that come back in a second. Pure."""
        return self.capacity / self.period_s


class Bucket:
    """A token bucket, full at the start and refilled continuously up to its capacity.

    A take is honoured when the bucket holds as much; the emulator's clock only moves forward.
    """

    def __init__(self, policy: Policy, now: float) -> None:
        self.policy = policy
        self._level = policy.capacity
        self._updated = now

    def level(self, now: float) -> float:
        """Tokens held at ``now`` (seconds)."""
        if now > self._updated:
            gained = (now - self._updated) * self.policy.rate_per_s
            self._level = min(self.policy.capacity, self._level + gained)
            self._updated = now
        return self._level

    def wait_s(self, amount: float, now: float) -> float:
        """Seconds until ``amount`` tokens are there; 0 when they are; infinite when they never will be."""
        if amount > self.policy.capacity:
            return float("inf")
        missing = amount - self.level(now)
        # a refill counted in floats may fall short by the last bit; the service counts nanoseconds
        return 0.0 if missing <= self.policy.rate_per_s * NANOSECOND_S else missing / self.policy.rate_per_s

    def take(self, amount: float, now: float) -> None:
        """Remove ``amount`` tokens, or all where it holds fewer."""
        self._level = max(0.0, self.level(now) - amount)

    def give_back(self, amount: float, now: float) -> None:
        """Return ``amount`` tokens that were not spent; what does not fit is lost."""
        self._level = min(self.policy.capacity, self.level(now) + amount)


class CalendarBucket(Bucket):
    """A bucket that is filled on the 1st of each month, 00:00 UTC, and at no other time."""

    def __init__(self, policy: Policy, now: float, posix_s: float) -> None:
        """``posix_s`` is the POSIX time at ``now``."""
        super().__init__(policy, now)
        self._ahead_s = posix_s - now
        self._refills_at = self._next_refill(now)

    def level(self, now: float) -> float:
        """Tokens held at ``now`` (seconds)."""
        if now >= self._refills_at:
            self._level = self.policy.capacity
            self._refills_at = self._next_refill(now)
        return self._level

    def wait_s(self, amount: float, now: float) -> float:
        """Seconds until ``amount`` tokens are there; 0 when they are; infinite when they never will be."""
        if amount > self.policy.capacity:
            return float("inf")
        return 0.0 if amount <= self.level(now) else self._refills_at - now

    def _next_refill(self, now: float) -> float:
        today = datetime.fromtimestamp(now + self._ahead_s, UTC)
        month = today.year * 12 + today.month  # of the next month, counted from 0
        return datetime(month // 12, month % 12 + 1, 1, tzinfo=UTC).timestamp() - self._ahead_s
